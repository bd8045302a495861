"""Check laws against checkpoints that were left out of the fit."""
