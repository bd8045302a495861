"""Measure how many log lines a second are read, against ``json.loads`` line by line.

    python benchmarks/readers.py [lines]

Lines are laid out as lm-evaluation-harness 0.4.13 writes them: multiple choice as ARC (four
choices, 2 kB a line) and eight samples a question as GSM8K with repeats. Times are CPU seconds of
this process, best of five, since another job may share the machine. Results:
data/benchmarks/readers.json.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import t2lib as t2
from t2lib.data.io import write_json
from t2lib.data.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
PROMPT = "Which of these would most likely help a plant grow in a garden over the summer? " * 3


def line_of(index: int, rng: random.Random, *, sampled: bool) -> str:
    """Return one line of a log."""
    digest = hashlib.sha256(str(index).encode()).hexdigest()
    head = {"doc_id": index, "doc": {"question": PROMPT, "label": "A"}}
    tail = {"doc_hash": digest, "prompt_hash": digest, "target_hash": digest}
    if sampled:
        answers = [f"It is {rng.randint(1, 9)} steps. #### {rng.randint(1, 4)}" for _ in range(8)]
        first = answers[0].rpartition(" ")[2]
        body = {
            "target": "so #### 2",
            "arguments": {"gen_args_0": {"arg_0": PROMPT, "arg_1": {"until": ["Question:"]}}},
            "resps": [answers],
            "filtered_resps": [first],
            "filter": "strict-match",
            "metrics": ["exact_match"],
            **tail,
            "exact_match": float(first == "2"),
        }
    else:
        pairs = [[str(-20 * rng.random()), "False"] for _ in range(4)]
        body = {
            "target": str(index % 4),
            "arguments": {f"gen_args_{i}": {"arg_0": PROMPT, "arg_1": " a word"} for i in range(4)},
            "resps": [[pair] for pair in pairs],
            "filtered_resps": pairs,
            "filter": "none",
            "metrics": ["acc", "acc_norm"],
            **tail,
            "acc": 0.0,
            "acc_norm": 0.0,
        }
    return json.dumps(head | body)


def write_log(folder: Path, lines: int, *, sampled: bool) -> Path:
    """Write one log with the results that belong to it."""
    rng = random.Random(0)
    date = "2026-01-01T00-00-00.000000"
    folder.mkdir(parents=True)
    path = folder / f"samples_task_{date}.jsonl"
    text = "".join(line_of(i, rng, sampled=sampled) + "\n" for i in range(lines))
    path.write_text(text)
    steps = [{"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"}]
    config = {
        "filter_list": [{"name": "strict-match", "filter": [*steps, {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "regexes_to_ignore": ["(?s).*#### "]}],
    }
    body = {"results": {}, "configs": {"task": config}, "model_name": folder.name}
    (folder / f"results_{date}.json").write_text(json.dumps(body))
    return path


def best(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of several rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def parse(path: Path) -> int:
    """Parse every line as a whole, as a reader written in an hour would."""
    with path.open() as file:
        return sum(1 for line in file if json.loads(line))


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 30_000
    models = pd.DataFrame({"model": ["a"], "N": [1e9], "D": [1e11]})
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for kind, sampled in (("multiple choice", False), ("eight samples", True)):
            path = write_log(Path(name) / kind / "a", lines, sampled=sampled)
            ours = best(lambda path=path: t2.read_lm_eval(path.parent, models))
            peer = best(lambda path=path: parse(path))
            rows.append(
                {
                    "kind": kind,
                    "lines": lines,
                    "bytes_per_line": round(path.stat().st_size / lines),
                    "lines_per_s": round(lines / ours),
                    "json_loads_lines_per_s": round(lines / peer),
                }
            )
            print(rows[-1])
    body = {"rows": rows, "clock": "CPU seconds", "provenance": provenance(seed=0)}
    write_json(ROOT / "data/benchmarks/readers.json", body)


if __name__ == "__main__":
    main()
