"""Makes decisions out of numbers: fits, allocation, validation. Never imports torch."""
