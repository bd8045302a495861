"""Sample answers of models, grade them, and store n and c.

This package answers how often a model's own answers are correct, where no probability can be
computed: long answers, or a model behind an endpoint. Only ``local`` imports torch.
"""
