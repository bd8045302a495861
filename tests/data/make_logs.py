"""Write the logs in this folder with the tools themselves, on two tiny random models.

lm-evaluation-harness and Inspect are not among t2lib's packages. In an environment of their own
(lm-eval 0.4.13, inspect-ai 0.3.285, torch, transformers):

    python tests/data/make_logs.py tests/data/logs

Nothing is downloaded. Of the harness's results_*.json only what describes models and tasks is kept:
the rest describes the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from inspect_ai import Epochs, Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate
from tokenizers import Tokenizer
from tokenizers import models as tokenizer_models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TASKS = {
    "tiny_choice": (
        [
            {"question": "3+4=?", "choices": ["7", "8", "12"], "gold": 0},
            {"question": "2+2=?", "choices": ["5", "4", "6"], "gold": 1},
            {"question": "1+8=?", "choices": ["10", "8", "9"], "gold": 2},
        ],
        {
            "output_type": "multiple_choice",
            "doc_to_text": "Q: {{question}}\nA:",
            "doc_to_target": "gold",
            "doc_to_choice": "choices",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
            "metadata": {"version": 1.0},
        },
    ),
    "tiny_last_word": (
        [{"text": "the sky is", "last": "blue"}, {"text": "the ice is", "last": "cold"}],
        {
            "output_type": "loglikelihood",
            "doc_to_text": "{{text}}",
            "doc_to_target": "{{' '+last}}",
            "metric_list": [
                {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
                {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            ],
            "metadata": {"version": 1.0},
        },
    ),
    "tiny_digits": (
        [{"question": f"digit {i}?", "answer": f"so #### {i}"} for i in (1, 4, 8)],
        {
            "output_type": "generate_until",
            "doc_to_text": "Question: {{question}}\nAnswer:",
            "doc_to_target": "{{answer}}",
            "metric_list": [
                {
                    "metric": "exact_match",
                    "aggregation": "mean",
                    "higher_is_better": True,
                    "ignore_case": True,
                    "ignore_punctuation": False,
                    "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"],
                }
            ],
            "generation_kwargs": {
                "until": ["Question:"],
                "do_sample": True,
                "temperature": 1.0,
                "max_gen_toks": 12,
            },
            "repeats": 8,
            "filter_list": [
                {
                    "name": "strict-match",
                    "filter": [
                        {"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"},
                        {"function": "take_first"},
                    ],
                },
                {
                    "name": "flexible-extract",
                    "filter": [
                        {
                            "function": "regex",
                            "group_select": -1,
                            "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)",
                        },
                        {"function": "take_first"},
                    ],
                },
            ],
            "metadata": {"version": 3.0},
        },
    ),
}
DESCRIBED = ("results", "configs", "versions", "n-shot", "model_name", "model_name_sanitized")


def make_models(folder: Path) -> list[Path]:
    """Write two random Llamas with one token per character."""
    letters = ["<eos>", "\n", *"0123456789", *(chr(i) for i in range(32, 127) if not 48 <= i < 58)]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(
            tokenizer_models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[])
        ),
        eos_token="<eos>",
        pad_token="<eos>",
    )
    paths = []
    for width in (16, 32):
        torch.manual_seed(width)
        config = LlamaConfig(
            vocab_size=len(letters),
            hidden_size=width,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=512,
            bos_token_id=0,
            eos_token_id=0,
            tie_word_embeddings=True,
        )
        paths.append(folder / f"tiny-{width}")
        LlamaForCausalLM(config).save_pretrained(paths[-1])
        tokenizer.save_pretrained(paths[-1])
    return paths


def make_harness_logs(models: list[Path], work: Path, out: Path) -> None:
    """Run lm-evaluation-harness on local tasks, and keep what describes models and tasks."""
    tasks = work / "tasks"
    tasks.mkdir()
    for name, (rows, config) in TASKS.items():
        data = tasks / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        body = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test",
            **config,
        }
        (tasks / f"{name}.yaml").write_text(json.dumps(body))  # JSON is YAML
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(work / "cache")}
    for model in models:
        words = ["run", "--model", "hf", "--model_args", f"pretrained=models/{model.name}"]
        words += ["--tasks", ",".join(TASKS), "--include_path", str(tasks), "--device", "cpu"]
        words += ["--output_path", str(work / "harness"), "--log_samples"]
        subprocess.run(
            [str(Path(sys.executable).with_name("lm_eval")), *words],
            check=True,
            cwd=work,
            env=environment,
        )
    for path in (work / "harness").rglob("results_*.json"):
        body = json.loads(path.read_text())
        described = {key: body[key] for key in DESCRIBED}
        described["config"] = {
            key: body["config"].get(key)
            for key in ("model", "model_args", "model_num_parameters", "model_revision")
        }
        for config in described["configs"].values():
            config.pop("dataset_kwargs")
            config.pop("fewshot_config")
            config["metadata"].pop("config_source")
        path.write_text(json.dumps(described, indent=1))
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(work / "harness", out)


def make_inspect_logs(models: list[Path], out: Path) -> None:
    """Run Inspect on two questions, with one log in each form."""
    shutil.rmtree(out, ignore_errors=True)
    questions = [Sample(id=f"letter/{c}", input=f"Say {c}.", target=c) for c in "e5"]
    for path, form, epochs in ((models[0], "eval", 3), (models[1], "json", 2)):
        model = get_model(
            f"hf/{path.name}",
            model_path=f"models/{path.name}",
            device="cpu",
            config=GenerateConfig(max_tokens=24, temperature=1.0, seed=1),
            chat_template="{{ messages[0]['content'] }}",
        )
        task = Task(
            dataset=MemoryDataset(questions, name="letters"),
            solver=generate(),
            scorer=includes(),
            epochs=Epochs(epochs, "mean"),
            name="letters",
        )
        eval(task, model=model, log_dir=str(out), log_format=form, display="none")
    for log in out.glob("*.json"):  # transcripts would be most of it, and are not read
        body = json.loads(log.read_text())
        for sample in body["samples"]:
            for key in ("events", "events_data", "messages", "output", "attachments"):
                sample.pop(key, None)
        log.write_text(json.dumps(body, indent=1))


def main() -> None:
    out = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.chdir(work)
        paths = make_models(work / "models")
        make_harness_logs(paths, work, out / "lm-eval")
        make_inspect_logs(paths, out / "inspect")
    for path in sorted(out.rglob("*.*")):
        print(f"{path.stat().st_size:8,} {path.relative_to(out)}")


if __name__ == "__main__":
    main()
