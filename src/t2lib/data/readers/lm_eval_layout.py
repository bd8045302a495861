"""Find what counts in lines of lm-evaluation-harness without parsing the questions and prompts.

Most of a line is the question and its prompts, which are not needed. The keys are looked for from
the line's end: inside a text of JSON no unescaped quote can stand, so a key found is a key.
Lines that are laid out in any other way are left to the parser of whole lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

START = re.compile(rb'\{"doc_id": (\d+), "doc": ')
_PAIR = rb'\["[^"]*", "(?:True|False)"\]'
_LIKELIHOODS = re.compile(
    rb', "filtered_resps": \[(' + _PAIR + rb"(?:, " + _PAIR + rb')*)\], "filter": "([^"]*)", '
    rb'"metrics": \[[^]]*\], "doc_hash": "([^"]*)"'
)
_GRADED = re.compile(
    rb', "filter": "([^"]*)", "metrics": \["exact_match"\], "doc_hash": "([^"]*)", '
    rb'"prompt_hash": "[^"]*", "target_hash": "[^"]*", "exact_match": ([01])\.0\}\n?'
)
_ANSWER = re.compile(rb', "arg_1": ("(?:[^"\\]|\\.)*")\}')
_METRICS = {b"0": {"exact_match": 0.0}, b"1": {"exact_match": 1.0}}
BATCH = 500  # lines whose responses are parsed together: most of the gain, little memory


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Hold the log-probability of the correct answer that one line states."""

    item: int
    filter: str
    question: bytes  # hash of the question
    logp: float
    gold: str | None = None  # text of the correct answer


def likelihood_of(line: bytes, *, gold: bool = False) -> Likelihood | None:
    """Return what a line of likelihoods says, None for any other layout.

    With ``gold`` the text of the correct answer is read, too.
    """
    end = line.rfind(b', "filtered_resps": ')
    match = _LIKELIHOODS.match(line, end) if end > 0 else None
    start = START.match(line)
    if match is None or start is None:
        return None
    responses, name, question = match.groups()
    logps = responses.split(b'"')[1::4]
    place, text = 0, None
    arguments = line.rfind(b', "arguments": ', 0, end) if gold or len(logps) > 1 else 0
    if len(logps) > 1:
        target = line[line.rfind(b', "target": "', 0, arguments) + 13 : arguments - 1]
        if not target.isdigit() or int(target) >= len(logps):
            return None
        place = int(target)
    if gold:
        key = line.find(b'"gen_args_%d": {' % place, arguments, end)
        answer = _ANSWER.match(line, line.find(b', "arg_1": ', key, end)) if key > 0 else None
        if answer is None:
            return None
        text = str(json.loads(answer[1]))
    return Likelihood(int(start[1]), name.decode(), question, float(logps[place]), text)


@dataclass
class Samples:
    """Hold lines of graded samples, to parse the responses of many at once."""

    numbers: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    questions: list[bytes] = field(default_factory=list)  # hash of each question
    metrics: list[dict[str, float]] = field(default_factory=list)  # what the harness logged
    responses: list[bytes] = field(default_factory=list)
    targets: list[bytes] = field(default_factory=list)

    def parsed(self) -> tuple[list[list[str]], list[Any]] | None:
        """Return responses and targets of all lines, None where any is malformed."""
        try:
            responses = json.loads(b"[" + b",".join(self.responses) + b"]")
            targets = json.loads(b"[" + b",".join(self.targets) + b"]")
        except (ValueError, RecursionError):
            return None
        if not len(responses) == len(targets) == len(self.lines):
            return None
        groups = [entry[0] for entry in responses if len(entry) == 1]
        is_text = set(map(type, chain.from_iterable(groups))) <= {str}
        return (groups, targets) if is_text and len(groups) == len(responses) else None

    def add(self, number: int, line: bytes, chosen: str, filters: Sequence[str]) -> bool:
        """Add a line of the chosen filter and pass over those of others that are known.

        False where the line is laid out otherwise, and is to be parsed as a whole.
        """
        tail = line.rfind(b', "filter": "')
        match = _GRADED.fullmatch(line, tail) if tail > 0 else None
        start = START.match(line)
        if match is None or start is None:
            return False
        name = match[1].decode()
        if name != chosen:
            return name in filters
        end = line.rfind(b', "filtered_resps": ', 0, tail)
        responses = line.rfind(b', "resps": [["', 0, end)
        arguments = line.rfind(b', "arguments": ', 0, responses)
        target = line.rfind(b', "target": ', 0, arguments)
        if not 0 < target < arguments < responses < end:
            return False
        self.numbers.append(number)
        self.lines.append(line)
        self.items.append(int(start[1]))
        self.questions.append(match[2])
        self.metrics.append(_METRICS[match[3]])
        self.responses.append(line[responses + 11 : end])
        self.targets.append(line[target + 12 : arguments])
        return True
