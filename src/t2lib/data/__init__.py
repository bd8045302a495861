"""Read and write measurements of every kind.

It answers what was measured: suites on disk (store), tables of pass@k (tables, measured), public
data (sources) and what guessing reaches (answers). It imports the ground floor of the library only.
"""
