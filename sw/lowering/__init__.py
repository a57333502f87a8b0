"""Lowering: a graph of real numbers → the network of integers that computes the same."""
