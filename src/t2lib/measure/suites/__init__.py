"""Describe what to train and score, in suite files and specs of runs.

This package answers what a suite consists of, and what it costs in FLOPs. It may import names of
tasks and what reads files, but neither torch nor the rest of ``measure``.
"""
