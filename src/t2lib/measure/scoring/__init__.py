"""Score answers with own models and Hugging Face checkpoints."""
