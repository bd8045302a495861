"""Describe what to train and score: suite files and their runs."""
