"""Read measurements that other tools wrote: evaluation logs, tables of counts, training runs."""

from t2lib.data.readers.counts import read_counts as read_counts
from t2lib.data.readers.inspect_logs import read_inspect as read_inspect
from t2lib.data.readers.lm_eval import read_lm_eval as read_lm_eval
from t2lib.data.readers.logp import read_logp as read_logp
from t2lib.data.readers.recognise import read_measurements as read_measurements
from t2lib.data.readers.runs import read_runs as read_runs
from t2lib.data.readers.suite import write_suite as write_suite

__all__ = [
    "read_counts",
    "read_inspect",
    "read_lm_eval",
    "read_logp",
    "read_measurements",
    "read_runs",
    "write_suite",
]
