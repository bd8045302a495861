"""Sampled answers: graded by every kind, stored once, resumed; what fails is said and skipped."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t2lib import cli
from t2lib.data import samples
from t2lib.data.tables import passk_table_from_counts
from t2lib.measure.sampling.graders import Limits, last_number, make_grader
from t2lib.measure.sampling.questions import Question, read_questions
from t2lib.measure.sampling.sample import GIVE_UP, Settings, sample

QUICK = {"pause": 0.001, "retries": 1, "timeout": 5.0}


class Server(ThreadingHTTPServer):
    """An endpoint on the loopback device whose answers a function of the request gives."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], str] = lambda body: "7"
        self.most = 1000  # answers in one reply
        self.trouble: Callable[[dict[str, Any]], tuple[int, bytes] | None] = lambda body: None
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def source(self) -> str:
        return f"openai:http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body | {"path": self.path})
        trouble = self.server.trouble(body)
        if trouble is not None:
            code, content = trouble
        else:
            count = min(body["n"], self.server.most)
            texts = [self.server.answer(body | {"index": i}) for i in range(count)]
            if self.path.endswith("/chat/completions"):
                choices = [{"message": {"content": text}} for text in texts]
            else:
                choices = [{"text": text} for text in texts]
            code, content = 200, json.dumps({"choices": choices}).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    instance = Server()
    yield instance
    instance.shutdown()
    instance.server_close()


def questions_file(folder: Path, n: int = 6, name: str = "sums_test.jsonl") -> Path:
    path = folder / name
    rows = [{"prompt": f"Question: 3 + {i} =", "answer": str(3 + i)} for i in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def draw(server: Server, tasks: Path, out: Path, n: int = 4, **options: Any) -> Any:
    settings = options.pop("settings", Settings(grade="numeric"))
    defaults = {"model": "m", "params": 1e9, "tokens": 1e12, "endpoint": QUICK, "show": False}
    return sample(server.source, tasks, out, n=n, settings=settings, **(defaults | options))


# ---------------------------------------------------------------- endpoints


def test_counts_of_an_endpoint_make_a_table(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body: "so 7" if body["index"] % 2 else "it is 3 + 4 = 7."
    report = draw(server, questions_file(tmp_path), tmp_path / "suite")
    assert (report.n, report.c, report.complete) == (24, 4, True)
    counts = samples.load_samples(tmp_path / "suite")
    assert counts["n"].tolist() == [4] * 6
    assert counts["c"].tolist() == [0, 0, 0, 0, 4, 0]
    assert (counts[["N", "D", "C_train"]].iloc[0] == [1e9, 1e12, 6e21]).all()
    table = passk_table_from_counts(counts, [1, 4])
    assert table["accuracy"].tolist() == pytest.approx([1 / 6, 1 / 6])
    asked = server.requests[-1]
    assert (asked["temperature"], asked["top_p"], asked["max_tokens"]) == (1.0, 1.0, 256)
    assert asked["path"] == "/v1/completions"


def test_a_server_with_one_answer_a_reply_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.most = 1
    report = draw(server, questions_file(tmp_path, 1), tmp_path / "suite")
    assert report.n == 4
    assert len({body["seed"] for body in server.requests[1:]}) == 4


def test_chat_sends_messages(server: Server, tmp_path: Path) -> None:
    settings = Settings(grade="numeric", chat=True, stop=("\n\n",))
    draw(server, questions_file(tmp_path, 1), tmp_path / "suite", settings=settings)
    asked = server.requests[-1]
    assert asked["messages"] == [{"role": "user", "content": "Question: 3 + 0 ="}]
    assert asked["stop"] == ["\n\n"]
    assert asked["path"] == "/v1/chat/completions"


def test_nothing_is_sampled_twice(server: Server, tmp_path: Path) -> None:
    tasks = questions_file(tmp_path)
    draw(server, tasks, tmp_path / "suite")
    count = len(server.requests)
    assert draw(server, tasks, tmp_path / "suite").new == 0
    assert len(server.requests) == count  # not even the first look
    report = draw(server, tasks, tmp_path / "suite", n=6)
    assert (report.new, report.n) == (12, 36)
    assert all(body["n"] == 2 for body in server.requests[count + 1 :])


def test_a_half_written_line_is_drawn_again(server: Server, tmp_path: Path) -> None:
    tasks = questions_file(tmp_path)
    draw(server, tasks, tmp_path / "suite")
    (path,) = (tmp_path / "suite" / "samples").glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-5])
    assert samples.load_samples(tmp_path / "suite")["n"].sum() == 23
    assert draw(server, tasks, tmp_path / "suite").new == 1
    assert samples.load_samples(tmp_path / "suite")["n"].tolist() == [4] * 6


def test_a_question_that_fails_is_said_and_the_rest_goes_on(server: Server, tmp_path: Path) -> None:
    tasks = questions_file(tmp_path)
    server.trouble = lambda body: (500, b"oh") if "+ 2 =" in body["prompt"] else None
    report = draw(server, tasks, tmp_path / "suite")
    assert list(report.skipped) == [2]
    assert "status 500 (oh), after 2 tries" in report.skipped[2]
    assert report.n == 20
    server.trouble = lambda body: None
    assert draw(server, tasks, tmp_path / "suite").new == 4


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ((200, b"<html>"), "its reply is no completion"),
        ((200, b'{"choices": [{"logprobs": 1}]}'), "there is no text in"),
        ((200, b'{"choices": []}'), "there are no choices in"),
        ((400, b"too long"), "refuses the request for model 'm': status 400 (too long)"),
    ],
)
def test_rubbish_skips_the_question(
    server: Server, tmp_path: Path, trouble: tuple[int, bytes], reason: str
) -> None:
    server.trouble = lambda body: trouble if "+ 1 =" in body.get("prompt", "") else None
    report = draw(server, questions_file(tmp_path, 3), tmp_path / "suite")
    assert reason in report.skipped[1]
    assert report.n == 8


def test_an_endpoint_that_goes_away_ends_the_work(server: Server, tmp_path: Path) -> None:
    tasks = questions_file(tmp_path, 40)
    server.trouble = lambda body: (503, b"") if "Question" in body["prompt"] else None
    report = draw(server, tasks, tmp_path / "suite", parallel=2)
    assert "were not asked any more. The same command goes on" in report.ended
    assert GIVE_UP <= len(report.skipped) <= GIVE_UP + 2
    server.trouble = lambda body: None
    assert draw(server, tasks, tmp_path / "suite").n == 160


def test_an_endpoint_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="source must be an endpoint that answers"):
        sample(
            "openai:http://127.0.0.1:9/v1", questions_file(tmp_path), tmp_path / "suite",
            n=1, model="m", endpoint=QUICK, settings=Settings(grade="numeric"), show=False,
        )  # fmt: skip
    assert not samples.has_samples(tmp_path / "suite")


def test_other_settings_in_one_folder_are_refused(server: Server, tmp_path: Path) -> None:
    tasks = questions_file(tmp_path)
    draw(server, tasks, tmp_path / "suite")
    hot = Settings(grade="numeric", temperature=1.5)
    with pytest.raises(ValueError, match=r"temperature = 1.0, now 1.5.*Choose another folder"):
        draw(server, tasks, tmp_path / "suite", settings=hot)
    with pytest.raises(ValueError, match="with other questions"):
        draw(server, questions_file(tmp_path, 5), tmp_path / "suite", model="other")
    questions_file(tmp_path)  # the old ones again
    draw(server, tasks, tmp_path / "suite", model="other", tokens=2e12)
    assert samples.load_samples(tmp_path / "suite")["model"].unique().tolist() == ["m", "other"]


def test_two_processes_do_not_sample_the_same(server: Server, tmp_path: Path) -> None:
    tasks = questions_file(tmp_path)
    refused: list[str] = []

    def second() -> None:
        try:
            draw(server, tasks, tmp_path / "suite")
        except RuntimeError as error:
            refused.append(str(error))

    def answer(body: dict[str, Any]) -> str:
        if not refused:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()
        return "7"

    server.answer = answer
    draw(server, tasks, tmp_path / "suite", parallel=1)
    assert "is sampling the same into" in refused[0]


# ---------------------------------------------------------------- graders


def grade(kind: str, output: str, *answers: str, **row: Any) -> bool:
    question = Question(0, "p", answers, {"answer": list(answers), **row})
    return make_grader(kind, Limits(5.0, 2 << 30))(output, question).correct


def test_texts_and_numbers_and_patterns() -> None:
    assert grade("exact", " Paris\n", "Paris")
    assert not grade("exact", "Paris, France", "Paris")
    assert grade("prefix", " Paris, France", "Paris")
    assert grade("numeric", "So 12 + 6 = 18 eggs.\n#### 18", "He has 18. #### 18")
    assert grade("numeric", "The answer is $1,800.00.", "1800")
    assert grade("numeric", "= 0.5", "1/2")
    assert not grade("numeric", "I had 18, then 19", "18")
    assert not grade("numeric", "none", "18")
    assert not grade("numeric", "1/0", "18")
    assert grade("regex:answer is \\((\\w)\\)", "the answer is (C).", "C")
    assert not grade("regex:answer is \\((\\w)\\)", "C", "C")
    assert last_number("a 1 b -2,500.5") == "-2,500.5"


@pytest.fixture
def checker(tmp_path: Path) -> Path:
    path = tmp_path / "check.py"
    path.write_text(
        "import time\n"
        "def check(output, item):\n"
        "    print('noise')\n"
        "    if 'sleep' in output: time.sleep(60)\n"
        "    if 'spin' in output:\n"
        "        while True: pass\n"
        "    if 'eat' in output: return len(bytearray(1 << 34))\n"
        "    if 'exit' in output: raise SystemExit(0)\n"
        "    if 'die' in output:\n"
        "        import os; os._exit(3)\n"
        "    return output.strip() == item['answer']\n"
    )
    return path


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and CPU time")


@pytest.mark.parametrize(
    ("output", "trouble"),
    [
        ("7", ""),
        ("8", ""),
        ("sleep", "timeout"),
        pytest.param("spin", "timeout", marks=LINUX),
        pytest.param("eat", "memory", marks=LINUX),
        ("exit", "error"),
        ("die", "error"),
    ],
)
def test_a_checker_runs_with_limits(checker: Path, output: str, trouble: str) -> None:
    grader = make_grader(f"python:{checker}", Limits(0.5, 1 << 30))
    start = time.monotonic()
    verdict = grader(output, Question(0, "p", ("7",), {"answer": "7"}))
    assert verdict.correct == (output == "7")
    assert verdict.trouble == trouble
    assert time.monotonic() - start < 8


def test_a_checker_that_hangs_is_counted_and_the_rest_goes_on(
    server: Server, tmp_path: Path, checker: Path
) -> None:
    server.answer = lambda body: "sleep" if body["index"] == 0 else "3"
    settings = Settings(grade=f"python:{checker}")
    report = draw(
        server, questions_file(tmp_path, 2), tmp_path / "suite", n=2, settings=settings,
        limits=Limits(0.2, 1 << 30),
    )  # fmt: skip
    assert (report.n, report.c) == (4, 1)
    assert report.troubles == {"timeout": 2}


def test_a_checker_without_check_is_refused_before_sampling(tmp_path: Path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("")
    with pytest.raises(ValueError, match="it defines no function check"):
        sample(
            "openai:http://127.0.0.1:9/v1", questions_file(tmp_path), tmp_path / "suite",
            n=1, model="m", settings=Settings(grade=f"python:{path}"),
        )  # fmt: skip


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("equal", "grade must be exact, prefix, numeric, regex:PATTERN or python:FILE"),
        ("regex:(", "grade must hold a pattern"),
        ("python:none.py", "grade must name a Python file"),
        ("numeric:3", "grade must be exact"),
    ],
)
def test_bad_graders_are_refused(kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        make_grader(kind)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is not JSON"),
        ("[]", "line 1 must be an object"),
        ('{"answer": "3"}', "must have the text 'question'"),
        ('{"prompt": " ", "answer": "3"}', "must have a prompt"),
        ("", "holds no questions"),
    ],
)
def test_bad_questions_are_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        read_questions(path)


def test_templates_fill_fields(tmp_path: Path) -> None:
    path = tmp_path / "gsm8k_test.jsonl"
    path.write_text(json.dumps({"question": "How many?", "answer": "2+1 #### 3"}) + "\n")
    assert read_questions(path)[0].prompt == "Question: How many?\nAnswer:"
    assert read_questions(path, "Q: {question}")[0].prompt == "Q: How many?"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be at least 0"),
        ({"top_p": 0.0}, "top_p must be in"),
        ({"max_tokens": 0}, "max_tokens must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**options)


# ---------------------------------------------------------------- command line


def test_the_command_line(server: Server, tmp_path: Path, capsys: Any) -> None:
    tasks, out = questions_file(tmp_path), tmp_path / "suite"
    words = ["sample", server.source, "--tasks", str(tasks), "--out", str(out), "--n", "4"]
    words += ["--grade", "numeric", "--temperature", "0.8", "--params", "8B", "--tokens", "15T"]
    assert cli.main(words) == 2  # no --model
    assert "--model must name a model" in capsys.readouterr().err
    assert cli.main([*words, "--model", "m"]) == 0
    assert "24 answers to 6 questions, 4 correct" in capsys.readouterr().out
    assert cli.main([*words, "--model", "m", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["new"] == 0
    assert samples.load_samples(out)["N"].unique().tolist() == [8e9]
    server.trouble = lambda body: (400, b"") if "Question" in body["prompt"] else None
    assert cli.main([*words, "--model", "n", "--retries", "0"]) == 1
    assert "question 0 got no answer" in capsys.readouterr().err


# ---------------------------------------------------------------- a tiny checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from t2lib.measure.corpus.bpe import END_OF_TEXT, train_bpe

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("model")
    words = "Question: 3 + 0 = 1 2 4 5 6 7 8 9 the fox saw a hen " * 20
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=train_bpe(iter([words]), 280).backend, eos_token=END_OF_TEXT
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=288, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=64,
        )
    )  # fmt: skip
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4.0)
    # A checkpoint's own defaults must not decide what is drawn.
    model.generation_config = transformers.GenerationConfig(
        do_sample=True, top_k=2, temperature=0.1, repetition_penalty=5.0
    )
    model.save_pretrained(root)
    tokenizer.save_pretrained(root)
    return root


def exact_p(checkpoint: Path, prompts: list[str], answers: list[str], temperature: float) -> Any:
    """Probabilities of answers of one token, at a temperature."""
    import torch

    from t2lib.measure.scoring.hf import load_hf

    model, tokenizer = load_hf(f"hf:{checkpoint}", device="cpu")
    p = []
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = [*tokenizer.opening(prompt), *tokenizer.encode(prompt)]
        with torch.inference_mode():
            logits = model.inner(torch.tensor([ids])).logits[0, -1].double()
        probabilities = (logits / temperature).softmax(0)
        texts = [tokenizer.inner.decode([i], skip_special_tokens=True) for i in range(len(logits))]
        hits = [i for i, text in enumerate(texts) if text.strip() == answer.strip()]
        p.append(float(probabilities[hits].sum()))
    return np.array(p)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_agree_with_probabilities(
    checkpoint: Path, tmp_path: Path, temperature: float
) -> None:
    from t2lib.measure.scoring.hf import load_hf

    model, tokenizer = load_hf(f"hf:{checkpoint}", device="cpu")
    prompts = [f"Question: {i} + 3 =" for i in range(8)]
    import torch

    answers = []
    for prompt in prompts:  # the most probable token that is visible text
        with torch.inference_mode():
            logits = model.inner(torch.tensor([tokenizer.encode(prompt)])).logits[0, -1]
        texts = (tokenizer.inner.decode([int(i)]) for i in logits.argsort(descending=True))
        answers.append(next(text.strip() for text in texts if text.strip().isalnum()))
    path = tmp_path / "t.jsonl"
    rows = [{"prompt": p, "answer": a} for p, a in zip(prompts, answers, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    n = 400
    settings = Settings(max_tokens=1, temperature=temperature)
    report = sample(
        f"hf:{checkpoint}", path, tmp_path / "s", n=n, settings=settings, tokens=1e6, device="cpu",
        show=False,
    )  # fmt: skip
    assert report.complete
    counts = samples.load_samples(tmp_path / "s")
    p = exact_p(checkpoint, prompts, answers, temperature)
    z = (counts["c"] - n * p) / np.sqrt(n * p * (1 - p))
    assert np.abs(z).max() < 4.0
    assert counts["N"].iloc[0] == model.N_total
    # Another call with the same seed in another folder draws the same.
    again = sample(
        f"hf:{checkpoint}", path, tmp_path / "r", n=n, settings=settings, device="cpu", show=False
    )
    assert again.c == report.c


def test_greedy_and_stops_and_long_prompts(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [{"prompt": "Question: 3", "answer": "x"}, {"prompt": "fox " * 80, "answer": "x"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = Settings(max_tokens=8, temperature=0.0, stop=("e",))
    report = sample(
        f"hf:{checkpoint}", path, tmp_path / "s", n=3, settings=settings, device="cpu", show=False
    )
    assert "exceed the context of 64" in report.skipped[1]
    (body,) = samples.read_descriptions(tmp_path / "s")
    texts = {answer["text"] for answer in samples.read_answers(tmp_path / "s", body["sample_id"])}
    assert len(texts) == 1
    assert "e" not in texts.pop()


# ---------------------------------------------------------------- tables and fits


def test_a_folder_of_samples_is_a_suite_of_counts(
    server: Server, tmp_path: Path, capsys: Any
) -> None:
    from t2lib.data.measured import load_passk
    from t2lib.data.store import load_suite

    root, tasks = tmp_path / "s", questions_file(tmp_path, 60)
    for N in (1e8, 1e9, 1e10):
        for ratio in (10, 40, 160):
            p = 0.03 * (N / 1e8) ** 0.3 * (ratio / 10) ** 0.2
            rng = np.random.default_rng(int(N) + ratio)
            server.answer = lambda body, p=p, rng=rng: str(guess(body, p, rng))
            draw(server, tasks, root, n=8, model=f"m{N}-{ratio}", params=N, tokens=ratio * N)
    scores = load_suite(root)
    assert scores.groupby("run_id", observed=True)["n"].sum().tolist() == [480] * 9
    assert samples.load_samples(root)["c"].sum() == scores["c"].sum()
    table = load_passk(root, task="sums")
    assert sorted(table["k"].unique()) == [1, 2, 4, 8]
    out = tmp_path / "law.json"
    words = ["fit", str(root), "--task", "sums", "--out", str(out), "--replicates", "0"]
    for law in ("counts", "loss"):  # such data need not identify every parameter
        assert cli.main([*words, "--law", law]) in (0, 1)
        assert json.loads(out.read_text())["meta"]["source"] == str(root)
    assert cli.main([*words, "--law", "counts", "--k", "2"]) == 2
    assert cli.main([*words, "--law", "counts", "--task", "u"]) == 2
    assert "must be one of ['sums']" in capsys.readouterr().err


def guess(body: dict[str, Any], p: float, rng: np.random.Generator) -> int:
    """The right sum with probability p, else another number."""
    if "+" not in body["prompt"]:  # the first look at the endpoint
        return 0
    number = int(body["prompt"].split()[3])
    return 3 + number + (0 if rng.random() < p else 1)


def test_a_model_of_unknown_size_gets_a_record_once_it_is_known(
    server: Server, tmp_path: Path
) -> None:
    from t2lib.data.store import load_suite

    tasks = questions_file(tmp_path)
    draw(server, tasks, tmp_path / "s", tokens=None)
    assert not (tmp_path / "s" / "runs").exists()
    count = len(server.requests)
    draw(server, tasks, tmp_path / "s", tokens=5e11)
    assert len(server.requests) == count
    assert (load_suite(tmp_path / "s")["D"] == 5e11).all()


def test_counts_of_a_real_model_agreed_with_its_likelihoods() -> None:
    from t2lib.data import io

    study = io.read_json(io.data_dir() / "studies" / "sampling.json")
    plain, cool = study["results"]
    assert (plain["temperature"], cool["temperature"]) == (1.0, 0.5)
    assert abs(plain["deviation"]) < 2.5
    assert 0.4 < plain["chi2_per_question"] < 1.7
    assert plain["largest_deviation"] < 3.5
    assert cool["deviation"] > 10  # another sampler, another pass@k
