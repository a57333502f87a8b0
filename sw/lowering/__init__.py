"""Lowering: a graph of floating-point numbers → the network of integers that computes the same."""
