"""Decide which N, D and k a budget should buy, and how sure that is.

Budgets, the best allocation, sizes that are good enough, intervals of the optimum, what other costs
and traffic would change, and which runs to train next. May import laws, costs and units.
"""
