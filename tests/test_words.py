"""Code names as the book's pages write them."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from t2lib.book.words import said, with_symbols, with_words, write_words


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
        ("theta3", "θ₃"),
        ("alpha_lo", "α, low end"),
        ("N", "N"),
        ("RLIMIT_FSIZE", "RLIMIT_FSIZE"),
    ],
)
def test_code_names_are_said_in_words(name, words):
    assert said(name) == words


def test_a_figure_says_words_for_code_names():
    figure, axes = plt.subplots(1, 2, sharey=True)
    axes[0].set(title="arc_easy, k = 1", xlabel="C_inf = 2e9", ylabel="$10^{n_l}$")
    axes[0].plot([0, 1], label="beta_moments")
    axes[0].set_yticks([0, 1], ["arc-easy-unlisted", "nll"])
    axes[0].legend()
    write_words(figure)
    figure.draw_without_rendering()
    assert axes[0].get_title() == "ARC-Easy, k = 1"
    assert axes[0].get_xlabel() == "inference budget = 2e9"
    assert axes[0].get_ylabel() == "$10^{n_l}$"
    assert [t.get_text() for t in axes[0].get_yticklabels()] == [
        "ARC-Easy, unlisted answers",
        "NLL",
    ]
    assert axes[0].get_legend().get_texts()[0].get_text() == "Beta by moments"
    plt.close(figure)


def test_tables_keep_their_numbers_and_the_code_name_as_a_tooltip():
    frame = pd.DataFrame(
        {"tokens_per_param": [20.0], "tasks": ["arc_easy, sciq"], "table": ["gemstones_loss"]},
        index=["a<b"],
    )
    page = with_words(frame.to_html())
    assert '<th title="tokens_per_param">tokens per parameter</th>' in page
    assert "<td>20.0</td>" in page
    assert "<td>ARC-Easy, SciQ</td>" in page
    assert "<td>gemstones_loss</td>" in page  # a name to type
    assert "<th>a&lt;b</th>" in page


def test_names_of_columns_and_of_the_index_stand_in_one_row():
    frame = pd.DataFrame({"task": ["a", "b"], "N": [1, 2], "k": [3, 4]}).set_index(["task", "N"])
    page = with_words(frame.to_html())
    assert page.count("<tr") == 3
    assert "<th>task</th><th>N</th><th>k</th>" in page
    groups = frame.unstack("N")  # two rows of column names stay two
    assert with_words(groups.to_html()).count("<tr") == groups.to_html().count("<tr")
