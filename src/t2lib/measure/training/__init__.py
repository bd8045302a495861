"""Train models and keep their checkpoints.

This package answers how a run becomes a checkpoint. It may import specs of suites; post-training
also imports tasks, scoring, and the signal to stop.
"""
