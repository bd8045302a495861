"""Work through a suite with a queue, workers, locks and progress.

This package answers how runs get done, on one machine or on many, whatever fails. It may import the
rest of ``measure`` and ``data``; only ``posttrain`` imports torch at once.
"""
