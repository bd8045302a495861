"""Read which checkpoints of a family are to be scored, with the training tokens of each.

A family file has the key ``checkpoints``: repositories, their revisions, and D by revision, by a
rule, or told by the name. A CSV file lists single checkpoints.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2lib import _files
from t2lib._check import short_repr
from t2lib.measure.scoring.references import PREFIX, parse_reference
from t2lib.measure.suites.entries import Entries, read_params
from t2lib.names import check_name, locate
from t2lib.units import parse_quantity

STEP = r"step[-_]?(\d+)"  # where a revision's name has its optimiser step
_COLUMNS = {
    "reference": ("reference", "checkpoint", "model"),
    "revision": ("revision",),
    "D": ("D", "tokens"),
    "schedule": ("schedule",),
}
Revisions = Callable[[str], Sequence[str]]  # repository → names of its revisions


@dataclass(frozen=True)
class Checkpoint:
    """Name a checkpoint, its training tokens and the state of its schedule.

    ``D`` is None where it is not known. ``schedule`` is "stable", "annealed" or another word of the
    file; empty where it says nothing.
    """

    reference: str
    D: int | None
    schedule: str = ""


@dataclass(frozen=True)
class Repository:
    """Hold the revisions of one repository and the rule for their tokens.

    Attributes
    ----------
    name : repository, or local folder
    revisions : names, or empty with ``pattern``
    pattern, count : of all revisions whose whole name matches, that many, evenly spaced in log D
    tokens : revision → D, where the file states it
    tokens_per_step, tokens_before : D = tokens_before + step · tokens_per_step, where given
    step : pattern whose group is the step in a revision's name
    schedule : revision → state; under "" that of the others
    """

    name: str
    revisions: tuple[str, ...]
    pattern: str = ""
    count: int = 0
    tokens: Mapping[str, float] = field(default_factory=dict)
    tokens_per_step: float | None = None
    tokens_before: float = 0.0
    step: str = STEP
    schedule: Mapping[str, str] = field(default_factory=dict)

    def checkpoint(self, revision: str) -> Checkpoint:
        """Return a revision with its tokens."""
        reference = f"{PREFIX}{self.name}" + (f"@{revision}" if revision else "")
        state = self.schedule.get(revision, self.schedule.get("", ""))
        return Checkpoint(reference, self._tokens(revision, reference), state)

    def checkpoints(self, list_revisions: Revisions) -> list[Checkpoint]:
        """Return all checkpoints; ``list_revisions`` is asked where there is a pattern."""
        if not self.pattern:
            return [self.checkpoint(revision) for revision in self.revisions]
        names = [r for r in list_revisions(self.name) if re.fullmatch(self.pattern, r)]
        if not names:
            raise ValueError(
                f"{self.name} has no revision whose name matches {self.pattern!r}. Correct the "
                "pattern."
            )
        everything = [self.checkpoint(name) for name in names]
        sized = [(c.D, c) for c in everything if c.D is not None and c.D > 0]
        if not sized:  # the caller says so of each
            return everything
        return _spread([c for _, c in sorted(sized, key=lambda pair: pair[0])], self.count)

    def _tokens(self, revision: str, reference: str) -> int | None:
        """Return D of a revision, None where nothing tells it."""
        if revision in self.tokens:
            return int(self.tokens[revision])
        match = re.search(self.step, revision)
        if self.tokens_per_step is not None and match is not None:
            return int(self.tokens_before + int(match[1]) * self.tokens_per_step)
        return parse_reference(reference).tokens


@dataclass(frozen=True)
class FamilySpec:
    """Describe which checkpoints are scored, and on what."""

    name: str
    repositories: tuple[Repository, ...]
    tasks: tuple[str, ...] | str = "all"
    n_items: int | None = None
    task_data: str | None = None
    bos: bool | None = None

    @classmethod
    def from_yaml(cls, path: str | Path) -> FamilySpec:
        """Read a family file.

        Raises
        ------
        ValueError
            An entry that is unknown, missing or of the wrong kind; the message names it.
        """
        return cls.from_dict(read_params(Path(path)), where=str(path), starts=(Path(path).parent,))

    @classmethod
    def from_dict(
        cls, body: Any, where: str = "family", starts: tuple[Path, ...] = ()
    ) -> FamilySpec:
        """Build a family from the mapping of its file."""
        top = Entries(body, where)
        name = check_name(f"{where}: name", top.text("name"))
        tasks = top.take("tasks", "all")
        if tasks != "all" and not (
            isinstance(tasks, list) and tasks and all(isinstance(t, str) for t in tasks)
        ):
            raise ValueError(
                f"{where}: tasks must be 'all' or a list of names, got {short_repr(tasks)}."
            )
        bos = top.take("bos", None)
        if not isinstance(bos, bool | None):
            raise ValueError(f"{where}: bos must be true or false, got {short_repr(bos)}.")
        data = top.text("task_data", "") or None
        if data is not None:
            data = str(locate(data, starts) or Path(data))
        items = top.take("n_items", None)
        # An entry of ``checkpoints`` may name several repositories.
        repositories = [
            repository
            for i, entry in enumerate(top.sequence("checkpoints"))
            for repository in _repositories(entry, f"{where}: checkpoints[{i}]", starts)
        ]
        spec = cls(
            name=name,
            repositories=tuple(repositories),
            tasks=tasks if tasks == "all" else tuple(tasks),
            n_items=None if items is None else top.integer("n_items", least=0),
            task_data=data,
            bos=bos,
        )
        top.done()
        if not repositories:
            raise ValueError(f"{where}: checkpoints must name at least one repository, got none.")
        return spec


def is_family(path: str | Path) -> bool:
    """Return whether a parameter file lists checkpoints trained elsewhere."""
    body = read_params(Path(path))
    return isinstance(body, Mapping) and "checkpoints" in body


def read_list(path: str | Path) -> list[Checkpoint]:
    """Read checkpoints from a CSV file.

    Columns: reference (hf:REPO@REVISION, or a repository beside a column revision), and D or
    tokens, such as 300B, where the name does not tell; schedule if known.

    Raises
    ------
    ValueError
        Missing columns, or a row that is no checkpoint; the message names its line.
    """
    with _files.open_text(path, _files.SETTINGS) as lines:
        table = list(csv.DictReader(lines))
    header = list(table[0]) if table else []
    columns = {
        key: next((c for c in header if c and c.strip() in names), None)
        for key, names in _COLUMNS.items()
    }
    if columns["reference"] is None:
        raise ValueError(
            f"{path} must have a column reference, and D or tokens, got "
            f"{', '.join(map(str, header)) or 'no row'}."
        )
    # Line 1 is the header.
    checkpoints = []
    for number, row in enumerate(table, start=2):
        values = {k: (row.get(c) or "").strip() if c else "" for k, c in columns.items()}
        label = f"{path}, line {number}"
        name = values["reference"]
        reference = name if name.startswith(PREFIX) else PREFIX + name
        if values["revision"]:
            reference += f"@{values['revision']}"
        try:
            parsed = parse_reference(reference)
            tokens = (
                int(parse_quantity(values["D"], name="D", unit="tokens"))
                if values["D"]
                else parsed.tokens
            )
        except ValueError as error:
            raise ValueError(f"{label}: {error}") from error
        checkpoints.append(Checkpoint(str(parsed), tokens, values["schedule"]))
    return checkpoints


def hub_revisions(repository: str) -> list[str]:
    """List the branches and tags of a repository, or the folders in a local one.

    Raises
    ------
    ValueError
        If the repository cannot be reached.
    """
    if _files.is_folder(repository):
        folders = [path for path in Path(repository).iterdir() if (path / "config.json").is_file()]
        return sorted(path.name for path in folders)
    import huggingface_hub

    try:
        refs = huggingface_hub.list_repo_refs(repository)
    except (OSError, ValueError) as error:  # its own errors are of these
        raise ValueError(
            f"the revisions of {repository} cannot be listed ({error}). Check the name and the "
            "network, or name the revisions in the file."
        ) from error
    return [ref.name for ref in [*refs.branches, *refs.tags]]


def _repositories(body: Any, where: str, starts: tuple[Path, ...]) -> Iterable[Repository]:
    """Read one entry of ``checkpoints``, of one repository or several alike."""
    entry = Entries(body, where)
    names = entry.take("repository")
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise ValueError(
            f"{where}: repository must be a name or a list of names, got {short_repr(names)}."
        )
    revisions, pattern, count, tokens = _revisions(entry, where)
    step = entry.text("step", STEP)
    for text in (pattern, step):
        try:
            groups = re.compile(text).groups
        except re.error as error:
            raise ValueError(f"{where}: {text!r} is no pattern ({error}).") from error
    if groups != 1:
        raise ValueError(f"{where}: step must have one group in brackets, got {step!r}.")
    per_step = entry.take("tokens_per_step", None)
    if per_step is not None:
        per_step = entry.number("tokens_per_step")
        if not per_step > 0:
            raise ValueError(f"{where}: tokens_per_step must be positive, got {per_step:g}.")
    schedule = entry.take("schedule", {})
    schedule = {"": schedule} if isinstance(schedule, str) else schedule
    if not isinstance(schedule, Mapping):
        raise ValueError(
            f"{where}: schedule must be a word or a mapping by revision, got "
            f"{short_repr(schedule)}."
        )
    # What the named repositories share.
    common = Repository(
        name="",
        revisions=revisions,
        pattern=pattern,
        count=count,
        tokens=tokens,
        tokens_per_step=per_step,
        tokens_before=entry.number("tokens_before", 0.0),
        step=step,
        schedule={str(k).replace("others", ""): str(v) for k, v in schedule.items()},
    )
    entry.done()
    for name in names:
        folder = locate(name, starts) if name.startswith((".", "/")) else None
        yield Repository(**{**vars(common), "name": str(folder or name)})


def _revisions(entry: Entries, where: str) -> tuple[tuple[str, ...], str, int, dict[str, float]]:
    """Read revisions, as a list, by their tokens, or as a pattern, and D."""
    value = entry.take("revisions", ["main"])
    tokens: dict[str, float] = {}
    pattern, count = "", 0
    if isinstance(value, Mapping) and "pattern" in value:
        rule = Entries(value, f"{where}: revisions")
        pattern, count = rule.text("pattern"), rule.integer("count", 15, least=1)
        rule.done()
        names: tuple[str, ...] = ()
    elif isinstance(value, Mapping):
        table = Entries(value, f"{where}: revisions")
        tokens = {str(name): table.number(name) for name in value}
        names = tuple(tokens)
    elif isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        names = tuple(value)
    else:
        raise ValueError(
            f"{where}: revisions must be a list of names, a mapping of names to tokens, or "
            f"{{pattern, count}}, got {short_repr(value)}."
        )
    if entry.take("D", None) is not None:
        if len(names) != 1:
            raise ValueError(
                f"{where}: D is for one revision, got {len(names)} of them. Write revisions as a "
                "mapping of names to tokens, or give tokens_per_step."
            )
        tokens[names[0]] = entry.number("D")
    bad = [name for name, D in tokens.items() if not 1 <= D < 1e30]
    if bad:
        raise ValueError(f"{where}: D of {bad[0]} must be positive, got {tokens[bad[0]]:g}.")
    return names, pattern, count, tokens


def _spread(checkpoints: list[Checkpoint], count: int) -> list[Checkpoint]:
    """Choose ``count`` of some checkpoints in order of D, evenly spaced in log D."""
    logs = [math.log(c.D or 1) for c in checkpoints]
    span = logs[-1] - logs[0]
    targets = [logs[0] + span * i / max(count - 1, 1) for i in range(count)]
    indices = {min(range(len(logs)), key=lambda i: abs(logs[i] - target)) for target in targets}
    return [checkpoints[i] for i in sorted(indices)]
