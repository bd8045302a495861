"""Count what training and sampling cost, in FLOPs, bytes moved or money."""
