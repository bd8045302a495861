"""Answer how loss and accuracy depend on size, data and samples.

Laws are fitted here, resampled, written to files and read back. Laws import passk, units and
t2lib.data, and never planning, selection, validation, measure or torch.
"""
