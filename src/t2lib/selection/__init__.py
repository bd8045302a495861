"""Choose one answer among samples, and forecast what many samples reach.

A verifier that errs or a majority vote stands behind a law, so that allocations count its errors
and its cost. May import costs, data, laws and planning.
"""
