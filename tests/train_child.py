"""Train the tiny trunk in a process of its own, to be killed or to be one of several ranks."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from models import save_model
from tiny import PairCorpus, run

from t2lib.measure.training.train import train_group

STEPS = (20, 60)

if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    every = float(sys.argv[2])
    group = train_group(
        [run(n) for n in STEPS], PairCorpus(), out / "work", checkpoint_every_s=every, keep=True
    )
    print("started", flush=True)
    for trained in group:
        assert trained.model is not None
        if trained.record["processes"] == 1 or torch.distributed.get_rank() == 1:
            save_model(out / f"{trained.spec.D}.safetensors", trained.model)
    print("ended", flush=True)
