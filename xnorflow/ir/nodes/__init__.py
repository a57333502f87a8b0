"""Nodes of a network: what each computes, in integers, and what it accepts.

Each is a frozen dataclass that is checked when it is constructed, and again when its ``infer`` is
given what feeds it; arrays are made read-only. The conventions are those of `xnorflow.ir`.
"""
