"""Sample answers to the questions of a file, grade them, and store them in a suite folder.

The folder is a suite of counts: ``load_suite``, ``t2 passk`` and ``t2 fit`` read n and c from it.
Every answer is one line of a file that only grows. A command that is stopped or killed at any
moment goes on from there: no answer is drawn twice, and a larger ``n`` draws what is missing.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from t2lib import _check, _extras
from t2lib.data import io, provenance, samples, store, sums
from t2lib.measure.running.locks import read_lock
from t2lib.measure.running.loop import acquire
from t2lib.measure.running.progress import bar
from t2lib.measure.sampling.endpoints import PREFIX, Endpoint, NoAnswer
from t2lib.measure.sampling.graders import Grade, Grader, Limits, check_reference, make_grader
from t2lib.measure.sampling.questions import Question, fingerprint, read_questions, task_name
from t2lib.measure.suites.specs import content_hash

SUITE = "sampled"  # the suite that records name
GIVE_UP = 8  # questions without an answer, one after the other, before the rest is left
_SEED_STRIDE = 100_003  # between the seeds of two questions: more than samples of one


@dataclass(frozen=True)
class Settings:
    """Say how answers are drawn and graded.

    Attributes
    ----------
    temperature, top_p : of the sampler; temperature 0 takes the most probable token
    max_tokens : most tokens of an answer
    stop : texts before which an answer ends
    grade : as in ``graders.make_grader``
    seed : of the first sample of the first question
    chat : send prompts through the chat template
    template : as in ``questions.read_questions``
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    grade: str = "exact"
    seed: int = 0
    chat: bool = False
    template: str | None = None

    def __post_init__(self) -> None:
        """Refuse settings that no sampler takes."""
        if not 0.0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be at least 0, got {self.temperature!r}.")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p!r}.")
        _check.count("max_tokens", self.max_tokens, 1, 1_000_000)
        _check.count("seed", self.seed, 0, (1 << 31) - 1)

    def options(self) -> dict[str, Any]:
        """Return what a sampler is told."""
        options = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
        }
        return options | ({"stop": list(self.stop)} if self.stop else {})


class Sampler(Protocol):
    """Draw answers to a prompt."""

    def draw(self, prompt: str, n: int, seed: int, options: Mapping[str, Any]) -> list[str]:
        """Return ``n`` answers, or raise ``NoAnswer``."""


@dataclass
class Report:
    """Count what a call did.

    Attributes
    ----------
    task, sample_id : of the stored answers
    n_questions : of the file
    n, c : answers stored, and correct ones, over all calls
    new : answers of this call
    skipped : item → why it got no answer now
    troubles : "timeout", "memory" or "error" of a checker → answers counted incorrect for it
    why : an example of each trouble
    ended : why the rest was left, empty if it was not
    """

    task: str
    sample_id: str
    n_questions: int
    n: int = 0
    c: int = 0
    new: int = 0
    skipped: dict[int, str] = field(default_factory=dict)
    troubles: Counter[str] = field(default_factory=Counter)
    why: dict[str, str] = field(default_factory=dict)
    ended: str = ""

    @property
    def complete(self) -> bool:
        """Whether every question has its answers."""
        return not self.skipped and not self.ended

    def add(self, grade: Grade) -> None:
        """Count one graded answer."""
        self.n, self.c, self.new = self.n + 1, self.c + grade.correct, self.new + 1
        if grade.trouble:
            self.troubles[grade.trouble] += 1
            self.why.setdefault(grade.trouble, grade.why)


def sample(
    source: str,
    tasks: str | PathLike[str],
    out: str | PathLike[str],
    *,
    n: int,
    settings: Settings | None = None,
    model: str | None = None,
    params: float | None = None,
    tokens: float | None = None,
    n_items: int | None = None,
    device: str = "auto",
    parallel: int = 8,
    limits: Limits | None = None,
    endpoint: Mapping[str, Any] | None = None,
    show: bool = True,
) -> Report:
    """Draw ``n`` answers to each question and store which are correct.

    Parameters
    ----------
    source
        ``hf:REPO@REVISION`` or ``hf:/folder`` for a checkpoint, ``openai:URL`` for an endpoint.
    tasks
        JSON lines of questions (``questions.read_questions``); its name is the task's.
    out
        Suite folder; answers go to its ``samples/``.
    model
        Name that an endpoint knows the model by, and that results are stored under.
    params, tokens
        Parameters N and training tokens D, where neither the checkpoint nor its name tells them.
    parallel
        Questions at an endpoint at the same time.
    limits
        Of a Python checker.
    endpoint
        Further settings of ``Endpoint``: timeout, retries, pause.

    Raises
    ------
    ValueError
        Bad settings or questions, a checker that cannot judge, an endpoint that does not answer, or
        a folder whose answers were drawn in another way.
    RuntimeError
        Another process is sampling the same.
    """
    n = _check.count("n", n, 1, _SEED_STRIDE - 1)
    parallel = _check.count("parallel", parallel, 1, 1000)
    if n_items is not None:
        n_items = _check.count("n_items", n_items, 0, None, "0 takes all.")
    settings = settings or Settings()
    if not source.startswith(PREFIX):
        _extras.need("torch", "transformers")
    # Everything that can be refused is refused before a model is loaded.
    file = Path(tasks)
    grader = make_grader(settings.grade, limits)
    questions = read_questions(file, settings.template, n_items)
    for question in questions[:1] if settings.grade.startswith("python:") else questions:
        check_reference(settings.grade.partition(":")[0], grader, question)
    root = Path(out)
    body = _description(source, model, task_name(file), questions, settings)
    _check_same(root, body)
    body |= _sizes(source, params, tokens)
    with _locked(root, body["sample_id"]):
        stored = samples.count_answers(root, body["sample_id"])
        missing = [q for q in questions if stored.get(q.item, (0, 0))[0] < n]
        report = Report(body["task"], body["sample_id"], len(questions))
        report.n = sum(stored_n for stored_n, _ in stored.values())
        report.c = sum(stored_c for _, stored_c in stored.values())
        if not missing:
            _complete_description(root, body)
            _commit(root, body)
            return report
        sampler, workers = _sampler(source, model, settings, device, parallel, endpoint or {})
        body |= _measured_sizes(sampler, body)
        io.write_json(root / samples.FOLDER / f"{body['sample_id']}.json", body)
        jobs = [
            _Job(q, n - stored.get(q.item, (0, 0))[0], stored.get(q.item, (0, 0))[0])
            for q in missing
        ]
        total = sum(job.count for job in jobs)
        with _appending(root, body["sample_id"]) as write, bar(total, "answer", show=show) as shown:
            _work(jobs, sampler, grader, settings, workers, report, write, shown.update)
        _commit(root, body)
    return report


@dataclass(frozen=True)
class _Job:
    """Hold a question, how many answers it lacks, and the number of the first of them."""

    question: Question
    count: int
    first: int


def _work(
    jobs: Sequence[_Job],
    sampler: Sampler,
    grader: Grader,
    settings: Settings,
    workers: int,
    report: Report,
    write: Callable[[Mapping[str, Any]], None],
    update: Callable[[int], Any],
) -> None:
    """Draw, grade and store, some questions at the same time."""

    def draw(job: _Job) -> list[tuple[str, Grade]]:
        seed = (settings.seed + job.question.item * _SEED_STRIDE + job.first) % (1 << 31)
        texts = sampler.draw(job.question.prompt, job.count, seed, settings.options())
        return [(text, grader(text, job.question)) for text in texts]

    queue = list(jobs)
    running: dict[Future[list[tuple[str, Grade]]], _Job] = {}
    failures = 0  # questions without an answer since the last one with
    with ThreadPoolExecutor(workers) as pool:
        try:
            while queue or running:
                while queue and len(running) < workers and failures < GIVE_UP:
                    job = queue.pop(0)
                    running[pool.submit(draw, job)] = job
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    try:
                        answers = future.result()
                    except NoAnswer as error:
                        failures += 1
                        report.skipped[job.question.item] = str(error)
                        continue
                    failures = 0
                    for i, (text, grade) in enumerate(answers):
                        write(_line(job, job.first + i, text, grade))
                        report.add(grade)
                    update(len(answers))
        finally:
            for future in running:
                future.cancel()
    if queue:
        report.ended = (
            f"{GIVE_UP} questions in a row got no answer, {len(queue)} were not asked any more. "
            "The same command goes on from here"
        )


def _line(job: _Job, number: int, text: str, grade: Grade) -> dict[str, Any]:
    """Return what is stored of one answer."""
    body: dict[str, Any] = {
        "item": job.question.item,
        "sample": number,
        "correct": grade.correct,
        "text": text,
    }
    return body | ({"trouble": grade.trouble} if grade.trouble else {})


def _description(
    source: str, model: str | None, task: str, questions: list[Question], settings: Settings
) -> dict[str, Any]:
    """Return what decides the answers, with the id that follows from it."""
    from t2lib.measure.scoring.references import parse_reference

    if source.startswith(PREFIX):
        if not model:
            raise ValueError(
                f"model must name a model that {source} serves, got none. Its /models lists them."
            )
        Endpoint(source.removeprefix(PREFIX), model)  # refuses what is no address
        name, checked = model, {}
    else:
        from t2lib.measure.scoring.identity import identity

        if not source.startswith("hf:"):
            raise ValueError(f"source must be hf:REPO, hf:/folder or openai:URL, got {source!r}.")
        reference = parse_reference(source)
        name = model or str(reference)
        checked = {k: v for k, v in identity(reference, 0).items() if k in ("weights", "tokenizer")}
    body = {
        "model": name,
        "task": task,
        "settings": {**asdict(settings), "stop": list(settings.stop)},
        "questions": fingerprint(questions),
        "checked": checked,
    }
    if settings.grade.startswith("python:"):
        body["checker_sha256"] = io.sha256_file(settings.grade.partition(":")[2])
    described = {"format": 1, "sample_id": content_hash(body), "source": source, **body}
    return described | {"n_questions": len(questions), "provenance": provenance.provenance()}


def _commit(root: Path, body: Mapping[str, Any]) -> None:
    """Write n and c of all tasks of a model as a run of the folder, once N and D are known."""
    descriptions = [d for d in samples.read_descriptions(root) if d["model"] == body["model"]]
    # Counts of every task that has answers.
    frames, tasks = [], {}
    for description in descriptions:
        counts = samples.count_answers(root, description["sample_id"])
        if counts:
            items = sorted(counts)
            n, c = zip(*(counts[item] for item in items), strict=True)
            frames.append(
                pd.DataFrame({"task": description["task"], "item": items, "n": n, "c": c})
            )
            tasks[description["task"]] = {
                "n_items": len(items),
                "questions": description["questions"],
            }
    current = next(d for d in descriptions if d["sample_id"] == body["sample_id"])
    # Without sizes no law can use them: they wait for a later call that names N and D.
    if not frames or current["N"] is None or current["D"] is None:
        return
    keys = ("model", "source", "N", "N_non_embedding", "D", "C_train", "checked", "provenance")
    record = {key: current.get(key) for key in keys} | {
        "format": 1,
        "run_id": content_hash([current["model"], current["checked"]]),
        "suite": SUITE,
        "status": "done",
        "stage": "base",
        "seed": 0,
        "measure": "counts",
        "sampling": current["settings"],
        "score": {"tasks": tasks},
    }
    store.write_run(root, record, pd.concat(frames, ignore_index=True))
    sums.complete_sums(root)


def _complete_description(root: Path, body: Mapping[str, Any]) -> None:
    """Write N and D into a stored description that lacked them or had others."""
    path = root / samples.FOLDER / f"{body['sample_id']}.json"
    stored = io.read_json(path)
    sizes = {key: body[key] for key in ("N", "D", "C_train") if body[key] is not None}
    if any(stored.get(key) != value for key, value in sizes.items()):
        io.write_json(path, stored | sizes)


def _check_same(root: Path, body: Mapping[str, Any]) -> None:
    """Refuse a folder whose answers to this task were drawn or graded in another way."""
    for stored in samples.read_descriptions(root) if samples.has_samples(root) else []:
        if stored["task"] != body["task"] or stored["sample_id"] == body["sample_id"]:
            continue
        same_model = stored["model"] == body["model"]
        keys = ["settings", "questions", "checker_sha256", *(["checked"] if same_model else [])]
        for key in keys:
            if stored.get(key) != body.get(key):
                raise ValueError(
                    f"{root} holds answers of {stored['model']} to {body['task']} with other "
                    f"{key} ({_difference(stored.get(key), body.get(key))}): counts would be mixed "
                    "that do not belong together. Choose another folder with --out."
                )


def _difference(stored: Any, current: Any) -> str:
    """Name the first entry in which two descriptions differ."""
    if isinstance(stored, Mapping) and isinstance(current, Mapping):
        for key in current:
            if stored.get(key) != current[key]:
                return f"{key} = {str(stored.get(key))[:60]}, now {str(current[key])[:60]}"
    return f"{str(stored)[:16]}, now {str(current)[:16]}"


def _sizes(source: str, N: float | None, D: float | None) -> dict[str, Any]:
    """Return parameters and tokens as far as they are known before loading."""
    for name, value in (("params", N), ("tokens", D)):
        if value is not None and not 1 <= value < 1e30:
            raise ValueError(f"{name} must be a positive number, got {value!r}.")
    if D is None and not source.startswith(PREFIX):
        from t2lib.measure.scoring.references import parse_reference

        D = parse_reference(source).tokens
    sizes = {key: None if value is None else int(value) for key, value in (("N", N), ("D", D))}
    return {**sizes, "N_non_embedding": None, "C_train": 6.0 * N * D if N and D else None}


def _measured_sizes(sampler: Any, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a checkpoint that was loaded."""
    model: Any = getattr(sampler, "model", None)
    if not hasattr(model, "N_total"):
        return {}
    N = body["N"] or model.N_total
    active = model.N_active or N
    return {
        "N": N,
        "N_non_embedding": model.N_non_embedding,
        "C_train": 6.0 * active * body["D"] if body["D"] else None,
    }


def _sampler(
    source: str,
    model: str | None,
    settings: Settings,
    device: str,
    parallel: int,
    options: Mapping[str, Any],
) -> tuple[Sampler, int]:
    """Return what draws, and how many questions it takes at a time."""
    if source.startswith(PREFIX):
        server = Endpoint(source.removeprefix(PREFIX), str(model), chat=settings.chat, **options)
        server.check()
        return server, parallel
    from t2lib.measure.sampling.local import LocalModel
    from t2lib.measure.scoring.references import parse_reference

    reference = parse_reference(source)
    return LocalModel(reference, bos=None, device=device, chat=settings.chat), 1


@contextmanager
def _locked(root: Path, sample_id: str) -> Iterator[None]:
    """Let one process at a time sample the same."""
    path = root / "locks" / f"samples-{sample_id}"
    lock = acquire(path, may_break=False, token=None, interval=2.0)
    if lock is None:
        body = read_lock(path) or {}
        raise RuntimeError(
            f"process {body.get('pid')} on {body.get('host')} is sampling the same into {root}. "
            "Wait for it, or choose another folder with --out."
        )
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _appending(root: Path, sample_id: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield what appends lines, after cutting off a half-written last one."""
    path = root / samples.FOLDER / f"{sample_id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        _cut_half_line(file)

        def write(body: Mapping[str, Any]) -> None:
            file.write(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            file.flush()

        yield write
        os.fsync(file.fileno())


def _cut_half_line(file: Any) -> None:
    """Cut a file of lines after its last whole one."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - (1 << 16))
        file.seek(start)
        block = file.read(end - start)
        if b"\n" in block:
            file.truncate(start + block.rindex(b"\n") + 1)
            return
        end = start
    file.truncate(0)
