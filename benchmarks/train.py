"""Training throughput: ``python benchmarks/train.py``.

On a CPU: tokens a CPU second on one core, of ``train_group`` and of a plain PyTorch loop over a
Hugging Face Llama of the same shape, batch and optimiser, taken in turns. The plain loop has a
process of its own, since ``train_group`` changes how its process keeps memory, and runs twice: with
the batch at once, and in the same micro-batches; ``ratio`` is to the faster. CPU seconds are
counted, so other work on the machine matters little.

On a GPU (``--gpu``): tokens a second and share of the peak FLOPs (MFU, 6·N a token) per size, alone
and summed over several processes that share the GPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import llama

from t2lib.data.io import write_json
from t2lib.data.provenance import provenance
from t2lib.measure.suites.specs import ModelConfig, RunSpec, TrainConfig
from t2lib.measure.training import train
from t2lib.measure.training.engine import CPU_MICRO_TOKENS

# (vocab_size, d_model, n_layers, n_heads, context, d_ff), sequences a step
CPU_SHAPES = [
    ((341, 16, 2, 1, 128, 48), 32),
    ((341, 64, 3, 4, 128, 176), 32),
    ((341, 256, 4, 8, 128, 688), 32),
    ((8192, 64, 3, 4, 128, 176), 32),
    ((8192, 256, 4, 8, 128, 688), 32),
]
GPU_SHAPES = {
    "5M": (8192, 192, 6, 6, 1024, 512),
    "22M": (50432, 256, 8, 8, 2048, 688),
    "57M": (50432, 512, 8, 8, 2048, 1376),
    "149M": (50432, 768, 12, 12, 2048, 2048),
    "347M": (50432, 1024, 20, 16, 2048, 2736),
    "901M": (50432, 1536, 26, 24, 2048, 4096),
}
PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}  # bfloat16


class RandomCorpus:
    """Uniform tokens from memory: what is timed is training."""

    fingerprint = "random"

    def __init__(self, vocab_size: int, n_tokens: int = 1 << 24) -> None:
        self.vocab_size, self.n_tokens = vocab_size, n_tokens
        self.ids = np.random.default_rng(0).integers(0, vocab_size, n_tokens + 1, dtype=np.uint16)

    def tokens(self, start: int, count: int, split: str = "train") -> np.ndarray:
        """Any slice."""
        return self.ids[start : start + count]


def run_spec(shape: tuple[int, ...], sequences: int, steps: int) -> RunSpec:
    model = ModelConfig(*shape)
    config = TrainConfig(batch_sequences=sequences, schedule="trunk", val_tokens=model.context)
    spec = RunSpec("bench", "{}", model, config, 0, 0, ())
    return RunSpec(**{**vars(spec), "D": steps * spec.tokens_per_step})


def ours(spec: RunSpec, corpus: RandomCorpus) -> float:
    """Tokens a CPU second."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.thread_time()
        list(train.train_group([spec], corpus, folder, device="cpu", checkpoint_every_s=1e9))
        return spec.D / (time.thread_time() - start)


class Llama:
    """The plain loop."""

    def __init__(self, spec: RunSpec, corpus: RandomCorpus, micro: int) -> None:
        self.spec, self.corpus, self.micro = spec, corpus, micro
        self.model = llama(spec.model)
        t = spec.train
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=t.lr,
            betas=(t.beta1, t.beta2),
            weight_decay=t.weight_decay / t.lr,
            fused=True,
        )

    def speed(self) -> float:
        """Tokens a CPU second."""
        spec, per_step = self.spec, self.spec.tokens_per_step
        start = time.thread_time()
        for step in range(spec.steps):
            ids = self.corpus.tokens(step * per_step, per_step).astype(np.int64)
            batch = torch.from_numpy(ids).view(-1, spec.model.context)
            self.optimizer.zero_grad()
            for part in batch.split(self.micro):
                loss = self.model(input_ids=part, labels=part).loss
                (loss * len(part) / len(batch)).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), spec.train.clip)
            self.optimizer.step()
            loss.item()
        return spec.D / (time.thread_time() - start)


def llamas(pipe: Connection, spec: RunSpec) -> None:
    """Child process: on every message, the speeds with the batch at once and in micro-batches."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    corpus = RandomCorpus(spec.model.vocab_size)
    micro = CPU_MICRO_TOKENS // spec.model.context
    loops = [Llama(spec, corpus, n) for n in (spec.train.batch_sequences, micro)]
    while pipe.recv():
        pipe.send([loop.speed() for loop in loops])


def cpu(steps: int, rounds: int) -> list[dict[str, Any]]:
    """One row per shape."""
    torch.set_num_threads(1)
    context = multiprocessing.get_context("spawn")
    rows = []
    for shape, sequences in CPU_SHAPES:
        spec = run_spec(shape, sequences, steps)
        corpus = RandomCorpus(spec.model.vocab_size)
        pipe, end = context.Pipe()
        child = context.Process(target=llamas, args=(end, spec))
        child.start()
        times: dict[str, list[float]] = {"ours": [], "llama": [], "llama_micro": []}
        for _ in range(rounds + 1):
            times["ours"].append(ours(spec, corpus))
            pipe.send(True)
            for name, value in zip(("llama", "llama_micro"), pipe.recv(), strict=True):
                times[name].append(value)
        pipe.send(False)
        child.join()
        speed = {name: statistics.median(values[1:]) for name, values in times.items()}
        row = {
            **asdict(spec.model),
            "N": spec.model.N_total,
            "sequences": sequences,
            "tokens_per_cpu_s": speed["ours"],
            "llama_tokens_per_cpu_s": speed["llama"],
            "llama_micro_tokens_per_cpu_s": speed["llama_micro"],
            "ratio": speed["ours"] / max(speed["llama"], speed["llama_micro"]),
            "ratio_plain": speed["ours"] / speed["llama"],
        }
        rows.append(row)
        print(
            f"d={shape[1]:4d} V={shape[0]:5d} N={row['N']:9,d}: {speed['ours']:9,.0f} tokens/s, "
            f"{row['ratio_plain']:.2f}× a Llama loop, {row['ratio']:.2f}× the faster of two",
            flush=True,
        )
    return rows


def gpu_speed(name: str, steps: int) -> float:
    """Tokens a second once compiled: the difference of two branches of one trunk."""
    shape = GPU_SHAPES[name]
    short, long = (run_spec(shape, 64, n) for n in (steps, 5 * steps))
    corpus = RandomCorpus(shape[0], 1 << 27)
    with tempfile.TemporaryDirectory() as folder:
        one, two = train.train_group(
            [short, long], corpus, folder, device="cuda", checkpoint_every_s=1e9
        )
    return (long.D - short.D) / (two.record["wall_s"] - one.record["wall_s"])


def gpu(names: list[str], packed: int, steps: int) -> list[dict[str, Any]]:
    """One row per size, alone and packed."""
    device = torch.cuda.get_device_name()
    peak = next((flops for part, flops in PEAK.items() if part in device), None)
    rows = []
    for name in names:
        N = ModelConfig(*GPU_SHAPES[name]).N_total
        row: dict[str, Any] = {"size": name, "N": N}
        for label, count in (("alone", 1), ("packed", packed)):
            command = [sys.executable, __file__, "--child", name, "--steps", str(steps)]
            children = [
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)
            ]
            total = sum(float(child.communicate()[0].split()[-1]) for child in children)
            row[label] = {
                "processes": count,
                "tokens_per_s": total,
                "mfu": None if peak is None else 6.0 * N * total / peak,
            }
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gpu", nargs="*", choices=list(GPU_SHAPES), help="sizes; none: all")
    parser.add_argument("--packed", type=int, default=4, help="processes that share the GPU")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("data/benchmarks/train.json"))
    options = parser.parse_args()
    if options.child:
        print(gpu_speed(options.child, options.steps))
        return
    if options.gpu is not None:
        rows = gpu(options.gpu or list(GPU_SHAPES), options.packed, options.steps)
        body, out = {"gpu": rows}, options.out.with_stem("train_gpu")
    else:
        body, out = {"cpu": cpu(options.steps, options.rounds)}, options.out
    write_json(out, body | {"provenance": provenance(seed=0)})


if __name__ == "__main__":
    main()
