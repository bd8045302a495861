"""Work through a suite: queue, workers, locks and progress."""
