"""Exploration: the foldings of a network between smallest and fastest, placed and routed.

`front` chooses designs, `placing` makes points of them and places these, `pareto` says which are
worth it, and `table` shows them.
"""
