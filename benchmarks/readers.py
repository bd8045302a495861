"""Measure how many log lines a second are read, against ``json.loads`` line by line.

    python benchmarks/readers.py [lines]

Lines of logs are laid out as lm-evaluation-harness 0.4.13 writes them: multiple choice as ARC (four
choices, 2 kB a line) and eight samples a question as GSM8K with repeats, from few different answers
or with a text of its own for every sample. Inspect's log is a .eval archive with one sample a
question, human-eval's a line a sample, counts are a CSV. Times are CPU seconds of
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
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import t2lib as t2
from t2lib.data.io import write_json
from t2lib.data.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
PROMPT = "Which of these would most likely help a plant grow in a garden over the summer? " * 3


def line_of(index: int, rng: random.Random, *, sampled: bool, distinct: bool = False) -> str:
    """Return one line of a log."""
    digest = hashlib.sha256(str(index).encode()).hexdigest()
    head = {"doc_id": index, "doc": {"question": PROMPT, "label": "A"}}
    tail = {"doc_hash": digest, "prompt_hash": digest, "target_hash": digest}
    if sampled:
        most = 10**9 if distinct else 9
        answers = [
            f"It is {rng.randint(1, most)} steps. #### {rng.randint(1, 4)}" for _ in range(8)
        ]
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


def write_log(folder: Path, lines: int, *, sampled: bool, distinct: bool = False) -> Path:
    """Write one log with the results that belong to it."""
    rng = random.Random(0)
    date = "2026-01-01T00-00-00.000000"
    folder.mkdir(parents=True)
    path = folder / f"samples_task_{date}.jsonl"
    text = "".join(line_of(i, rng, sampled=sampled, distinct=distinct) + "\n" for i in range(lines))
    path.write_text(text)
    steps = [{"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"}]
    config = {
        "filter_list": [{"name": "strict-match", "filter": [*steps, {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "regexes_to_ignore": ["(?s).*#### "]}],
    }
    body = {"results": {}, "configs": {"task": config}, "model_name": folder.name}
    (folder / f"results_{date}.json").write_text(json.dumps(body))
    return path


def write_inspect(folder: Path, samples: int) -> Path:
    """Write a packed log of Inspect, four epochs a question."""
    folder.mkdir(parents=True)
    spec = {"task": "own", "task_version": 0, "model": "a", "created": "2026-01-01T00:00:00"}
    summaries = [
        {
            "id": index // 4,
            "epoch": index % 4 + 1,
            "input": f"{PROMPT}{index // 4}",
            "target": "2",
            "scores": {"match": {"value": "C" if index % 3 else "I", "answer": "2"}},
        }
        for index in range(samples)
    ]
    path = folder / "log.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps({"eval": spec, "status": "success"}))
        archive.writestr("summaries.json", json.dumps(summaries))
    return path


def write_samples(folder: Path, lines: int) -> Path:
    """Write scored samples as human-eval does."""
    folder.mkdir(parents=True)
    path = folder / "a.jsonl"
    code = "    return sorted(value for value in numbers if value > 0)\n" * 6
    rows = (
        {"task_id": f"HumanEval/{i % 164}", "completion": f"{code}{i}", "passed": i % 3 == 0}
        for i in range(lines)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_counts(folder: Path, lines: int) -> Path:
    """Write a CSV with one row per question."""
    folder.mkdir(parents=True)
    path = folder / "counts.csv"
    columns = {"model": "a", "params": "1B", "tokens": "100B", "item": range(lines)}
    pd.DataFrame({**columns, "n_samples": 16, "n_correct": 3}).to_csv(path, index=False)
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
        folder = Path(name)
        logs = {
            "multiple choice": write_log(folder / "choice/a", lines, sampled=False),
            "eight samples": write_log(folder / "samples/a", lines, sampled=True),
            "eight samples, all different": write_log(
                folder / "distinct/a", lines, sampled=True, distinct=True
            ),
            "Inspect": write_inspect(folder / "inspect", lines),
            "human-eval": write_samples(folder / "human-eval", lines),
            "counts": write_counts(folder / "counts", lines),
        }
        for kind, path in logs.items():
            place = path.parent if "samples_" in path.name else path
            ours = best(lambda place=place: t2.read_measurements(place, models))
            row = {
                "kind": kind,
                "lines": lines,
                "bytes_per_line": round(path.stat().st_size / lines),
                "lines_per_s": round(lines / ours),
            }
            if path.suffix == ".jsonl":
                peer = best(lambda path=path: parse(path))
                row["json_loads_lines_per_s"] = round(lines / peer)
            rows.append(row)
            print(row)
    body = {"rows": rows, "clock": "CPU seconds", "provenance": provenance(seed=0)}
    write_json(ROOT / "data/benchmarks/readers.json", body)


if __name__ == "__main__":
    main()
