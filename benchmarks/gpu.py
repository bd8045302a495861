"""Check and measure this machine's GPU in at most five minutes.

    python benchmarks/gpu.py --out data/benchmarks/gpu.json

Parts, each written as soon as it is done, and left out when the time is over:

scores   one checkpoint scored on the CPU and on the GPU: the largest difference of a score
precision  the same run in float32 and bfloat16, beside the difference between two seeds
resume   a run that is stopped and goes on, against an undisturbed one
speed    tokens a second and share of the peak FLOPs (MFU, 6·N a token) by size, against a plain
         PyTorch loop with ``torch.compile`` over a Hugging Face Llama of the same shape
packed   several processes that share the GPU, against one alone
scoring  questions a second
memory   the most that each part took

``--rehearse`` runs the same code with small sizes on whatever is there, in seconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import llama

from t2lib.data.io import write_json
from t2lib.data.provenance import provenance
from t2lib.measure.corpus import load_corpus
from t2lib.measure.scoring.score import score_task
from t2lib.measure.suites.specs import ModelConfig, RunSpec, TrainConfig
from t2lib.measure.suites.suite import default_d_ff
from t2lib.measure.tasks import Task, load_tasks
from t2lib.measure.training import engine as engines
from t2lib.measure.training.device import Ranks, autocast, resolve_device
from t2lib.measure.training.engine import Engine
from t2lib.measure.training.model import build_model
from t2lib.measure.training.train import train_group
from t2lib.units import parse_duration

PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}  # bfloat16
WORLD = {"kind": "world", "seed": 0}
TASKS = ("knowledge", "arithmetic")


@dataclass(frozen=True)
class Plan:
    """Hold sizes of the measurements."""

    # label → (vocab_size, d_model, n_layers, n_heads, context), sequences a step
    shapes: dict[str, tuple[tuple[int, int, int, int, int], int]]
    check_steps: int  # of the runs that are compared
    timed_steps: int
    packed: int  # processes that share the GPU
    packed_s: float
    items: int
    compiled: bool
    limit_s: float


FULL = Plan(
    shapes={
        "3M": ((384, 192, 7, 3, 256), 128),
        "10M": ((384, 320, 8, 5, 256), 128),
        "30M": ((8192, 448, 10, 7, 1024), 64),
        "57M": ((50432, 480, 12, 8, 2048), 32),
        "101M": ((384, 704, 17, 11, 256), 256),
    },
    check_steps=150,
    timed_steps=20,
    packed=4,
    packed_s=6.0,
    items=1000,
    compiled=True,
    limit_s=300.0,
)
REHEARSAL = Plan(
    shapes={"tiny": ((384, 16, 1, 1, 128), 4)},
    check_steps=6,
    timed_steps=1,
    packed=0,
    packed_s=0.0,
    items=20,
    compiled=False,
    limit_s=300.0,
)


def model_config(shape: tuple[int, int, int, int, int]) -> ModelConfig:
    vocab_size, d_model, n_layers, n_heads, context = shape
    return ModelConfig(vocab_size, d_model, n_layers, n_heads, context, default_d_ff(d_model))


def check_spec(plan: Plan, **train: Any) -> RunSpec:
    """A short run on the procedural world, of the smallest shape."""
    shape, sequences = next(iter(plan.shapes.values()))
    config = replace(
        TrainConfig(batch_sequences=sequences, schedule="trunk", val_tokens=shape[4] * 16), **train
    )
    spec = RunSpec("gpu", json.dumps(WORLD), model_config(shape), config, 0, 0, TASKS)
    return replace(spec, D=plan.check_steps * spec.tokens_per_step)


def trained(spec: RunSpec, corpus: Any, device: str, **options: Any) -> Any:
    """The finished run, or None if it was stopped; its folder may be given."""
    with tempfile.TemporaryDirectory() as folder:
        place = options.pop("workdir", folder)
        return next(iter(train_group([spec], corpus, place, device=device, **options)), None)


# ---------------------------------------------------------------- agreement


def scores(plan: Plan, device: str) -> dict[str, Any]:
    """Log-probabilities of one trained model on both devices."""
    corpus = load_corpus(WORLD)
    model = trained(check_spec(plan, precision="float32"), corpus, device).model
    result: dict[str, Any] = {}
    for task in load_tasks(list(TASKS), corpus, n_items=plan.items):
        here, there = (
            score_task(model, task, device=d)["logp"].to_numpy() for d in (device, "cpu")
        )
        result[task.name] = {
            "items": len(here),
            "mean_nll": float(-there.mean()),
            "largest_difference": float(np.abs(here - there).max()),
        }
    return result


def precision(plan: Plan, device: str) -> dict[str, Any]:
    """Validation losses of one run in both precisions, and of other seeds."""
    corpus = load_corpus(WORLD)
    losses = {}
    for label, seed, kind in (
        ("float32", 0, "float32"),
        ("bfloat16", 0, "bfloat16"),
        ("float32, seed 1", 1, "float32"),
    ):
        spec = replace(check_spec(plan, precision=kind), seed=seed)
        losses[label] = trained(spec, corpus, device).record["val_loss"]
    return {
        "val_loss": losses,
        "bfloat16_minus_float32": losses["bfloat16"] - losses["float32"],
        "seed_1_minus_seed_0": losses["float32, seed 1"] - losses["float32"],
    }


def resume(plan: Plan, device: str) -> dict[str, Any]:
    """A run stopped half-way and taken up again, against an undisturbed one."""
    corpus = load_corpus(WORLD)
    spec = check_spec(plan)
    whole = trained(spec, corpus, device).record
    looks = iter(range(1 << 30))

    def stop() -> bool:
        return next(looks) >= 1  # on a GPU it is asked every few steps

    with tempfile.TemporaryDirectory() as folder:
        stopped = trained(spec, corpus, device, workdir=folder, stop=stop)
        continued = trained(spec, corpus, device, workdir=folder).record
    return {
        "was_stopped": stopped is None,
        "resumed": continued["resumed"],
        "val_loss": [whole["val_loss"], continued["val_loss"]],
        "difference": continued["val_loss"] - whole["val_loss"],
    }


# ---------------------------------------------------------------- speed


def timed(step: Callable[[], None], steps: int, device: torch.device) -> float:
    """Seconds of a step, after three that warm up."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(min(3, steps)):
        step()
    wait()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return (time.perf_counter() - start) / steps


def speed_spec(plan: Plan, label: str) -> RunSpec:
    shape, sequences = plan.shapes[label]
    config = TrainConfig(batch_sequences=sequences, schedule="trunk", val_tokens=shape[4])
    spec = RunSpec("gpu", "{}", model_config(shape), config, 0, 0, ())
    return replace(spec, D=1000 * spec.tokens_per_step)


def batch_of(spec: RunSpec, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = (spec.train.batch_sequences, spec.model.context + 1)
    ids = torch.randint(0, spec.model.vocab_size, size, generator=generator).to(device)
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def our_step(spec: RunSpec, device: torch.device) -> Callable[[], None]:
    """A step of t2lib's engine."""
    engine = Engine(spec, device, Ranks())
    x, y = batch_of(spec, device)

    def step() -> None:
        engine.step(x, y, spec.train.lr)
        engine.pending.clear()

    return step


def plain_step(spec: RunSpec, device: torch.device, compiled: bool) -> Callable[[], None]:
    """A step of a plain loop over a Hugging Face Llama of the same shape."""
    t = spec.train
    model = llama(spec.model).to(device)
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=t.lr, betas=(t.beta1, t.beta2), fused=True)
    x, _ = batch_of(spec, device)
    micro = engines.micro_rows(spec, t.batch_sequences, device)

    def step() -> None:
        optimizer.zero_grad()
        for part in x.split(micro):
            with autocast("auto", device):
                loss = forward(input_ids=part, labels=part).loss
            (loss * len(part) / len(x)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), t.clip)
        optimizer.step()

    return step


def speed(plan: Plan, device: str, label: str) -> dict[str, Any]:
    """Both loops at one size, in this process."""
    place = resolve_device(device)
    spec = speed_spec(plan, label)
    N = spec.model.N_total
    row: dict[str, Any] = {"N": N, "tokens_per_step": spec.tokens_per_step}
    for name, make in (
        ("ours", lambda: our_step(spec, place)),
        ("llama", lambda: plain_step(spec, place, plan.compiled)),
    ):
        start = time.perf_counter()
        rate = spec.tokens_per_step / timed(make(), plan.timed_steps, place)
        row[name] = {
            "tokens_per_s": rate,
            "mfu": mfu(N, rate, place),
            "with_compilation_s": time.perf_counter() - start,
        }
    row["ratio"] = row["ours"]["tokens_per_s"] / row["llama"]["tokens_per_s"]
    return row


def mfu(N: int, tokens_per_s: float, device: torch.device) -> float | None:
    """Share of the peak rate, None where that is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    peak = next((flops for part, flops in PEAK.items() if part in name), None)
    return None if peak is None else 6.0 * N * tokens_per_s / peak


def child(plan: Plan, label: str, device: str) -> None:
    """Say "ready", wait for a line, and print the tokens a second of some seconds."""
    place = resolve_device(device)
    spec = speed_spec(plan, label)
    step = our_step(spec, place)
    timed(step, 3, place)
    print("ready", flush=True)
    sys.stdin.readline()
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < plan.packed_s:
        timed(step, 5, place)
        steps += 8  # with those that warm up
    print(steps * spec.tokens_per_step / (time.perf_counter() - start), flush=True)


def packed(plan: Plan, device: str, label: str) -> dict[str, Any]:
    """Several processes on one GPU, against one alone, all of them timed together."""
    rows: dict[str, Any] = {}
    for name, count in (("alone", 1), ("packed", plan.packed)):
        command = [sys.executable, __file__, "--child", label, "--device", device]
        children = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        for process in children:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready"
        answers = []
        for process in children:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [process.communicate()[0] for process in children]
        rows[name] = {"processes": count, "tokens_per_s": sum(map(float, answers))}
    rows["ratio"] = rows["packed"]["tokens_per_s"] / rows["alone"]["tokens_per_s"]
    return rows


def scoring(plan: Plan, device: str, label: str) -> dict[str, Any]:
    """Questions a second of prompts and answers of usual lengths."""
    place = resolve_device(device)
    spec = speed_spec(plan, label)
    model = build_model(spec.model, 0).to(place)
    rng = np.random.default_rng(0)
    longest = min(120, spec.model.context - 8)
    prompts = [rng.integers(0, 300, rng.integers(longest // 2, longest)) for _ in range(plan.items)]
    answers = [rng.integers(0, 300, rng.integers(1, 6)) for _ in range(plan.items)]
    task = Task("made up", "test", np.arange(plan.items), prompts, answers, tokenizer=None)  # type: ignore[arg-type]
    score_task(model, task, device=place)  # the first call warms up
    rows = {}
    for batch_tokens in (4096, 32768):
        start = time.perf_counter()
        score_task(model, task, device=place, batch_tokens=batch_tokens)
        rows[f"batch of {batch_tokens}"] = plan.items / (time.perf_counter() - start)
    return {"N": spec.model.N_total, "items": plan.items, "items_per_s": rows}


# ---------------------------------------------------------------- all parts


def parts(plan: Plan, device: str) -> dict[str, Callable[[], dict[str, Any]]]:
    """Every part by name, the most important first."""
    sizes = list(plan.shapes)
    table: dict[str, Callable[[], dict[str, Any]]] = {
        "scores": lambda: scores(plan, device),
        "precision": lambda: precision(plan, device),
        "resume": lambda: resume(plan, device),
    }
    for label in sizes:
        table[f"speed {label}"] = lambda label=label: speed(plan, device, label)
    if plan.packed:
        table[f"packed {sizes[0]}"] = lambda: packed(plan, device, sizes[0])
    table[f"scoring {sizes[-1]}"] = lambda: scoring(plan, device, sizes[-1])
    return table


def measure(plan: Plan, device: str, out: Path) -> dict[str, Any]:
    """Run the parts while there is time; what fails is noted, and the others go on."""
    start = time.perf_counter()
    place = resolve_device(device)
    body: dict[str, Any] = {
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
        "rehearsal": plan is REHEARSAL,
        "parts": {},
        "provenance": provenance(seed=0),
    }
    for name, part in parts(plan, device).items():
        used_s = time.perf_counter() - start
        if used_s > 0.85 * plan.limit_s:
            body["parts"][name] = {"left_out": f"{used_s:.0f} s of {plan.limit_s:.0f} s were used"}
            continue
        if place.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(place)
        try:
            row = part()
        except Exception as error:  # the other parts are worth having
            row = {"error": f"{type(error).__name__}: {error}"}
        row["seconds"] = time.perf_counter() - start - used_s
        if place.type == "cuda":
            row["memory_gib"] = torch.cuda.max_memory_allocated(place) / 2**30
        body["parts"][name] = row
        body["used_s"] = time.perf_counter() - start
        write_json(out, body)
        print(name, json.dumps(row), flush=True)
    return body


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/benchmarks/gpu.json"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--limit", default="5m", help="time for all parts")
    parser.add_argument("--rehearse", action="store_true", help="small sizes, on any device")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    plan = REHEARSAL if args.rehearse else FULL
    if args.child:
        child(plan, args.child, args.device)
        return
    if not args.rehearse and resolve_device(args.device).type != "cuda":
        raise SystemExit("this machine has no GPU that PyTorch sees; --rehearse runs on a CPU")
    limited = replace(plan, limit_s=parse_duration(args.limit, name="--limit"))
    body = measure(plan if limited == plan else limited, args.device, args.out)
    failed = [name for name, row in body["parts"].items() if "error" in row]
    raise SystemExit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
