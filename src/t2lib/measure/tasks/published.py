r"""Read the four published tasks as text.

LAMBADA, ARC-Easy, SciQ, OpenBookQA.

Formats of the T² paper (arXiv 2604.01411, appendix on tasks): ARC-Easy "Question: …\nAnswer:",
SciQ the same after its supporting passage, OpenBookQA the bare stem, LAMBADA (OpenAI's variant) a
passage without its last word. Where SciQ has no passage the prompt starts at "Question:".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from t2lib import _extras, _files
from t2lib._files import is_folder
from t2lib.measure.tasks.items import TextItem

PUBLISHED = ("lambada", "arc_easy", "sciq", "openbookqa")
_TEXT_FIELDS = ("prompt", "answer")

Row = Mapping[str, Any]
Loader = Callable[..., Iterable[Row]]


def _load_dataset(*args: Any, **kwargs: Any) -> Iterable[Row]:
    _extras.need("datasets", otherwise="Or give a folder of local JSONL files (--task-data).")
    import datasets

    # What came is fingerprinted, and other items than before are refused by the collector.
    rows: Iterable[Row] = datasets.load_dataset(*args, **kwargs)  # nosec B615
    return rows


def published_items(
    name: str, split: str, path: str | Path | None = None, load: Loader = _load_dataset
) -> list[TextItem]:
    """Read the items of a published task in published order.

    Train items that also occur in test are left out.

    Parameters
    ----------
    name, split : str
        LAMBADA is an evaluation set and has no train split.
    path : path, optional
        Folder with ``<name>_<split>.jsonl`` (fields prompt, answer, and optionally choices, sep);
        without it the sets come from Hugging Face.
    load : callable, optional
        Stands in for ``datasets.load_dataset``.

    Raises
    ------
    ValueError
        No train split, a missing or empty file, or a line that is not an item.
    """
    if name == "lambada" and split == "train":
        raise ValueError(
            "lambada has no train split: OpenAI's variant is an evaluation set of 5,153 passages. "
            "Post-train on arc_easy, sciq or openbookqa, or on a synthetic task."
        )

    def read(which: str) -> list[TextItem]:
        return _local(name, which, Path(path)) if path is not None else _hub(name, which, load)

    check_names([name], path, split)
    items = read(split)
    if split == "train":  # both ARC-Easy and OpenBookQA repeat some test questions in train
        tested = {_plain(item.prompt) for item in read("test")}
        items = [item for item in items if _plain(item.prompt) not in tested]
    return items


def check_names(
    names: Iterable[str], path: str | PathLike[str] | None, split: str = "test"
) -> None:
    """Refuse tasks that are neither published ones nor files in ``path``, before any is read."""
    for name in names:
        if path is not None:
            _file(name, split, Path(path))
        elif name not in _HUB:
            raise ValueError(
                f"names must be of {', '.join(_HUB)}, got {name!r}. For a task of your own give "
                "its folder, too (path, --task-data): it holds NAME_test.jsonl with an object of "
                "prompt and answer on each line."
            )


def _file(name: str, split: str, folder: Path) -> Path:
    if not re.fullmatch(r"[\w.+-]+", name):
        raise ValueError(
            f"names must be of letters, digits, dots, dashes and underscores, got {name!r}: the "
            "file DIR/NAME_test.jsonl is the task NAME."
        )
    file = folder / f"{name}_{split}.jsonl"
    if not is_folder(folder) or not file.exists():
        raise ValueError(
            f"path must be a folder that holds {file.name}, got {str(folder)!r} without it. Put "
            "the file there, or leave it out to load the set from Hugging Face."
        )
    return file


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _local(name: str, split: str, folder: Path) -> list[TextItem]:
    file = _file(name, split, folder)
    items = []
    with _files.open_text(file, _files.TEXT) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                items.append(_item_of_line(line, f"{file}, line {number}"))
    if not items:
        raise ValueError(f"{file} holds no items. Restore it from its source.")
    return items


def _item_of_line(line: str, where: str) -> TextItem:
    row = _files.parse_line(line, where)
    if not isinstance(row, dict) or not all(
        isinstance(row.get(f), str) and row[f].strip() for f in _TEXT_FIELDS
    ):
        raise ValueError(
            f"{where} must be an object with non-empty strings 'prompt' and 'answer', got "
            f"{line.strip()[:80]!r}."
        )
    sep, choices = row.get("sep", " "), row.get("choices", [])
    if not isinstance(sep, str) or not _texts(choices):
        raise ValueError(
            f"{where}: 'sep' must be a string and 'choices' a list of strings where they are "
            f"given, got {sep!r} and {str(choices)[:60]!r}."
        )
    # Whoever names a separator means the prompt as it stands, blanks at its end included.
    prompt = row["prompt"] if "sep" in row else row["prompt"].rstrip()
    return TextItem(prompt, row["answer"], sep, tuple(choices))


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _hub(name: str, split: str, load: Loader) -> list[TextItem]:
    repository, config, convert = _HUB[name]
    return [convert(row) for row in load(repository, config, split=split)]


def _lambada(row: Row) -> TextItem:
    passage = str(row["text"]).rstrip()
    answer = passage.split()[-1]
    passage_start = passage[: -len(answer)]
    prompt = passage_start.rstrip()
    return TextItem(prompt, answer, passage_start[len(prompt) :])


def _choice(row: Row) -> tuple[str, tuple[str, ...]]:
    labels, texts = list(row["choices"]["label"]), tuple(row["choices"]["text"])
    return texts[labels.index(row["answerKey"])], texts


def _arc(row: Row) -> TextItem:
    answer, choices = _choice(row)
    return TextItem(f"Question: {row['question']}\nAnswer:", answer, choices=choices)


def _openbookqa(row: Row) -> TextItem:
    answer, choices = _choice(row)
    return TextItem(str(row["question_stem"]).rstrip(), answer, choices=choices)


def _sciq(row: Row) -> TextItem:
    support = str(row.get("support") or "").strip()
    question = f"Question: {row['question']}\nAnswer:"
    distractors = tuple(str(row[f"distractor{i}"]) for i in (1, 2, 3))
    prompt = f"{support}\n{question}" if support else question
    return TextItem(prompt, row["correct_answer"], choices=(*distractors, row["correct_answer"]))


_HUB: dict[str, tuple[str, str, Callable[[Row], TextItem]]] = {
    "lambada": ("EleutherAI/lambada_openai", "default", _lambada),
    "arc_easy": ("allenai/ai2_arc", "ARC-Easy", _arc),
    "sciq": ("allenai/sciq", "default", _sciq),
    "openbookqa": ("allenai/openbookqa", "main", _openbookqa),
}
