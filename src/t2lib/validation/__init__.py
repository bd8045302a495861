"""Judge laws and recommendations on checkpoints that were measured.

Held-out errors, what a recommendation loses, signal and noise of tasks, and stages before and
after post-training. May import costs, data, laws, planning and selection.
"""
