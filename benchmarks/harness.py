r"""Compare item scores of a real model with lm-evaluation-harness.

Both score the same questions of local JSONL task files with the same checkpoint in one process on
one thread. Written are the largest and the mean difference per item in nats, how far each is from
scores in float64, and the CPU seconds of both from text to log-likelihoods; no text of the
questions.

Two ratios are told apart. ``cpu_ratio`` is for the same work, the correct answers alone: what is
saved is the output matrix at all other positions, 21 % of this model's FLOPs. ``cpu_ratio_choices``
is for the same questions as the harness's own multiple-choice tasks run them: it reads a question
once for every choice, where pass@k needs the correct one only. ``make harness`` makes the
environment:

    .venv-harness/bin/python benchmarks/harness.py --model FOLDER_OR_FILE.gguf --tasks FOLDER
"""

from __future__ import annotations

import argparse
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from numpy.typing import NDArray

from t2lib.data.io import sha256_file, write_json
from t2lib.data.provenance import provenance
from t2lib.measure.scoring.hf import load_hf
from t2lib.measure.scoring.score import score_task
from t2lib.measure.tasks.text import text_items, text_task


def load_harness(model: Path) -> HFLM:
    """Load a folder or a GGUF file as the harness does, in float32."""
    folder, options = model, {}
    if model.is_file():
        folder, options = model.parent, {"gguf_file": model.name}
    return HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=1, **options)


def double_scores(harness: HFLM, requests: list[Instance]) -> NDArray[np.float64]:
    """Score requests one by one with the harness's own tokens and its model in float64.

    Says how much of a difference is the rounding of float32, and on whose side.
    """
    model = harness.model.double()
    scores = []
    for request in requests:
        prompt, answer = harness._encode_pair(*request.args)
        tokens = torch.tensor([prompt + answer])
        with torch.no_grad():
            logp = model(tokens[:, :-1]).logits.log_softmax(-1)[0, -len(answer) :]
        scores.append(float(logp.gather(1, torch.tensor(answer)[:, None]).sum()))
    return np.array(scores)


def compare(
    model: Path, name: str, tasks: Path, n_items: int, batches: list[int], n_double: int
) -> dict[str, Any]:
    """Score the questions with both, the harness at each batch size, the first in float64 too."""
    items = text_items(name, "test", tasks)[:n_items]
    requests = [
        Instance("loglikelihood", {}, (i.prompt, i.sep + i.answer), n) for n, i in enumerate(items)
    ]
    scorer, tokenizer = load_hf(f"hf:{model.resolve()}", device="cpu")
    harness = load_harness(model.resolve())

    start = time.process_time()
    frame = score_task(scorer, text_task(name, tokenizer, "test", n_items, tasks))
    seconds = {"t2lib": time.process_time() - start}
    print(f"t2lib: {seconds['t2lib']:.0f} CPU s", flush=True)
    gaps = []
    for batch in batches:
        harness.batch_size_per_gpu = batch
        start = time.process_time()
        theirs = [logp for logp, _ in harness.loglikelihood(requests, disable_tqdm=True)]
        label = f"lm_eval_batch_{batch}"
        seconds[label] = time.process_time() - start
        gaps.append(np.abs(frame["logp"].to_numpy() - np.array(theirs)))
        print(f"{label}: {seconds[label]:.0f} CPU s, difference {gaps[-1].max():.1e}", flush=True)
    # Every choice of a question, as the harness's own tasks ask for them.
    best = min((label for label in seconds if label != "t2lib"), key=seconds.__getitem__)
    harness.batch_size_per_gpu = int(best.rpartition("_")[2])
    choices = [
        Instance("loglikelihood", {}, (i.prompt, i.sep + choice), n)
        for n, i in enumerate(items)
        for choice in dict.fromkeys((i.answer, *i.choices))
    ]
    start = time.process_time()
    harness.loglikelihood(choices, disable_tqdm=True)
    choices_s = time.process_time() - start
    print(f"all {len(choices)} choices: {choices_s:.0f} CPU s", flush=True)
    exact = double_scores(harness, requests[:n_double])
    first = slice(len(exact))
    doubled = {}
    if n_double:
        doubled = {
            "items": len(exact),
            "t2lib": float(np.abs(frame["logp"].to_numpy()[first] - exact).max()),
            "lm_eval": float(np.abs(np.array(theirs)[first] - exact).max()),
        }
        print(f"against float64: {doubled}", flush=True)
    return {
        "task": name,
        "items": len(items),
        "parameters": scorer.N_total,
        "opening": tokenizer.prefix,
        "largest_difference": float(np.max(gaps)),
        "mean_difference": float(np.mean(gaps)),
        "largest_error_against_float64": doubled,
        "mean_logp": float(frame["logp"].mean()),
        "truncated": int((frame["truncated"] > 0).sum()),
        "cpu_s": seconds,
        "cpu_ratio": seconds["t2lib"] / seconds[best],
        "choices": len(choices),
        "cpu_s_choices": choices_s,
        "cpu_ratio_choices": seconds["t2lib"] / choices_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True, help="folder or GGUF file")
    parser.add_argument("--tasks", type=Path, required=True, help="folder of JSONL task files")
    parser.add_argument("--task", nargs="+", default=["sciq"])
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--batches", type=int, nargs="+", default=[1])
    parser.add_argument("--double", type=int, default=24, help="questions to score in float64 too")
    parser.add_argument("--out", type=Path, default=Path("data/studies/harness.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = options.model if options.model.is_file() else options.model / "config.json"
    rows = []
    for task in options.task:
        row = compare(
            options.model, task, options.tasks, options.items, options.batches, options.double
        )
        row |= {"model": options.model.name, "model_sha256": sha256_file(file)}
        row["tasks_sha256"] = sha256_file(options.tasks / f"{task}_test.jsonl")
        rows.append(row)
        print(f"largest difference {row['largest_difference']:.1e} nats over {row['items']} items")
    versions = {n.replace("-", "_"): metadata.version(n) for n in ("lm-eval", "transformers")}
    stamp = provenance(seed=0, **versions)
    write_json(options.out, {"rows": rows, "provenance": stamp})


if __name__ == "__main__":
    main()
