"""Where public models stand among the best that a law names."""

from __future__ import annotations

import os
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.book import figures
from t2lib.book.known_models import beside_optimum, optimal_lines, read_known_models
from t2lib.book.literature import parallel_streams

MIRRORED = bool(os.environ.get("T2LIB_MIRROR"))
LAW = t2.load_law("gemstones-arc-easy-unlisted-items").with_replicates(0)
# models of our table, and their names in that of Ruan et al. 2024
ELSEWHERE = {
    "LLaMA 65B": "huggyllama/llama-65b",
    "Llama 2 7B": "meta-llama/Llama-2-7b-hf",
    "Llama 3 8B": "meta-llama/Meta-Llama-3-8B",
    "Pythia-410M": "EleutherAI/pythia-410m-deduped",
    "Cerebras-GPT 590M": "cerebras/Cerebras-GPT-590M",
    "OPT-66B": "facebook/opt-66b",
    "GPT-NeoX-20B": "EleutherAI/gpt-neox-20b",
    "Falcon 180B": "tiiuae/falcon-180B",
    "TinyLlama 1.1B": "TinyLlama/TinyLlama_v1.1",
    "StarCoder2 15B": "bigcode/starcoder2-15b",
    "Yi 34B": "01-ai/Yi-34B",
    "Gemma 2 9B": "google/gemma-2-9b",
}


def test_every_model_has_a_source_and_stands_once():
    models = read_known_models()
    assert models["model"].is_unique
    assert models["source"].map(lambda text: bool(re.fullmatch(r"arXiv \d{4}\.\d{5}", text))).all()
    labels = models.loc[models["label"] != "", "label"]
    assert labels.is_unique
    assert models["tokens_per_param"].between(0.5, 50_000).all()
    chinchilla = models.set_index("model").loc["Chinchilla 70B"]
    assert chinchilla["C_train"] == pytest.approx(5.88e23)


def test_lines_end_ten_times_beyond_the_data_and_say_what_is_inside():
    budgets = {"one": None, "many": 1.4e11}
    lines = optimal_lines(LAW, budgets, C_train=[1e15, 1e20, 1e22, 1e26])
    one, many = (lines[lines["line"] == name].set_index("C_train") for name in budgets)
    assert list(many.index) == [1e20, 1e22]
    assert list(many["inside"]) == [True, False]
    best = t2.allocate(LAW, C_train=1e20, C_inf=1.4e11)
    assert many.loc[1e20, "N"] == pytest.approx(best.N)
    assert (many["tokens_per_param"] > one.loc[many.index, "tokens_per_param"]).all()


def test_models_out_of_reach_have_no_best_beside_them():
    models = read_known_models().set_index("model", drop=False)
    rows = beside_optimum(models.loc[["Pythia-410M", "Llama 3 405B"]], LAW, C_inf=1.4e11)
    assert list(rows.index) == ["Pythia-410M"]
    assert rows["N_one"].item() > rows["N_many"].item() > 405e6


def test_dashes_on_the_map_mean_outside_the_data():
    lines = pd.DataFrame(
        {
            "line": "one sample",
            "N": [1e8, 2e8, 4e8, 8e8],
            "tokens_per_param": 20.0,
            "C_train": [1.0, 2.0, 3.0, 4.0],
            "inside": [True, True, False, False],
        }
    )
    models = pd.DataFrame({"N": [1e8], "tokens_per_param": [20.0], "label": ["A"]})
    ax = figures.model_map(models, lines, data={"N": (1e8, 2e8), "D": (2e9, 4e9)})
    spans = {}
    for line in ax.get_lines()[:2]:
        x, y = line.get_data()
        spans[line.get_linestyle()] = list(x[np.isfinite(y)])
    plt.close("all")
    assert spans == {"-": [1e8, 2e8], "--": [2e8, 4e8, 8e8]}


@pytest.mark.skipif(not MIRRORED, reason="needs public data: T2LIB_MIRROR")
def test_sizes_and_tokens_agree_with_another_collection():
    there = t2.load_source("obsscaling").set_index("model").loc[list(ELSEWHERE.values())]
    here = read_known_models().set_index("model").loc[list(ELSEWHERE)]
    for name in ("N", "D"):
        assert np.allclose(here[name], there[name], rtol=0.07)


def test_eight_streams_act_like_a_model_less_than_twice_as_large():
    """The fit follows the losses that Chen et al. 2025 released to about 0.01 nats."""
    table = parallel_streams()
    assert table.loc["code (Stack-V2 Python)", "kappa"] == pytest.approx(0.39, abs=0.01)
    assert table.loc["text (Pile)", "kappa"] == pytest.approx(0.33, abs=0.01)
    assert (table["error"] < 0.015).all()
