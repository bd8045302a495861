"""Grade every sample of a log of lm-evaluation-harness as the harness graded the first one.

With ``repeats`` the harness logs all samples of a question but the score of one only (its issues
1232 and 3080). The other samples are graded here by the same rules, which the ``results_*.json``
beside the log states: the steps of the filter (such as a regular expression), then the exact match
with what it ignores. Rules as in lm-evaluation-harness 0.4.13, ``filters/`` and
``api/metrics.py:exact_match_hf_evaluate``.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Step = Callable[[str], str]
_SELECTING = ("take_first", "take_first_k", "majority_vote")  # of samples, not of text
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_REMEMBERED = 100_000  # texts whose answers are kept
_DIGITS = str.maketrans("", "", string.digits)


class UngradableError(ValueError):
    """Report a task whose rules of grading a log does not hold."""


class Grader:
    """Grade samples by one filter of a task.

    Parameters
    ----------
    config : the task's entry under "configs" in results_*.json
    name : name of the filter
    """

    def __init__(self, config: Mapping[str, Any], name: str) -> None:
        if config.get("process_results"):
            raise UngradableError("the task grades with code of its own")
        entries = [e for e in config.get("filter_list") or [] if e.get("name") == name]
        steps = entries[0].get("filter") or [] if entries else []
        functions = [str(step.get("function")) for step in steps]
        self.first_only = "majority_vote" not in functions  # so the logged score is sample 1's
        self._steps = [_step(step) for step in steps if step.get("function") not in _SELECTING]
        metrics = [m for m in config.get("metric_list") or [] if m.get("metric") == "exact_match"]
        options = metrics[0] if metrics else {}
        self._ignored = [re.compile(p) for p in options.get("regexes_to_ignore") or []]
        self._options = options
        self._answers: dict[str, str] = {}  # what a response comes to, by the response
        self._compared: dict[str, str] = {}  # the same by what the filter leaves of it
        self._references: dict[str, list[str]] = {}  # what is correct, by the target

    def describe(self) -> str:
        """Say in words how answers are compared."""
        ignored = [
            key.removeprefix("ignore_")
            for key in ("ignore_case", "ignore_punctuation")
            if self._options.get(key)
        ]
        if self._ignored:
            ignored.append(f"{len(self._ignored)} patterns")
        return "exact match" + (f", ignoring {', '.join(ignored)}" if ignored else "")

    def references(self, target: str) -> list[str]:
        """Return the correct answers that a logged target stands for, as they are compared."""
        references = self._references.get(target)
        if references is not None:
            return references
        targets = [target]
        if target.startswith("[") and target.endswith("]"):
            try:
                value = ast.literal_eval(target)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                value = None
            if isinstance(value, list) and value:
                targets = [str(entry) for entry in value]
        references = [self._comparable(entry) for entry in targets]
        if len(self._references) < _REMEMBERED:
            self._references[target] = references
        return references

    def correct(self, responses: Sequence[str], target: str) -> list[bool]:
        """Return for each response whether its answer equals one of the correct ones."""
        references, answers = self.references(target), self._answers
        return [
            (answers[response] if response in answers else self._answer(response)) in references
            for response in responses
        ]

    def _answer(self, response: str) -> str:
        text = response
        for step in self._steps:
            text = step(text)
        # Responses are long and differ; few different answers come out of them.
        answer = self._compared.get(text)
        if answer is None:
            answer = self._comparable(text)
            if len(self._compared) < _REMEMBERED:
                self._compared[text] = answer
        if len(self._answers) < _REMEMBERED:
            self._answers[response] = answer
        return answer

    def _comparable(self, text: str) -> str:
        """Return text without what the metric ignores."""
        for pattern in self._ignored:
            text = pattern.sub("", text)
        if self._options.get("ignore_case"):
            text = text.lower()
        if self._options.get("ignore_punctuation"):
            text = text.translate(_PUNCTUATION)
        if self._options.get("ignore_numbers"):
            text = text.translate(_DIGITS)
        return text


def _step(entry: Mapping[str, Any]) -> Step:
    """Return the function of one step of a filter."""
    options = {**entry, **(entry.get("kwargs") or {})}
    match options.get("function"):
        case "regex":
            return _regex(options)
        case "remove_whitespace":
            return str.strip
        case "lowercase":
            return str.lower
        case "uppercase":
            return str.upper
        case "map":
            table = dict(options.get("mapping_dict") or {})
            default = options.get("default_value")
            return lambda text: str(table.get(text, default))
        case other:
            raise UngradableError(f"its filter has the step {other!r}, which is not known here")


def _regex(options: Mapping[str, Any]) -> Step:
    pattern = re.compile(options.get("regex_pattern", r"#### (\-?[0-9\.\,]+)"))
    select, fallback = (
        int(options.get("group_select", 0)),
        str(options.get("fallback", "[invalid]")),
    )

    def first(text: str) -> str:
        match = pattern.search(text)
        if match is None:
            return str(fallback)
        groups = match.groups("")
        if len(groups) < 2:
            return str(groups[0] if groups else match[0]).strip()
        return str(next((group for group in groups if group), fallback)).strip()

    def at_place(text: str) -> str:
        matches = pattern.findall(text)
        if not matches:
            return str(fallback)
        match = matches[select] if -len(matches) <= select < len(matches) else fallback
        if isinstance(match, tuple):
            match = next((group for group in match if group), fallback)
        return str(match).strip()

    return first if select == 0 else at_place
