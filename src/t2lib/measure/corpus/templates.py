"""Define the sentence templates of the world.

``{slot}`` is one token, ``{slot:3}`` three, ``A`` the answer.

A document is the separator followed by one template. Shares are of tokens, in percent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from t2lib.measure.corpus.words import FILLER_OPENING, FILLER_PLACE, POOLS

N_FILLERS = 4  # filler sentences of a story
_STORY = " ".join(f"{{fill{i}:9}} ." for i in range(N_FILLERS))


@dataclass(frozen=True)
class Template:
    """Define one document form.

    Which builder fills it, its share of the tokens, its text.
    """

    builder: str
    share: float
    text: str
    tasks: tuple[str, ...] = ()  # tasks whose items it provides
    options: tuple[tuple[str, int], ...] = ()

    @property
    def words(self) -> list[str]:
        """Split the text into constant words and slots, in order."""
        return self.text.split()


def _t(builder: str, share: float, text: str, *tasks: str, **options: int) -> Template:
    return Template(builder, share, text, tasks, tuple(options.items()))


_QUESTION = "question : what can the {who:3} {v} ? answer : the {A:4} ."

TEMPLATES: tuple[Template, ...] = (
    _t("possession", 2.5, "the {role} of {P:3} is the {A:4} .", "knowledge"),
    _t("possession", 2.5, "{P:3} 's {role} is the {A:4} .", "knowledge"),
    _t("possession", 2.5, "for a {role} , {P:3} has the {A:4} .", "knowledge"),
    _t("possession", 2.5, "{P:3} keeps a {role} : the {A:4} .", "knowledge"),
    _t(
        "sums",
        9,
        "{first} {w0} {b0} {u0} , then {w1} {b1} {u1} , then {w2} {b2} {u2} . from {a} the counts "
        "are {A:3} .",
        "arithmetic",
    ),
    _t("sum", 2, "{a} and {b} {u} make {c} .", gain=1),
    _t("sum", 2, "{a} without {b} {u} is {c} .", gain=0),
    _t("cause", 4, "because the {C:4} , the {A:4} .", "causal"),
    _t("cause", 4, "the {C:4} , so the {A:4} .", "causal"),
    _t("causes", 5, "as the {C:4} and the {E:4} , so the {D:4} and the {A:4} .", "causal"),
    _t("address", 6, "the {room} of {P:3} is in {A:4} ."),
    _t(
        "chain",
        3,
        "the {x:2} is in the {y:2} . the {y:2} is in the {room} of {P:3} . where is the {x:2} ? "
        "in {A:4} .",
        "spatial",
    ),
    _t(
        "chain",
        3,
        "the {x:2} is in the {y:2} . the {y:2} is in the {z:2} . the {z:2} is in the {room} of "
        "{P:3} . where is the {x:2} ? in {A:4} .",
        "spatial",
    ),
    _t(
        "chains",
        4,
        "the {x0:2} is in the {y0:2} . the {x1:2} is in the {y1:2} . the {y0:2} is in the {room0} "
        "of {P0:3} . the {y1:2} is in the {room1} of {P1:3} . where is the {x:2} ? in {A:4} .",
        "spatial",
    ),
    _t("home", 6, "the {trade} {P:3} comes from {A:4} ."),
    _t(
        "story",
        5,
        f"{{P:3}} was a {{trade}} . {_STORY} at last the {{trade}} went home to {{A:4}} .",
        "lambada",
    ),
    _t(
        "stories",
        4,
        f"{{P0:3}} was a {{trade0}} and {{P1:3}} was a {{trade1}} . {_STORY} at last the {{trade}} "
        "went home to {A:4} .",
        "lambada",
    ),
    _t(
        "story",
        2,
        f"{{P:3}} was a {{trade}} from {{A:4}} . {_STORY} at last the {{trade}} went home to "
        "{A:4} .",
        "lambada",
    ),
    _t("habit", 4, "the {who:3} can {v} the {A:4} ."),
    _t("habit", 4, "a {who:3} lives to {v} the {A:4} ."),
    _t("habit", 2, f"{_QUESTION}", "arc_easy", asked=1),
    _t(
        "habit",
        2,
        "question : the {who:3} can {v} what ? answer : the {A:4} .",
        "arc_easy",
        asked=1,
    ),
    _t("custom", 6, "those of {K:3} can {v} the {A:4} ."),
    _t("passage", 2, "the {who:3} is of {K:3} . " + _QUESTION, "sciq", creatures=1),
    _t(
        "passage",
        3,
        "the {who0:3} is of {K0:3} . the {who1:3} is of {K1:3} . " + _QUESTION,
        "sciq",
        creatures=2,
    ),
    _t(
        "passage",
        3,
        "the {who0:3} is of {K0:3} . the {who1:3} is of {K1:3} . the {who2:3} is of {K2:3} . "
        + _QUESTION,
        "sciq",
        creatures=3,
    ),
    _t("membership", 2, "{P:3} is in the {G:2} guild ."),
    _t("duty", 2, "those in the {G:2} guild must {v} the {A:4} ."),
    _t("member", 2, "{P:3} must {v} the {A:4} .", "openbookqa"),
    _t("member", 1, "in the guild , {P:3} must {v} the {A:4} .", "openbookqa"),
)

_SLOT = re.compile(r"\{(\w+)(?::(\d+))?\}")


def slot(word: str) -> tuple[str, int] | None:
    """Return (name, width) when ``word`` is a slot, else None."""
    match = _SLOT.fullmatch(word)
    return (match[1], int(match[2] or 1)) if match else None


def function_words() -> set[str]:
    """List the words that only the templates bring in."""
    words = {w for t in TEMPLATES for w in t.words if slot(w) is None}
    for text in (*FILLER_OPENING, *FILLER_PLACE):
        words |= set(text.split())
    return words - {w for pool in POOLS.values() for w in pool}
