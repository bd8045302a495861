"""Read questions with reference answers from JSON lines."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2lib import _files
from t2lib.measure.suites.specs import canonical_json
from t2lib.names import check_name

TEMPLATE = "Question: {question}\nAnswer:"  # for files that have a question and no prompt


@dataclass(frozen=True)
class Question:
    """Hold a prompt, the accepted answers, and the line that both come from."""

    item: int
    prompt: str
    answers: tuple[str, ...]
    row: Mapping[str, Any]


def task_name(path: str | Path) -> str:
    """Return the name of the task in a file, without ``_test``."""
    return check_name("tasks", Path(path).stem.removesuffix("_test"))


def read_questions(
    path: str | Path, template: str | None = None, n_items: int | None = None
) -> list[Question]:
    r"""Read a file of questions, one JSON object a line.

    Parameters
    ----------
    path
        Each line has ``prompt``, or ``question``, and usually ``answer``: text, or a list of all
        accepted texts. Other fields go to a Python checker and into the template.
    template
        Prompt with fields in braces, such as ``"Question: {question}\nAnswer:"``.
    n_items
        The first so many; None or 0 for all.

    Raises
    ------
    ValueError
        A line that is no question, or a field of the template that it lacks.
    FileNotFoundError
        No such file.
    """
    questions: list[Question] = []
    with _files.open_text(path, _files.TEXT) as lines:
        for number, line in enumerate(lines, start=1):
            if n_items and len(questions) >= n_items:
                break
            if line.strip():
                label = f"{path}, line {number}"
                questions.append(_question(line, label, len(questions), template))
    if not questions:
        raise ValueError(f"{path} holds no questions. Give a file with one JSON object a line.")
    return questions


def fingerprint(questions: list[Question]) -> str:
    """Hash prompts and accepted answers."""
    texts = [[q.prompt, *q.answers] for q in questions]
    return hashlib.sha256(canonical_json(texts).encode()).hexdigest()


def _question(line: str, label: str, item: int, template: str | None) -> Question:
    """Read one line."""
    row = _files.parse_line(line, label)
    if not isinstance(row, dict):
        raise ValueError(f"{label} must be an object, got {line.strip()[:60]!r}.")
    pattern = template
    if pattern is None:
        pattern = "{prompt}" if "prompt" in row else TEMPLATE

    def field(match: re.Match[str]) -> str:
        value = row.get(match[1])
        if not isinstance(value, str):
            raise ValueError(
                f"{label} must have the text {match[1]!r}, which the prompt needs, got the fields "
                f"{', '.join(map(str, row))[:200]}. Name its fields with --template."
            )
        return value

    prompt = re.sub(r"\{(\w+)\}", field, pattern)
    answers = row.get("answer", [])
    answers = [answers] if isinstance(answers, str | int | float) else answers
    if not prompt.strip() or not isinstance(answers, list):
        raise ValueError(
            f"{label} must have a prompt, and an answer that is text or a list of texts, got "
            f"{line.strip()[:80]!r}."
        )
    return Question(item, prompt, tuple(str(answer) for answer in answers), row)
