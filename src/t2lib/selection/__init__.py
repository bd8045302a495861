"""Choose one answer among samples with verifiers and votes."""
