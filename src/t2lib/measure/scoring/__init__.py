"""Score models on tasks with log-probabilities of answers.

This package answers how likely a model is to answer an item correctly. It may import ``data``,
tasks, specs, and devices and kernels of ``measure.training``.
"""
