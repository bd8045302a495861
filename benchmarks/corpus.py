"""Tokens a second of the procedural corpus on one core: ``python benchmarks/corpus.py``."""

from __future__ import annotations

import argparse
import json
import time

from t2lib.data.provenance import provenance
from t2lib.measure.corpus import WorldCorpus
from t2lib.measure.corpus.world import BLOCK
from t2lib.measure.tasks import load_tasks


def stream_speed(corpus: WorldCorpus, n_blocks: int, first: int) -> float:
    """Tokens a CPU second of fresh blocks, read in training batches of 4,096 tokens."""
    start = time.process_time()
    for at in range(first * BLOCK, (first + n_blocks) * BLOCK, 4096):
        corpus.tokens(at, 4096)
    return n_blocks * BLOCK / (time.process_time() - start)


def main() -> None:
    """Print the speeds as JSON."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("--blocks", type=int, default=40, help="blocks of 2**18 tokens a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    start = time.perf_counter()
    corpus = WorldCorpus(seed=0)
    opened = time.perf_counter() - start
    stream_speed(corpus, 1, 0)
    speeds = [
        stream_speed(corpus, options.blocks, 1 + i * options.blocks) for i in range(options.rounds)
    ]
    start = time.perf_counter()
    tasks = load_tasks("all", corpus)
    report = {
        "tokens_per_cpu_s": max(speeds),
        "rounds": speeds,
        "open_s": opened,
        "tasks_s": time.perf_counter() - start,
        "items": sum(len(t) for t in tasks),
        "provenance": provenance(seed=0),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
