"""Answer ``t2 export``, which writes a checkpoint as a Hugging Face folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from t2lib.cli._command import name_flags, print_json, say

EPILOG = """examples:
  t2 export my-suite 96a0f5e4d1c2 my-model
  lm_eval run --model hf --model_args pretrained=my-model --tasks my_task"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 export``."""
    parser.add_argument("suite", metavar="SUITE", help="a folder that t2 collect --keep wrote")
    parser.add_argument("run", metavar="RUN", help="run_id of a checkpoint; 'all' writes each")
    parser.add_argument("folder", type=Path, metavar="DIR", help="new folder to write")
    parser.add_argument("--json", action="store_true", help="print JSON")
    name_flags(parser, suite="SUITE", run="RUN", folder="DIR")


def run(args: argparse.Namespace) -> int:
    """Write one checkpoint, or all of a suite with a table of their sizes."""
    from t2lib.data import store
    from t2lib.measure.running.export import export_checkpoint

    if args.run != "all":
        folders = [export_checkpoint(args.suite, args.run, args.folder)]
    else:
        runs = store.load_runs(args.suite)
        runs = runs[runs["status"] == "done"]
        folders = [
            export_checkpoint(args.suite, name, args.folder / name) for name in runs["run_id"]
        ]
        table = runs.rename(columns={"run_id": "model"})[["model", "N", "N_non_embedding", "D"]]
        table.to_csv(args.folder / "models.csv", index=False)
    tokenizers = all((folder / "tokenizer.json").is_file() for folder in folders)
    if args.json:
        print_json({"folders": [str(folder) for folder in folders], "tokenizer": tokenizers})
        return 0
    for folder in folders:
        say(f"written to {folder}")
    if not tokenizers:
        say("without a tokenizer: the suite's corpus is not on this machine")
    return 0
