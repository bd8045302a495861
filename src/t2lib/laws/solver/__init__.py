"""Fit sums of power laws, in batches of starts and of bootstrap replicates.

``least_squares`` searches exponents on a grid and polishes them, ``robust`` minimises Huber's loss
of log residuals. Both know arrays only: no law, no table.
"""
