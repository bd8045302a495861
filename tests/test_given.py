"""What a chapter is given is checked in the chapter too, whoever runs it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pydantic
import pytest

from t2lib.book.given import check_given, fit_type

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))


def given(kind: Any, value: Any, **options: Any) -> Any:
    namespace = {"__annotations__": {"x": kind}, "x": value}
    check_given(namespace, **options)
    return namespace["x"]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (list[float], "[1e10,1e11]", [1e10, 1e11]),  # papermill -p
        (list[float], ["1.0e10", "1e11"], [1e10, 1e11]),  # papermill -y
        (list[int], (1, 2), [1, 2]),
        (float, "1e6", 1e6),
        (float, 3, 3.0),
        (bool, "true", True),
        (str, "1e6", "1e6"),
        (str | None, None, None),
        (list[str], ["a", "1"], ["a", "1"]),
    ],
)
def test_texts_become_what_is_declared(kind: Any, value: Any, expected: Any) -> None:
    result = given(kind, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "error", "message"),
    [
        (float, "ten", TypeError, r"parameter x must be float, got 'ten'"),
        (list[float], "1e10,1e11", TypeError, r"parameter x must be list\[float\]"),
        (list[float], [], ValueError, r"parameter x must hold at least 1 value, got \[\]"),
        (list[float], [1.0, 1], ValueError, r"must hold different values, got 1\.0 twice"),
        (float, "017", ValueError, "the value of x, line 1: '017' may be"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    kind: Any, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        given(kind, value)


def test_a_list_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="parameter x must hold 2 values"):
        given(list[float], [1.0], lengths={"x": (2, 2)})


def cells(name: str) -> list[str]:
    body = json.loads((NOTEBOOKS[0].parent / f"{name}.ipynb").read_text())["cells"]
    return ["".join(cell["source"]) for cell in body if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_chapters_with_lists_check_them(path: Path) -> None:
    code = cells(path.stem)
    assert "list[" not in code[0] or "check_given(globals()" in code[1]


@pytest.mark.parametrize(
    "budgets", [[1e12], [1e21, 1e20], "[1e10,1e11]"], ids=["one", "falling", "text"]
)
def test_the_allocation_chapter_takes_any_number_of_budgets(
    budgets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its example in the book has two; only the cells that compute run here."""
    monkeypatch.chdir(NOTEBOOKS[0].parent)
    namespace: dict[str, Any] = {}
    first, *rest = cells("03_allocate")
    exec(first, namespace)
    namespace |= {"budgets": budgets, "C_inf": 1e12 if budgets == [1e21, 1e20] else 2e6}
    for source in rest:
        if not {"plt.subplots", "show"} & set(re.findall(r"(?:plt\.)?\w+(?=\()", source)):
            exec(source, namespace)


VALUES = [True, 0, 3, 2.0, 0.5, "3", None, [], [1], [1, 2.5], ["a"], [True], [[1]], 10**400]


@pytest.mark.parametrize(
    "kind",
    ["bool", "int", "float", "str", "int | None", "float | int", "list[float]", "list[int] | str"],
)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:9])
def test_types_are_checked_as_pydantic_does(kind: str, value: Any) -> None:
    fits, fitting = fit_type(ast.parse(kind, mode="eval").body, value)
    try:
        expected = pydantic.TypeAdapter(eval(kind)).validate_python(value, strict=True)
    except pydantic.ValidationError:
        assert not fits
    else:
        assert fits
        assert (repr(fitting), type(fitting)) == (repr(expected), type(expected))


@pytest.mark.parametrize(
    ("text", "number"),
    [("1.4B", 1.4e9), ("5M", 5e6), ("1,000,000", 1e6), ("10^21", 1e21), ("3 ZFLOP", 3e21)],
)
def test_numbers_are_taken_as_people_write_them(text, number):
    from t2lib.book.parameters import Parameter

    budget = Parameter("C_train", "float", 1e20, "FLOPs")
    assert budget.parse(text, "x.ipynb") == budget.check(text, "x.ipynb") == number
    budgets = Parameter("budgets", "list[float]", [1e20], "FLOPs")
    assert budgets.check([text, 1.0], "x.ipynb") == [number, 1.0]
    namespace = {"__annotations__": {"C_train": float, "name": str}, "C_train": text, "name": text}
    check_given(namespace)
    assert (namespace["C_train"], namespace["name"]) == (number, text)


def test_a_number_that_could_be_two_is_refused():
    namespace = {"__annotations__": {"C_train": float}, "C_train": "5m"}
    with pytest.raises(ValueError, match=r"C_train must be a number .* m could be million"):
        check_given(namespace)
