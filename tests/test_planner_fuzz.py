"""Hostile budgets, law files and numbers: the planner answers or says why not, in time."""

from __future__ import annotations

import copy
import json
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t2lib.devices import spellings
from t2lib.units import parse_quantity

ROOT = Path(__file__).resolve().parent.parent
FITS = ROOT / "data/fits"
SEED = 20261128
SECONDS = 5.0  # a case takes milliseconds; the limit is for machines that do much else
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs node: apt-get install nodejs")

# One law of each kind that the page computes.
LAWS = (
    "chinchilla-epoch",
    "gemstones-pretraining",
    "reference-macro-loss",
    "reference-macro",
    "gemstones-arc-easy-items",
    "pythia-gsm8k-counts",
)
HOSTILE: list[Any] = [
    *(None, True, "", "1e5", "NaN", "__proto__", "constructor", "A" * 4001, "AAAA"),
    *(0, -1, -1e-300, 5e-324, 1e-300, 1e300, 1.7e308, -1.7e308, float("nan"), float("inf"), 1e16),
    *([], {}, [[]], [1], [1, 2, 3], [1e-300, 1e300], [2, 1], ["1", "2"]),
    *({"length": 1e9}, {"__proto__": 1}),
]


def run_cases(cases: list[dict[str, Any]], seconds: float = 240) -> list[dict[str, Any]]:
    """Run cases in node; fails with the number of the case that did not end."""
    lines = "\n".join(json.dumps(case) for case in cases)
    assert NODE is not None
    try:
        child = subprocess.run(
            [NODE, "--max-old-space-size=512", str(ROOT / "tests/planner_child.js")],
            input=lines,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        started = (error.stdout or b"").decode().splitlines()[-1]
        pytest.fail(f"no end within {seconds} s: {started}")
    assert child.returncode == 0, child.stdout[-200:] + child.stderr[-2000:]
    bodies = [json.loads(line) for line in child.stdout.splitlines()]
    return [body for body in bodies if "end" in body]


def shipped(name: str) -> dict[str, Any]:
    """Return a shipped law's JSON with few replicates."""
    state: dict[str, Any] = json.loads((FITS / f"{name}.json").read_text())
    state["covariance"] = None
    params = state["bootstrap"]["params"]
    state["bootstrap"]["params"] = {key: column[:5] for key, column in params.items()}
    return state


def budgets(rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
    """Draw budgets over all that the form accepts."""
    settings: list[dict[str, Any]] = []
    for _ in range(count):
        if rng.random() < 0.5:
            inference = None if rng.random() < 0.2 else 10 ** rng.uniform(0.31, 24)
            whole = bool(rng.random() < 0.3)
            pair = {"cTrain": 10 ** rng.uniform(1, 32), "cInf": inference, "integerK": whole}
            settings.append(pair)
        else:
            total = {"cTotal": 10 ** rng.uniform(1, 34), "queries": 10 ** rng.uniform(0, 18)}
            settings.append(total | {"tokens": 10 ** rng.uniform(0, 9)})
    return settings


def check(results: list[dict[str, Any]]) -> tuple[int, int]:
    """Check that each case ended in time with numbers or a sentence; count both."""
    numbers = sentences = 0
    for result in results:
        assert result["seconds"] < SECONDS, result["end"]
        for answer in result.get("answers", [result]):
            if "message" in answer:
                sentences += 1
                text = answer["message"]
                assert text.endswith("."), text
                assert len(text) < 700, text
                assert not any(word in text for word in ("undefined", "Cannot read", "[object"))
                assert all(" " <= c or c == "\n" for c in text)
            else:
                numbers += 1
                assert all(math.isfinite(answer[name]) for name in ("N", "D", "k", "value")), answer
                assert answer["low"] < answer["high"], answer
                assert all(len(marks) <= 8 for marks in answer["marks"]), answer
                assert len(answer["marks"][0]) >= 2, answer
    return numbers, sentences


@needs_node
def test_every_budget_that_the_form_accepts_gives_an_answer_or_a_message() -> None:
    rng = np.random.default_rng(SEED)
    cases = [{"file": json.dumps(shipped(name)), "settings": budgets(rng, 25)} for name in LAWS]
    # The link that froze the page: every value is 1 to rounding, so that ticks lay below one ulp.
    frozen = {"cTrain": 1e17, "cInf": 1e22, "integerK": False}
    cases.append({"file": json.dumps(shipped("reference-macro")), "settings": [frozen]})
    results = run_cases(
        [{"file": c["file"], "settings": [s]} for c in cases for s in c["settings"]]
    )
    numbers, sentences = check(results)
    assert min(numbers, sentences) > 40
    assert results[-1]["answers"][0]["value"] == pytest.approx(1.0)


def _anywhere(state: dict[str, Any], rng: np.random.Generator) -> None:
    """Put something hostile in the place of any field."""
    body: Any = state
    while True:
        keys = list(body) if isinstance(body, dict) else list(range(len(body)))
        key = keys[int(rng.integers(len(keys)))]
        if not isinstance(body[key], dict | list) or not body[key] or rng.random() < 0.3:
            body[key] = copy.deepcopy(HOSTILE[int(rng.integers(len(HOSTILE)))])
            return
        body = body[key]


def _missing(state: dict[str, Any], rng: np.random.Generator) -> None:
    """Drop a field."""
    body = state[str(rng.choice(["params", "domain", "options"]))] if rng.random() < 0.7 else state
    if body:
        del body[list(body)[int(rng.integers(len(body)))]]


def _extreme(state: dict[str, Any], rng: np.random.Generator) -> None:
    """Draw parameters or ranges over all magnitudes."""
    body = state["params"] if rng.random() < 0.5 else state["domain"]
    for key in body:
        x = [float(10 ** rng.uniform(-300, 300)) for _ in range(2)]
        body[key] = sorted(x) if body is state["domain"] else x[0] * rng.choice([-1, 1])


def _flat(state: dict[str, Any], rng: np.random.Generator) -> None:
    """Make the law constant, or nearly so."""
    tiny = float(rng.choice([0.0, 1e-18, 1e-300]))
    for key in state["params"]:
        if key not in ("E", "theta0", "theta3") and not key.startswith("level"):
            state["params"][key] = tiny
    state["params"]["E"] = float(rng.choice([0.0, 1.0, 1e-12, 1e12]))


def _named(state: dict[str, Any], rng: np.random.Generator) -> None:
    """Use names that every object has."""
    word = str(rng.choice(["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"]))
    if rng.random() < 0.3:
        state["kind"] = word
    else:
        body = state[str(rng.choice(["params", "domain", "options", "bootstrap"]))]
        body[word] = HOSTILE[int(rng.integers(len(HOSTILE)))]


MUTATIONS: tuple[Callable[[dict[str, Any], np.random.Generator], None], ...] = (
    _anywhere,
    _anywhere,
    _missing,
    _extreme,
    _flat,
    _named,
)


@needs_node
def test_hostile_law_files_give_an_answer_or_a_message() -> None:
    rng = np.random.default_rng(SEED + 1)
    cases = []
    for i in range(200):
        state = shipped(LAWS[i % len(LAWS)])
        for _ in range(int(rng.integers(1, 4))):
            change = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
            try:
                change(state, rng)
            except (TypeError, KeyError, IndexError, AttributeError):
                continue  # an earlier change took the place away
        near = {"cTrain": 1e20, "cInf": 1e11, "integerK": False}
        cases.append({"file": json.dumps(state), "settings": [near, *budgets(rng, 1)]})
    numbers, sentences = check(run_cases(cases))
    assert min(numbers, sentences) > 50


@needs_node
@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("N,D,loss\n1e6,2e7,3.1\n", "a table"),
        ("", "not JSON"),
        ("[" * 200_000, "JSON"),
        ('{"format": 1, "kind"' + ": 1" * 10, "not JSON"),
        ("[" + "0," * 1_000_000 + "0]", "a JSON object"),
        (" " * 17_000_000, "at most 16 MB"),
        ('{"format": 2}', "Another version"),
        ("\u0000\u0001\x1b[31m", "not JSON"),
        ("null", "a JSON object"),
    ],
    ids=["table", "empty", "deep", "cut", "long", "large", "newer", "binary", "null"],
)
def test_files_that_are_no_laws_are_named_for_what_they_are(content: str, word: str) -> None:
    result = run_cases([{"file": content, "settings": []}])[0]
    assert word in result["message"]
    assert result["seconds"] < SECONDS


@needs_node
@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda s: s["params"].update(E=None), "parameter E must be a finite number, got null"),
        (lambda s: s["params"].update(A=-1.0), "parameter A must be at least 0"),
        (lambda s: s["domain"].update(N=[1e-300, 1e300]), "domain of N must be from 1 to"),
        (lambda s: s["domain"].update(N=[2e9, 1e9]), "in order"),
        (lambda s: s["domain"].pop("D"), "domain of D must be a range"),
        (lambda s: s["bootstrap"]["params"].update(E=[]), "1 to 20000 values"),
        (lambda s: s["bootstrap"]["params"].update(E=[1.0]), "as the others"),
        (lambda s: s["bootstrap"]["params"].update(E={"length": 1e9}), "a list of numbers"),
        (lambda s: s["bootstrap"]["params"].update(E="A" * 16), "whole float64 values"),
        (lambda s: s.update(bootstrap={"params": {}}), "got none"),
        (lambda s: s.update(kind="toString"), "does not know its kind"),
    ],
)
def test_the_message_names_the_field(change: Callable[[dict[str, Any]], Any], word: str) -> None:
    state = shipped("chinchilla-epoch")
    change(state)
    assert word in run_cases([{"file": json.dumps(state), "settings": []}])[0]["message"]


TEXTS = (
    "1.4B|300B tokens|5M|1,000,000|1e21|10^21|10**21|2.5 x 10^21|4.1e8|2.5\xd710\xb2\xb9|"
    "3 ZFLOP|2.5 EFLOP|4T tokens|8 h100 x 21 d at 40%|1_000|8xh100x21d @ .4 mfu|"
    "4032 h100-hours at 40%|8 mi300x x 3 d at 0.5|1 000 000|7b|rtx 4090 for 3 weeks at 30%|"
    "80 GiB|80GB|100 PF-days|1e3M|1.5 million|0|1.|3 zettaflop|4 T params|1k|-5|"
    "8 gpu x 3 d at .4|8 h101 x 3 d at .4|1e5000|8 h100 x 21 d|1m|5 m tokens|1,5|1.000.000|"
    "1,00,000|nan|inf|3 FLOPS|3 PFLOP/s|$5|1e400|2.5E|12 34|0x10|..5|5%|1e|2^20|8 h|3Z|M|"
    "5 minutes|8 h100 x 21 d at 140%|1\u200b|constructor|8 __proto__ x 3 d at 1|1e21 tokens|"
    "\u0661\u0662|5 tokens per s|1 TFLOP/s|8 h100 x 2 months at 40%"
)


PIECES = "1|2.5|40|,000|.|,|e|21|x|10^|k|M|m|B|T|FLOP|FLOPs|tokens|h100|d|at|%|-|$|/h|Z| |\u00d7"


def _spelled(rng: np.random.Generator) -> str:
    """Draw a text from the pieces that numbers are made of."""
    pieces = PIECES.split("|")
    return "".join(str(rng.choice(pieces)) for _ in range(int(rng.integers(1, 8))))


@needs_node
def test_page_and_python_read_the_same_numbers() -> None:
    rng = np.random.default_rng(SEED + 2)
    texts = [*TEXTS.split("|"), "", "9" * 81, *(_spelled(rng) for _ in range(600))]
    options = {"unit": "FLOPs", "devices": spellings()}
    results = run_cases([{"text": text, "options": options} for text in texts])
    read = 0
    for text, result in zip(texts, results, strict=True):
        try:
            value, message = parse_quantity(text, unit="FLOPs"), ""
        except ValueError as error:
            value, message = None, str(error)
        assert result.get("answers", [None]) == [value], (text, message)
        assert message.endswith(result.get("remedy", "")), text
        read += value is not None
    assert read > 40
