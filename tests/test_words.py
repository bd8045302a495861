"""Code names as the book's pages write them."""

import pandas as pd
import pytest

from t2lib.book.words import said, with_symbols, with_words


def test_budgets_become_symbols_in_prose_only():
    text = """Fix C_train or **C_inf**; not `C_train`, $C_\\text{inf}$, [](C_inf.md), {abbr}`C_inf`.

```python
C_train = 1e20
```
::::{admonition} On C_train
:alt: C_train

$$
C_train
$$ (eq)
"""
    spelled = with_symbols(text)
    assert spelled.startswith(r"Fix $C_\text{train}$ or **$C_\text{inf}$**; not `C_train`, $C")
    assert spelled.split("{abbr}")[1] == text.split("{abbr}")[1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("C_train", "training FLOPs"),
        ("N_hi", "N, high end"),
        ("arc_easy", "ARC-Easy"),
        ("slope_se", "slope, standard error"),
        ("best_epoch", "best epoch"),
        ("N", "N"),
        ("RLIMIT_FSIZE", "RLIMIT_FSIZE"),
    ],
)
def test_code_names_are_said_in_words(name, words):
    assert said(name) == words


def test_tables_keep_their_numbers_and_the_code_name_as_a_tooltip():
    frame = pd.DataFrame({"tokens_per_param": [20.0], "tasks": ["arc_easy, sciq"]}, index=["a<b"])
    page = with_words(frame.to_html())
    assert '<th title="tokens_per_param">tokens per parameter</th>' in page
    assert "<td>20.0</td>" in page
    assert "<td>ARC-Easy, SciQ</td>" in page
    assert "<th>a&lt;b</th>" in page


def test_names_of_columns_and_of_the_index_stand_in_one_row():
    frame = pd.DataFrame({"task": ["a", "b"], "N": [1, 2], "k": [3, 4]}).set_index(["task", "N"])
    page = with_words(frame.to_html())
    assert page.count("<tr") == 3
    assert "<th>task</th><th>N</th><th>k</th>" in page
    groups = frame.unstack("N")  # two rows of column names stay two
    assert with_words(groups.to_html()).count("<tr") == groups.to_html().count("<tr")
