"""Read the logs that lm-evaluation-harness writes with ``--log_samples``.

Known forms: those of releases 0.4.0 to 0.4.13, in which all responses are text (``utils.
sanitize_list``), ``arguments`` is a mapping or a list, and every filter has a line per question.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from json.encoder import encode_basestring_ascii as as_json
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib.data._gold import Gold
from t2lib.data.readers.files import (
    inputs,
    parse_line,
    raw_lines_of,
    wrong_line,
)
from t2lib.data.readers.grading import Grader, UngradableError
from t2lib.data.readers.guessing import attach_priors
from t2lib.data.readers.lm_eval_files import find_logs
from t2lib.data.readers.lm_eval_layout import BATCH, START, Samples, likelihood_of
from t2lib.data.readers.logs import Log, check_versions, newest_logs
from t2lib.data.readers.models import Model, Models, with_sizes

if TYPE_CHECKING:
    import pandas as pd

_DECODE = json.JSONDecoder().raw_decode


@dataclass
class _Scores:
    """Hold what the lines of one log say, question by question."""

    filters: list[str]  # all filters of the log
    items: list[int]
    lines: list[int]
    questions: list[bytes]  # hash of each question
    logp: list[float] = field(default_factory=list)
    n: list[int] = field(default_factory=list)
    c: list[int] = field(default_factory=list)
    gold: list[str] = field(default_factory=list)
    chosen: str = ""  # the filter that was read
    grader: Grader | None = None  # None where the log says what is correct


def read_lm_eval(
    path: str | PathLike[str] | Sequence[str | PathLike[str]],
    models: str | PathLike[str] | pd.DataFrame | None = None,
    answers: str | PathLike[str] | Sequence[str] | None = None,
    *,
    tasks: Sequence[str] | str | None = None,
    filter: str | None = None,
) -> pd.DataFrame:
    """Read logs of lm-evaluation-harness into one row per checkpoint, task and question.

    Parameters
    ----------
    path : path or list of paths
        A folder as ``--output_path`` names it, files ``samples_*.jsonl`` in it, or several of
        either. Of several logs of one model and task the newest counts.
    models : path or DataFrame, optional
        Columns model, N (or params) and D (or tokens), one row per checkpoint, values such as
        "1.4B". ``model`` is the model's name as the harness was told it, its last part, its folder,
        or NAME@REVISION. N may be missing where the logs state it (``--model hf``).
    answers : path or list of str, optional
        Training answers of the task, as for ``t2lib.chance``: ``passk_table(…, chance=True)`` then
        knows what guessing reaches.
    tasks : str or list of str, optional
        Keep these tasks.
    filter : str, optional
        Filter whose answers count, where a task has several; by default its first.

    Returns
    -------
    pandas.DataFrame
        Log-likelihood tasks: model, N, D, task, item, logp, the natural log of the probability of
        the correct answer (of several correct ones together). Sampled tasks: model, N, D, task,
        item, n (samples drawn) and c (correct ones). ``attrs["dropped"]`` counts what was left
        out, ``attrs["notes"]`` says in sentences what was chosen.

    Raises
    ------
    ValueError
        No logs, a line that is cut short or not of the harness, logs of two versions of a task or
        of different questions, a model that ``models`` does not hold, both kinds of tasks at once,
        or samples that cannot be graded again.
    """
    import pandas as pd

    table = Models(models)
    notes: list[str] = []
    dropped: dict[str, int] = {}
    logs = newest_logs(find_logs(inputs(path), tasks), table, dropped, notes)
    check_versions(logs)
    # Read file by file; what is common to the logs of a task is compared on the way.
    rows: dict[str, Model] = {}
    frames = []
    checks: dict[str, _Questions] = {}
    choices: dict[str, tuple[str, Path]] = {}
    for (model, task), log in logs.items():
        gold = answers is not None
        scores = _read(log, filter, gold=gold)
        _same_filter(choices, task, scores, log, filter)
        checks.setdefault(task, _Questions(task)).add(scores, log)
        rows[model.name] = Model(
            model.name, model.N or log.N, model.D, model.N_non_embedding, model.seed
        )
        frames.append(_frame(model.name, task, scores, gold=gold))
        _note(scores, task, log, notes)
    kinds = {"logp" if "logp" in frame else "counts" for frame in frames}
    if len(kinds) > 1:
        likely = sorted({str(f["task"].iloc[0]) for f in frames if "logp" in f})
        sampled = sorted({str(f["task"].iloc[0]) for f in frames if "n" in f})
        raise ValueError(
            f"path must hold log-likelihood tasks or sampled tasks, got both: {', '.join(likely)} "
            f"and {', '.join(sampled)}. Choose with tasks={likely!r} (--task {' '.join(likely)})."
        )
    frame = with_sizes(pd.concat(frames, ignore_index=True), table, rows, "the logs")
    if table.unused():
        dropped["models without a log"] = len(table.unused())
        notes.append(f"no log belongs to {', '.join(table.unused()[:4])}")
    frame.attrs |= {
        "kind": kinds.pop(),
        "dropped": dropped,
        "notes": list(dict.fromkeys(notes)),
        "questions": {task: check.digest() for task, check in checks.items()},
        "source": "lm-evaluation-harness",
    }
    # Questions bear the harness's own numbers, so tasks of known names keep their shipped answers.
    if answers is not None:
        return attach_priors(frame, answers)
    # One log of a task is read again for the correct answers, if a suite is to keep them.
    firsts = {task: log for (_, task), log in reversed(logs.items())}
    frame.attrs["gold"] = Gold({t: partial(_gold_of, log, filter) for t, log in firsts.items()})
    return frame


def _gold_of(log: Log, wanted: str | None) -> dict[int, str]:
    """Return the correct answer of each question of a log."""
    scores = _read(log, wanted, gold=True)
    return dict(zip(scores.items, scores.gold, strict=True))


# --- what they say -------------------------------------------------------------------------------


def _read(log: Log, wanted: str | None, *, gold: bool) -> _Scores:
    """Read one log."""
    scores = _Scores([], [], [], [])
    waiting = Samples()
    for number, line in raw_lines_of(log.path):
        # Lines as the harness lays them out are read without their questions and prompts.
        if scores.n:
            if waiting.add(number, line, scores.chosen, scores.filters):
                if len(waiting.lines) == BATCH:
                    waiting = _grade_waiting(scores, log, waiting, wanted, gold=gold)
                continue
        elif _add_likelihood_line(scores, number, line, gold=gold):
            continue
        waiting = _grade_waiting(scores, log, waiting, wanted, gold=gold)
        _add_any_line(scores, log, number, line, wanted, gold=gold)
    _grade_waiting(scores, log, waiting, wanted, gold=gold)
    # What no line alone can tell.
    if not scores.items:
        if wanted is not None and scores.filters:
            raise ValueError(
                f"filter must be one of {', '.join(scores.filters)} for {log.path}, got {wanted!r}."
            )
        raise ValueError(f"{log.path} holds no samples. Run that evaluation again.")
    if scores.logp and scores.n:
        raise ValueError(f"{log.path} mixes likelihoods and samples. Run that evaluation again.")
    _check_logp(scores, log)
    _check_repeats(scores, log)
    return scores


def _add_any_line(
    scores: _Scores, log: Log, number: int, line: bytes, wanted: str | None, *, gold: bool
) -> None:
    """Add a line of any layout."""
    entry = _entry(log.path, number, line)
    name = str(entry.get("filter", "none"))
    if name not in scores.filters:
        scores.filters.append(name)
    if not scores.chosen and wanted in (None, name):
        scores.chosen = name
    if name != scores.chosen:
        return
    # A line of the filter that counts: its question, and its responses.
    _add_question(scores, entry["doc_id"], number, str(entry["doc_hash"]).encode())
    first = entry["resps"][0] if entry["resps"] else None
    if isinstance(first, list) and set(map(type, first)) == {str}:
        _add_samples(scores, log, number, first, str(entry["target"]), entry, gold=gold)
    elif _is_likelihood(first):
        _add_likelihood(scores, log, number, entry, gold=gold)
    else:
        wrong_line(
            log.path,
            number,
            "hold responses of the harness under 'resps'",
            str(entry["resps"]),
            "Name the samples_*.jsonl of lm-evaluation-harness.",
        )


def _add_question(scores: _Scores, item: int, number: int, question: bytes) -> None:
    """Note which question a line is about."""
    scores.items.append(item)
    scores.lines.append(number)
    scores.questions.append(question)


def _add_likelihood_line(scores: _Scores, number: int, line: bytes, *, gold: bool) -> bool:
    """Add a line of likelihoods that is laid out as the harness does it; False for any other."""
    entry = likelihood_of(line, gold=gold)
    if entry is None:
        return False
    if not scores.chosen and not scores.filters:
        scores.filters.append(entry.filter)
        scores.chosen = entry.filter
    if entry.filter != scores.chosen:
        return False
    _add_question(scores, entry.item, number, entry.question)
    scores.logp.append(entry.logp)
    if entry.gold is not None:
        scores.gold.append(entry.gold)
    return True


def _grade_waiting(
    scores: _Scores, log: Log, waiting: Samples, wanted: str | None, *, gold: bool
) -> Samples:
    """Grade the lines that wait, and return an empty batch for the next."""
    parsed = waiting.parsed()
    if parsed is None:  # one of them is malformed: line by line it is found
        for number, line in zip(waiting.numbers, waiting.lines, strict=True):
            _add_any_line(scores, log, number, line, wanted, gold=gold)
        return Samples()
    scores.items += waiting.items
    scores.lines += waiting.numbers
    scores.questions += waiting.questions
    rows = zip(waiting.numbers, *parsed, waiting.metrics, strict=True)
    for number, responses, target, metrics in rows:
        _add_samples(scores, log, number, responses, str(target), metrics, gold=gold)
    return Samples()


def _entry(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Return the entries of a line that count.

    Questions and prompts are skipped, and parsed only where a line is laid out otherwise.
    """
    # In the layout that the harness writes, only the end of the line is parsed.
    start = START.match(line)
    responses = line.rfind(b', "resps": ')
    arguments = line.rfind(b', "arguments": ', 0, responses)
    target = line.rfind(b', "target": ', 0, arguments)
    if start is not None and target > 0:
        try:
            text = "{" + line[responses + 2 :].decode()
            entry: dict[str, Any]
            entry, end = _DECODE(text)
            entry["target"] = json.loads(line[target + 12 : arguments])
        except ValueError:
            end = 0
        if end and text[end:].strip() == "":
            entry["doc_id"] = int(start[1])
            entry["line"] = line
            if "doc_hash" not in entry:
                entry["doc_hash"] = line[start.end() : target]
            return entry
    entry = parse_line(path, number, line)
    lacking = [key for key in ("doc_id", "target", "resps") if key not in entry]
    if lacking:
        wrong_line(
            path,
            number,
            f"have the key {lacking[0]!r} of a log of lm-evaluation-harness",
            line,
            "Name files samples_*.jsonl that lm_eval --log_samples wrote.",
        )
    if not isinstance(entry["resps"], list) or not isinstance(entry["doc_id"], int):
        wrong_line(path, number, "have a list 'resps' and a number 'doc_id'", line, "Run it again.")
    entry.setdefault("doc_hash", json.dumps(entry.get("doc"), sort_keys=True))
    entry["line"] = line
    return entry


def _is_likelihood(first: Any) -> bool:
    """Return whether a response is [[log-likelihood, greedy]], as text or as numbers."""
    pair = first[0] if isinstance(first, list) and first and isinstance(first[0], list) else None
    return pair is not None and len(pair) == 2 and str(pair[1]) in ("True", "False", "0", "1")


def _add_likelihood(
    scores: _Scores, log: Log, number: int, entry: dict[str, Any], *, gold: bool
) -> None:
    """Add the log-probability of the correct answer of one line."""
    try:
        logps = [float(response[0][0]) for response in entry["resps"]]
    except (ValueError, TypeError, IndexError):
        wrong_line(
            log.path,
            number,
            "have a log-likelihood for every choice",
            str(entry["resps"]),
            "Run that evaluation again.",
        )
    right = [0] if len(logps) == 1 else _right_choices(log, number, entry, logps)
    value = float(np.logaddexp.reduce([logps[i] for i in right]))
    scores.logp.append(value)
    if gold:
        choices = _continuations(entry)
        scores.gold.append(choices[right[0]] if len(choices) > right[0] else str(entry["target"]))


def _right_choices(
    log: Log, number: int, entry: dict[str, Any], logps: Sequence[float]
) -> list[int]:
    """Return the places of the correct choices, which the target states in one of several ways."""
    target = entry["target"]
    try:
        value = json.loads(target) if isinstance(target, str) else target
    except ValueError:
        value = target
    places = value if isinstance(value, list) else [value]
    if places and all(isinstance(p, int) and 0 <= p < len(logps) for p in places):
        return list(dict.fromkeys(places))
    choices = [choice.strip() for choice in _continuations(entry)]
    if str(target).strip() in choices and len(set(choices)) == len(choices):
        return [choices.index(str(target).strip())]
    # Of two choices (Winogrande) the score says which one is correct.
    if len(logps) == 2 and entry.get("acc") in (0, 1, 0.0, 1.0):
        best = int(np.argmax(logps))
        return [best if entry["acc"] else 1 - best]
    wrong_line(
        log.path,
        number,
        "say under 'target' which choice is correct",
        str(target),
        "A target is the place of a choice, counted from 0, or its text: give n and c of such a "
        "task with t2.read_counts.",
    )


def _continuations(entry: dict[str, Any]) -> list[str]:
    """Return the texts whose likelihood was measured, from either form of ``arguments``."""
    arguments = entry.get("arguments")
    if arguments is None:
        arguments = json.loads(entry["line"]).get("arguments")
    pairs = arguments.values() if isinstance(arguments, Mapping) else arguments or []
    pairs = [list(pair.values()) if isinstance(pair, Mapping) else pair for pair in pairs]
    return [str(pair[1]) for pair in pairs if isinstance(pair, list) and len(pair) > 1]


def _grader(log: Log, name: str) -> Grader:
    """Return what grades the samples of a log again."""
    if not log.config:
        raise ValueError(
            f"{log.path} holds several samples a question, of which the log scores one only. Keep "
            "the results_*.json of the same run beside it: it says how answers are compared."
        )
    try:
        return Grader(log.config, name)
    except UngradableError as error:
        raise ValueError(
            f"{log.path}: the samples of task {log.task!r} cannot be graded again, since {error}. "
            "Count the correct ones with the task's own code and read n and c with t2.read_counts."
        ) from None


def _counted(entry: Mapping[str, Any], n: int) -> int | None:
    """Return c where the log itself states it for n samples, as pass@1 or for one sample."""
    for metric in ("pass@1", "pass_at_1"):
        value = entry.get(metric)
        if isinstance(value, int | float) and abs(value * n - round(value * n)) < 1e-6:
            return round(value * n)
    if n == 1:
        for metric in ("exact_match", "acc", "prompt_level_strict_acc", "em"):
            value = entry.get(metric)
            if isinstance(value, int | float) and value in (0, 1):
                return int(value)
    return None


def _add_samples(
    scores: _Scores,
    log: Log,
    number: int,
    responses: list[str],
    target: str,
    metrics: Mapping[str, Any],
    *,
    gold: bool,
) -> None:
    """Add n and c of one line."""
    n = len(responses)
    c = _counted(metrics, n)
    if c is None:
        if scores.grader is None:
            scores.grader = _grader(log, scores.chosen)
        correct = scores.grader.correct(responses, target)
        c = sum(correct)
        # The harness graded the first sample: our rules must agree with it.
        logged = metrics.get("exact_match")
        if scores.grader.first_only and logged in (0, 1) and bool(logged) != correct[0]:
            wrong_line(
                log.path,
                number,
                f"grade as the harness did ({'correct' if logged else 'wrong'} for sample 1)",
                responses[0],
                "The rules in results_*.json are not those of this log: keep both of one run, or "
                "count with the task's own code and read n and c with t2.read_counts.",
            )
    scores.n.append(n)
    scores.c.append(c)
    if gold:
        grader = scores.grader
        scores.gold.append(target if grader is None else grader.references(target)[0])


def _check_logp(scores: _Scores, log: Log) -> None:
    """Refuse likelihoods that are not finite or above 1, and take rounding above 1 as 1."""
    values = np.array(scores.logp)
    bad = ~((values <= 1e-4) & np.isfinite(values))
    if bad.any():
        position = int(np.flatnonzero(bad)[0])
        wrong_line(
            log.path,
            scores.lines[position],
            "have a finite log-likelihood ≤ 0 of the correct answer",
            f"{values[position]:g}",
            "Score that question again, or leave it out of every log.",
        )
    scores.logp = np.minimum(values, 0.0).tolist()


def _check_repeats(scores: _Scores, log: Log) -> None:
    """Refuse a log in which a question stands twice."""
    if len(set(scores.items)) == len(scores.items):
        return
    first: dict[int, int] = {}
    for item, line in zip(scores.items, scores.lines, strict=True):
        if item in first:
            raise ValueError(
                f"{log.path}, line {line} must be a question that no line above holds, got doc_id "
                f"{item}, which stands on line {first[item]}. Two runs were written into one file: "
                "delete the older lines."
            )
        first[item] = line


class _Questions:
    """Compare the questions of a task between logs."""

    def __init__(self, task: str) -> None:
        self._task = task
        self._first: tuple[list[int], list[bytes]] = ([], [])
        self._known: dict[int, bytes] = {}
        self._paths: dict[int, Path] = {}  # of the log that asked it first

    def add(self, scores: _Scores, log: Log) -> None:
        """Refuse a log that asks another question under a number that an earlier one used."""
        if self._first == (scores.items, scores.questions):
            return
        if not self._known:
            self._first = (scores.items, scores.questions)
            self._known = dict(zip(*self._first, strict=True))
            self._paths = dict.fromkeys(scores.items, log.path)
            return
        for item, question, line in zip(scores.items, scores.questions, scores.lines, strict=True):
            first = self._known.setdefault(item, question)
            path = self._paths.setdefault(item, log.path)
            if first != question:
                raise ValueError(
                    f"{log.path}, line {line} must ask the same question {item} of task "
                    f"{self._task!r} as {path}, got another one. The task's data changed between "
                    "the two runs: evaluate one of the models again."
                )

    def digest(self) -> str:
        """Return a hash of all questions."""
        rows = (f"[{i}, {as_json(self._known[i].decode())}]" for i in sorted(self._known))
        return hashlib.sha256(f"[{', '.join(rows)}]".encode()).hexdigest()


def _same_filter(
    choices: dict[str, tuple[str, Path]], task: str, scores: _Scores, log: Log, wanted: str | None
) -> None:
    """Refuse logs of a task whose first filters differ."""
    first, path = choices.setdefault(task, (scores.chosen, log.path))
    if first != scores.chosen:
        raise ValueError(
            f"path must hold one filter of task {task!r}, got {first!r} in {path} and "
            f"{scores.chosen!r} in {log.path} (it has {', '.join(scores.filters)}). Choose one "
            "that all have with filter= (--filter)."
        )


def _note(scores: _Scores, task: str, log: Log, notes: list[str]) -> None:
    """Say which filter was read and how samples were graded."""
    if len(scores.filters) > 1:
        unread = ", ".join(name for name in scores.filters if name != scores.chosen)
        notes.append(f"{task}: filter {scores.chosen} counts (there is also {unread})")
    if scores.grader is not None:
        notes.append(
            f"{task}: all samples graded again by the filter {scores.chosen} and "
            f"{scores.grader.describe()}; "
            "sample 1 of every question comes out as the harness logged it"
        )


def _frame(model: str, task: str, scores: _Scores, *, gold: bool) -> pd.DataFrame:
    """Return the rows of one log."""
    import pandas as pd

    columns: dict[str, Any] = {
        "model": model,
        "task": task,
        "item": np.array(scores.items, dtype=np.int64),
    }
    if scores.logp:
        columns["logp"] = np.array(scores.logp)
    else:
        columns["n"] = np.array(scores.n, dtype=np.int64)
        columns["c"] = np.array(scores.c, dtype=np.int64)
    if gold:
        columns["gold"] = scores.gold
    return pd.DataFrame(columns)
