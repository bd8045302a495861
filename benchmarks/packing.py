"""Speed and memory of packing text, beside the tokens packed: ``python benchmarks/packing.py``.

Documents of made-up words with Zipf's frequencies are written to files, then packed twice as a user
would pack them: local files with shuffling, and a stream of the package ``datasets``. Both are
decontaminated against four task files. A thread looks at the process's memory ten times a second;
written are speed and the most memory between two saves, which must not grow with the tokens.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from t2lib.data.io import write_json
from t2lib.data.provenance import provenance
from t2lib.measure.corpus import load_corpus, prepare_text

WORDS, SENTENCES, VOCABULARY = 30_000, 20_000, 8192
TASKS = ("lambada", "arc_easy", "sciq", "openbookqa")
DOCUMENTS_PER_FILE = 20_000


def make_sentences(seed: int) -> list[str]:
    """Sentences of 8 to 30 words; the r-th word of the list is p(r) ∝ 1/(r + 3)."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    words = ["".join(rng.choice(letters, n)) for n in rng.integers(2, 11, WORDS)]
    p = 1.0 / (np.arange(WORDS) + 3.0)
    p /= p.sum()
    counts = rng.integers(8, 31, SENTENCES)
    chosen = iter(rng.choice(WORDS, int(counts.sum()), p=p))
    return [" ".join(words[next(chosen)] for _ in range(n)).capitalize() + "." for n in counts]


def make_documents(sentences: list[str], n: int, seed: int) -> Iterator[str]:
    """Documents of 2 to 60 sentences in three paragraphs or fewer."""
    rng = np.random.default_rng(seed)
    for count in rng.integers(2, 61, n):
        chosen = [sentences[i] for i in rng.integers(0, len(sentences), count)]
        yield "\n".join(" ".join(chosen[i::3]) for i in range(min(3, count)))


def write_sources(folder: Path, n_documents: int) -> None:
    """Write the documents as text and as JSON lines, and the task files."""
    sentences = make_sentences(0)
    for i, first in enumerate(range(0, n_documents, DOCUMENTS_PER_FILE)):
        count = min(DOCUMENTS_PER_FILE, n_documents - first)
        documents = list(make_documents(sentences, count, i))
        text = "\n<|endoftext|>\n".join(documents)
        (folder / f"{i:03d}.txt").write_text(text, encoding="utf-8")
        rows = "\n".join(json.dumps({"text": document}) for document in documents)
        (folder / f"{i:03d}.jsonl").write_text(rows, encoding="utf-8")
    # Questions of the same words, so that whole windows of a document are words of the tasks.
    tasks = folder / "tasks"
    tasks.mkdir()
    for i, name in enumerate(TASKS):
        questions = make_documents(make_sentences(1), 2000, 1000 + i)
        rows = "\n".join(json.dumps({"prompt": q[:200], "answer": "so"}) for q in questions)
        (tasks / f"{name}_test.jsonl").write_text(rows, encoding="utf-8")


def memory() -> dict[str, float]:
    """Memory of this process in MiB: all of it, and what is not mapped from files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = {
        line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("Vm", "Rss"))
    }
    return {"rss": int(fields["VmRSS"]) / 1024, "anonymous": int(fields["RssAnon"]) / 1024}


class Watch:
    """Keep the most memory since the last look."""

    def __init__(self) -> None:
        self._most: dict[str, float] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.wait(0.1):
            for name, value in memory().items():
                self._most[name] = max(value, self._most.get(name, 0.0))

    def take(self) -> dict[str, float]:
        """Return the most so far, rounded, and begin again."""
        most, self._most = {**memory(), **self._most}, {}
        return {name: round(value) for name, value in most.items()}

    def end(self) -> None:
        """Stop looking."""
        self._end.set()
        self._thread.join()


def measure(body: dict[str, Any], out: Path) -> dict[str, Any]:
    """Pack once, and report seconds and memory at every save."""
    watch = Watch()
    wall, cpu = time.perf_counter(), time.process_time()
    rows: list[dict[str, float]] = []

    def note(counts: dict[str, int]) -> None:
        row = {"tokens": counts["train_tokens"] + counts["val_tokens"]}
        clock = {"wall_s": round(time.perf_counter() - wall, 1)}
        cpu_s = {"cpu_s": round(time.process_time() - cpu, 1)}
        rows.append(row | clock | cpu_s | watch.take())
        print(rows[-1], flush=True)

    manifest = prepare_text(body, out, note)
    total = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    finishing = watch.take()
    watch.end()
    tokens = sum(manifest["tokens"].values())
    load_corpus({"kind": "text", "path": str(out), "verify": "sizes"})
    return {
        "tokens": tokens,
        "documents": manifest["documents"],
        **total,
        "tokens_per_cpu_s": tokens / total["cpu_s"],
        "cpu_hours_for_1e9_tokens": 1e9 / tokens * total["cpu_s"] / 3600,
        "saves": rows,
        "finishing_memory": finishing,
    }


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=100_000, help="about 700 tokens each")
    parser.add_argument("--part-tokens", type=int, default=1 << 23)
    parser.add_argument(
        "--kinds", nargs="+", choices=("files", "stream"), default=["files", "stream"]
    )
    parser.add_argument("--work", type=Path, help="folder for the text (a temporary one)")
    parser.add_argument("--out", type=Path, default=Path("data/benchmarks/packing.json"))
    options = parser.parse_args()
    report: dict[str, Any] = {"part_tokens": options.part_tokens, "memory_unit": "MiB"}
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        write_sources(folder, options.documents)
        report["memory_at_start"] = {key: round(value) for key, value in memory().items()}
        common = {
            "tokenizer": {"vocab_size": VOCABULARY, "sample_bytes": 5_000_000},
            "decontaminate": {"path": str(folder / "tasks")},
            "part_tokens": options.part_tokens,
        }
        sources = {
            "files": {"files": str(folder / "*.txt")},
            "stream": {"dataset": "json", "data_files": str(folder / "*.jsonl")},
        }
        for kind in options.kinds:
            print(kind, flush=True)
            report[kind] = measure(common | sources[kind], folder / f"packed-{kind}")
            write_json(options.out, report | {"provenance": provenance(seed=0)})


if __name__ == "__main__":
    main()
