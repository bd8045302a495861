"""Train models and keep their checkpoints."""
