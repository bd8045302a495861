"""Read and write measurements: suites on disk, tables of pass@k, public data."""
