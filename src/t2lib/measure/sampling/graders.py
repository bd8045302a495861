"""Grade sampled answers by text, by number, by a pattern or by a Python checker."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from t2lib.measure.sampling.questions import Question

KINDS = "exact, prefix, numeric, regex:PATTERN or python:FILE"
_CHILD = Path(__file__).with_name("_checker.py")
_LONGEST_NUMBER = 60  # characters
_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?(?:/\d+)?")
_MARKED = re.compile(r"####([^\n]*)")  # how GSM8K marks its answers
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Grade:
    """Hold whether an answer is correct, and what went wrong in grading it.

    ``trouble`` is "timeout", "memory" or "error", with ``why`` in words; such answers count as
    incorrect.
    """

    correct: bool
    trouble: str = ""
    why: str = ""


Grader = Callable[[str, Question], Grade]


@dataclass(frozen=True)
class Limits:
    """Limit one call of a Python checker."""

    seconds: float = 10.0  # of CPU; twice that by the clock
    memory_bytes: int = 2 << 30


def make_grader(kind: str, limits: Limits | None = None) -> Grader:
    """Return the grader that a text names.

    Parameters
    ----------
    kind
        "exact": the whole output is an accepted answer, blanks at both ends aside. "prefix": the
        output begins with one. "numeric": the number behind "####", or else the last number, equals
        the reference's. "regex:PATTERN": the pattern's first group, or its whole match, is an
        accepted answer; it must be found somewhere in the output. "python:FILE": ``check(output,
        item)`` of that file says so, in a process of its own.
    limits
        Of a Python checker.

    Raises
    ------
    ValueError
        Another kind, a pattern that is none, or a missing file.
    """
    name, _, argument = kind.partition(":")
    simple: dict[str, Grader] = {"exact": _exact, "prefix": _prefix, "numeric": _numeric}
    if name in simple and not argument:
        return simple[name]
    if name == "regex" and argument:
        try:
            pattern = re.compile(argument)
        except re.error as error:
            raise ValueError(f"grade must hold a pattern, got {argument!r} ({error}).") from error
        return _Pattern(pattern)
    if name == "python" and argument:
        if not Path(argument).is_file():
            raise ValueError(f"grade must name a Python file that is there, got {argument!r}.")
        return Checker(Path(argument).resolve(), limits or Limits())
    raise ValueError(f"grade must be {KINDS}, got {kind!r}.")


def check_reference(kind: str, grader: Grader, question: Question) -> None:
    """Refuse, before anything is sampled, a grader that cannot judge a question.

    Raises
    ------
    ValueError
        No reference answer, no number in it, or a checker that fails or hangs on it.
    """
    label = f"question {question.item} ({question.prompt.strip()[:60]!r})"
    if isinstance(grader, Checker):
        trial = grader(question.answers[0] if question.answers else "", question)
        if trial.trouble in ("timeout", "memory") or trial.why.startswith("it "):
            raise ValueError(
                f"grade must be a checker that can judge {label}, got {grader.file.name}: "
                f"{trial.why}."
            )
    elif not question.answers:
        raise ValueError(f"{label} must have an answer for grade {kind!r}, got none.")
    elif kind == "numeric" and not any(map(last_number, question.answers)):
        raise ValueError(
            f"{label} must have a number in its answer for grade 'numeric', got "
            f"{question.answers[0][:60]!r}."
        )


def last_number(text: str) -> str | None:
    """Return the number behind the last "####", or else the last number, as written."""
    marked = [_NUMBER.search(part) for part in _MARKED.findall(text)]
    hits = [match[0] for match in marked if match] or _NUMBER.findall(text)
    return hits[-1] if hits else None


def _exact(output: str, question: Question) -> Grade:
    return Grade(output.strip() in {answer.strip() for answer in question.answers})


def _prefix(output: str, question: Question) -> Grade:
    return Grade(output.lstrip().startswith(tuple(a.strip() for a in question.answers)))


def _numeric(output: str, question: Question) -> Grade:
    value = _value(last_number(output))
    references = [_value(last_number(answer)) for answer in question.answers]
    return Grade(value is not None and any(_close(value, r) for r in references if r is not None))


def _value(text: str | None) -> Fraction | None:
    """Return the value of a number as written."""
    if text is None or len(text) > _LONGEST_NUMBER:
        return None
    digits = text.replace(",", "").replace("$", "")
    with contextlib.suppress(ValueError, ZeroDivisionError):
        numerator, _, denominator = digits.partition("/")
        return Fraction(numerator) / Fraction(denominator or 1)
    return None


def _close(value: Fraction, reference: Fraction) -> bool:
    """Tell whether two numbers agree up to rounding."""
    if value == reference:
        return True
    return math.isclose(float(value), float(reference), rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


@dataclass(frozen=True)
class _Pattern:
    """Compare what a pattern finds."""

    pattern: re.Pattern[str]

    def __call__(self, output: str, question: Question) -> Grade:
        """Grade one output."""
        match = self.pattern.search(output)
        if match is None:
            return Grade(False)
        text = match[1] if self.pattern.groups else match[0]
        return Grade((text or "").strip() in {answer.strip() for answer in question.answers})


@dataclass(frozen=True)
class Checker:
    """Ask ``check(output, item)`` of a Python file, in a process of its own each time."""

    file: Path
    limits: Limits

    def __call__(self, output: str, question: Question) -> Grade:
        """Grade one output; what fails or takes too long is incorrect, with its reason."""
        item = {**question.row, "prompt": question.prompt}
        request: dict[str, Any] = {
            "file": str(self.file),
            "output": output,
            "item": item,
            "cpu_s": max(1, math.ceil(self.limits.seconds)),
            "memory_bytes": self.limits.memory_bytes,
        }
        process = subprocess.Popen(
            [sys.executable, "-I", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what it starts is killed with it
            text=True,
            encoding="utf-8",
        )
        try:
            text, _ = process.communicate(json.dumps(request), timeout=2 * self.limits.seconds)
        except subprocess.TimeoutExpired:
            text = ""
        finally:
            _kill_group(process)
        return self._grade(text, process.returncode)

    def _grade(self, text: str, code: int) -> Grade:
        """Read the child's answer."""
        with contextlib.suppress(ValueError, AttributeError):
            answer = json.loads(text)
            if "correct" in answer:
                return Grade(answer["correct"] is True)
            return Grade(False, str(answer.get("trouble", "error")), str(answer.get("why", "")))
        if code in (-signal.SIGKILL, -getattr(signal, "SIGXCPU", 0)):
            return Grade(False, "timeout", f"it takes more than {self.limits.seconds:g} s")
        return Grade(False, "error", f"its process ended with {code}")


def _kill_group(process: subprocess.Popen[str]) -> None:
    """End a process with all that it started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
