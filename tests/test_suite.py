"""Grids: what a suite file becomes, and how wrong ones are refused."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import fake_engine
import pytest

from t2lib.measure.suites.suite import SuiteSpec, cooldown_steps, cost, default_d_ff, group_by_trunk

SUITES = Path(__file__).parents[1] / "params" / "suites"


def body(**changes: Any) -> dict[str, Any]:
    """Suite body with dotted keys changed; a value of ... deletes the key."""
    out = copy.deepcopy(fake_engine.BODY)
    for dotted, value in changes.items():
        *path, last = dotted.split("__")
        inner = out
        for key in path:
            inner = inner[key]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    return out


def test_levels_double_and_D_is_whole_steps() -> None:
    spec = fake_engine.tiny()
    assert [b / a for a, b in zip(spec.C_train, spec.C_train[1:], strict=False)] == [2.0] * 3
    for cell in spec.cells():
        run = cell.spec
        assert run.steps * run.tokens_per_step == run.D
        half_step = 3.0 * run.model.N_total * run.tokens_per_step
        assert abs(run.C_train - cell.C_level) <= half_step
        assert run.steps >= spec.min_steps


def test_rows_keep_to_their_tokens_per_param() -> None:
    spec = SuiteSpec.from_dict(body(grid__tokens_per_param=[0.5, 4]))
    ratios = [c.spec.D / c.spec.model.N_total for c in spec.cells()]
    assert ratios
    assert all(0.5 <= r <= 4 for r in ratios)


def test_the_extension_takes_over_where_the_rows_end() -> None:
    over = {"sizes": ["a"], "tokens_per_param": 1000}
    spec = SuiteSpec.from_dict(body(overtrained=over, grid__tokens_per_param=[0.05, 4]))
    extended = [c for c in spec.cells() if c.group == "overtrained"]
    assert {c.size for c in extended} == {"a"}
    assert min(c.spec.D / c.spec.model.N_total for c in extended) > 4
    assert {c.group for c in spec.cells()} == {"isoflop", "overtrained"}


def test_the_grid_is_the_same_every_time() -> None:
    first, second = fake_engine.tiny(), fake_engine.tiny()
    assert [r.run_id for r in first.runs()] == [r.run_id for r in second.runs()]
    assert SuiteSpec.from_dict(first.to_dict()) == first
    assert SuiteSpec.from_dict(first.to_dict()).fingerprint == first.fingerprint


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_that_fraction_of_the_cells_is_repeated(fraction: float) -> None:
    spec = SuiteSpec.from_dict(body(repeats={"fraction": fraction, "seeds": 3}))
    seeds: dict[tuple[str, int], set[int]] = {}
    for cell in spec.cells():
        seeds.setdefault((cell.size, cell.spec.D), set()).add(cell.spec.seed)
    repeated = [s for s in seeds.values() if s == {0, 1, 2}]
    assert len(repeated) == math.ceil(fraction * len(seeds))
    assert all(s in ({0}, {0, 1, 2}) for s in seeds.values())


def test_runs_of_one_size_and_seed_share_a_trunk() -> None:
    groups = group_by_trunk(fake_engine.tiny().runs())
    for runs in groups.values():
        assert len({(r.model, r.seed) for r in runs}) == 1
        assert [r.D for r in runs] == sorted(r.D for r in runs)
    keys = {(r.model, r.seed) for r in fake_engine.tiny().runs()}
    assert len(groups) == len(keys)


def test_cosine_runs_stand_alone() -> None:
    runs = SuiteSpec.from_dict(body(train__schedule="cosine")).runs()
    assert len(group_by_trunk(runs)) == len(runs)
    assert cost(runs).saving == pytest.approx(0.0)


def test_cost_counts_the_trunk_once_and_every_cooldown() -> None:
    runs = [r for r in fake_engine.tiny().runs() if r.model.d_model == 8 and r.seed == 0]
    assert len(runs) > 2
    longest = max(runs, key=lambda r: r.D)
    steps = longest.steps - cooldown_steps(longest) + sum(cooldown_steps(r) for r in runs)
    total = cost(runs)
    assert total.shared == pytest.approx(6.0 * runs[0].model.N_total * steps * 128)
    assert total.dedicated == sum(r.C_train for r in runs)
    assert 0 < total.saving < 1
    assert f"{len(runs)} runs on 1 stable phase:" in str(total)


def test_cost_needs_runs() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        cost([])


def test_default_d_ff_is_eight_thirds_in_eights() -> None:
    assert [default_d_ff(d) for d in (8, 24, 96, 100)] == [24, 64, 256, 272]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gird": 1}, r"suite: unknown key 'gird'\. Did you mean grid\?"),
        ({"grid__levels": 1}, "suite: grid: unknown key 'levels'"),
        ({"name": ...}, "'name' is missing"),
        ({"name": 3}, "name must be text, got 3"),
        ({"corpus": "world"}, "corpus must be a mapping"),
        ({"tasks": ["lambda"]}, r"unknown task 'lambda'. There are lambada, arc_easy"),
        ({"tasks": []}, "tasks must be 'all' or a list"),
        ({"tasks": ["sciq", "sciq"]}, "must not repeat"),
        ({"n_items": -1}, "n_items must be a whole number ≥ 0, got -1"),
        ({"n_items": True}, "n_items must be a whole number"),
        ({"n_items": 1.5}, "n_items must be a whole number"),
        ({"shapes__a__d_modle": 8}, r"shapes.a: unknown key 'd_modle'\. Did you mean d_model"),
        ({"shapes__a": 8}, "shapes.a must be a mapping such as"),
        ({"shapes__a__n_heads": 3}, "shapes.a: d_model must be a multiple of 2·n_heads"),
        ({"shapes__a__n_heads": ...}, "shapes.a: .*n_heads"),
        ({"shapes__a__d_model": 64}, "listed by growing N_total"),
        ({"shapes": {}}, "listed by growing N_total"),
        ({"model__tied": "no"}, "tied must be true or false"),
        ({"model__rope_theta": "big"}, "rope_theta must be a finite number"),
        ({"train__lr": "fast"}, "train: lr must be a finite number, got 'fast'"),
        ({"train__lr": -1}, "train: lr must be positive"),
        ({"train__schedule": "linear"}, "train: schedule must be one of"),
        ({"train__batch": 3}, "train: unknown key 'batch'"),
        ({"grid": []}, "grid must be a mapping"),
        ({"grid__C_train": [2e7, 1e7]}, "growing list of FLOPs"),
        ({"grid__C_train": []}, "growing list of FLOPs"),
        ({"grid__C_train": ["x"]}, "growing list of FLOPs"),
        ({"grid__C_train": {"start": 0, "levels": 3}}, "must start above 0"),
        ({"grid__C_train": {"start": 1e7, "levels": 0}}, "levels must be a whole number ≥ 1"),
        ({"grid__tokens_per_param": [4, 1]}, "0 < lowest < highest"),
        ({"grid__tokens_per_param": [1]}, r"must be \[lowest, highest\]"),
        ({"grid__tokens_per_param": [1e6, 1e7]}, "the grid is empty"),
        ({"grid__C_train": [2e7, 2.0001e7]}, "two levels give one shape the same D"),
        ({"overtrained": {"sizes": ["z"], "tokens_per_param": 99}}, "labels of shapes, got 'z'"),
        ({"overtrained": {"sizes": ["a"], "tokens_per_param": 9}}, "above the levels' highest"),
        ({"overtrained": {"sizes": "a"}}, "sizes must be a list"),
        ({"repeats": {"fraction": 1.5}}, r"repeats.fraction must be in \[0, 1\]"),
        ({"repeats": {"fraction": 0.5, "seeds": 1}}, "seeds must be a whole number ≥ 2"),
        ({"task_data": 3}, "task_data must be text"),
        ({"task_data": "tasks", "tasks": ["own"]}, "unknown task 'own'"),  # a generated corpus
    ],
)
def test_a_wrong_entry_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SuiteSpec.from_dict(body(**changes))


def test_a_suite_must_be_a_mapping() -> None:
    with pytest.raises(ValueError, match="suite must be a mapping of settings, got None"):
        SuiteSpec.from_dict(None)


def test_numbers_written_as_yaml_text_are_numbers(tmp_path: Path) -> None:
    text = (SUITES / "smoke.yml").read_text().replace("lr:", "lr: 3e-3 #")
    (tmp_path / "x.yml").write_text(text)
    assert SuiteSpec.from_yaml(tmp_path / "x.yml").train.lr == 3e-3


def test_files_that_are_no_suites_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"existing YAML file, got .*none\.yml"):
        SuiteSpec.from_yaml(tmp_path / "none.yml")
    (tmp_path / "bad.yml").write_text("name: [")
    with pytest.raises(ValueError, match=r"bad\.yml must be valid YAML"):
        SuiteSpec.from_yaml(tmp_path / "bad.yml")
    (tmp_path / "unsafe.yml").write_text("name: !!python/object/apply:os.getcwd []")
    with pytest.raises(ValueError, match=r"line 1: the tag .* makes nothing here"):
        SuiteSpec.from_yaml(tmp_path / "unsafe.yml")


def test_a_book_parameter_file_stands_for_its_suite(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "smoke.yml").write_text("all: {}")
    (tmp_path / "suites" / "smoke.yml").write_text((SUITES / "smoke.yml").read_text())
    assert SuiteSpec.from_yaml(tmp_path / "smoke.yml").name == "smoke"


# ---------------------------------------------------------------- the suites in params/


def test_the_smoke_suite_is_small() -> None:
    spec = SuiteSpec.from_yaml(SUITES / "smoke.yml")
    assert 8 <= len(spec.runs()) <= 12
    assert len({r.model for r in spec.runs()}) == 3
    assert len(spec.tasks) == 8


def test_the_reference_suite_is_as_large_as_it_claims() -> None:
    spec = SuiteSpec.from_yaml(SUITES / "reference.yml")
    cells = spec.cells()
    assert len(cells) >= 60
    assert len(spec.C_train) >= 10
    assert len({c.level for c in cells}) == len(spec.C_train)
    C = [c.spec.C_train for c in cells]
    assert math.log10(max(C) / min(C)) >= 2.5
    ratios = [c.spec.D / c.spec.model.N_total for c in cells]
    assert min(ratios) < 2
    assert max(ratios) >= 1000
    assert len(spec.tasks) == 8
    distinct = {(c.size, c.spec.D) for c in cells}
    repeated = {(c.size, c.spec.D) for c in cells if c.repeat}
    assert len(repeated) >= len(distinct) / 4


def test_the_paper_suite_is_the_papers_grid() -> None:
    spec = SuiteSpec.from_yaml(SUITES / "paper.yml")
    cells = spec.cells()
    assert len(spec.shapes) == 16
    for label, model in spec.shapes.items():
        assert model.N_total == pytest.approx(float(label.rstrip("M")) * 1e6, rel=0.05)
        assert (model.vocab_size, model.context) == (50_432, 2048)
    assert len(spec.C_train) == 12
    assert spec.C_train[0] == 1.25e16
    assert spec.C_train[-1] == pytest.approx(2.56e19)
    assert sum(c.group == "isoflop" for c in cells) == 85
    assert sum(c.group == "overtrained" for c in cells) == 21
    assert spec.train.schedule == "cosine"
    assert (spec.train.batch_sequences, spec.train.lr) == (256, 3e-3)


def test_a_text_suite_names_files_of_its_own_as_tasks() -> None:
    settings = {"corpus": {"kind": "text", "path": "packed"}, "task_data": "tasks"}
    assert SuiteSpec.from_dict(body(**settings, tasks=["own", "sciq"])).tasks == ("own", "sciq")
    with pytest.raises(ValueError, match=r"name of tasks must be a name of letters, .* got 'a/b'"):
        SuiteSpec.from_dict(body(**settings, tasks=["a/b"]))
    with pytest.raises(ValueError, match="unknown task 'own'"):
        SuiteSpec.from_dict(body(corpus=settings["corpus"], tasks=["own"]))
