"""Decide what to train and how many samples to draw for a budget."""
