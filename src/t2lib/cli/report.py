"""Answer ``t2 report``: the chapter on your own models as one page."""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

from t2lib import _extras
from t2lib.cli import plan_budget
from t2lib.cli._command import check_writable, name_flags, say
from t2lib.cli.device_options import DEFAULT_MFU, quantity
from t2lib.names import locate

EPILOG = """examples:
  t2 report example-sums --out report.html
  t2 report lm-eval-output --models models.csv --task arc_easy --gpus 8 --gpu h100 --days 21 \\
    --c-inf 140G --out report.html
  t2 report counts.csv --c-train 1e21 --max-tokens 15T --out report.html"""

CHAPTER = "your_models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``t2 report``."""
    # What was measured.
    parser.add_argument(
        "measurements",
        help="logs of lm-eval or Inspect, a table of counts, log-probabilities or losses, a suite, "
        "or example-sums, which ships",
    )
    parser.add_argument("--models", metavar="FILE", help="CSV of model, N and D")
    parser.add_argument("--answers", metavar="FILE", help="training answers, one a line")
    parser.add_argument("--task", metavar="NAME", help="the task to plan for, if there are several")
    # What may be spent.
    flops = quantity("FLOPs")
    parser.add_argument(
        "--c-train", type=flops, metavar="FLOPs", help="training budget (as measured runs had)"
    )
    text = "inference budget per served token (the middle of what was measured)"
    parser.add_argument("--c-inf", type=flops, metavar="FLOPs", help=text)
    text = "with --days, instead of --c-train: number of devices"
    parser.add_argument("--gpus", type=quantity(), metavar="N", help=text)
    parser.add_argument("--gpu", metavar="NAME", help="the device (h100)")
    parser.add_argument("--days", type=quantity(), metavar="X", help="days that they train")
    text = f"share of the peak rate that training reaches ({DEFAULT_MFU})"
    parser.add_argument("--mfu", type=quantity(), metavar="SHARE", help=text)
    plan_budget.add_limits(parser)
    text = "share of the training budget that further runs may cost (0.1)"
    parser.add_argument("--next-share", type=quantity(), metavar="SHARE", help=text)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="HTML to write")
    name_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Run the chapter on the measurements and write it as one page."""
    _extras.need("papermill", "ipykernel", "myst_nb", "matplotlib")
    check_writable("--out", args.out)
    if args.out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out must end in .html, got {str(args.out)!r}. Name the file so.")
    from t2lib.book.parameters import read_parameters
    from t2lib.book.places import resolve_place
    from t2lib.book.runner import run_chapter

    # Options set the chapter's parameters of their names; files begin at the folder of the call.
    start = Path.cwd()
    values = {
        name: resolve_place(parameter, value, start, start)
        for name, parameter in read_parameters(chapter_file()).items()
        if (value := getattr(args, name, None)) is not None
    }
    with tempfile.TemporaryDirectory() as folder:
        executed = run_chapter(chapter_file(), values, folder)
        page = as_page(executed)
    from t2lib.data.io import atomic_path

    with atomic_path(args.out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    say(f"written to {args.out}")
    return 0


def chapter_file() -> Path:
    """Return the notebook, of a clone or of the installed package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_notebooks" / f"{CHAPTER}.ipynb"
    if installed.is_file():
        return installed
    path = locate(f"notebooks/{CHAPTER}.ipynb", (package,))
    if path is None:
        raise FileNotFoundError(
            f"the chapter {CHAPTER}.ipynb is neither in the package nor in a clone around it. "
            "Install t2lib anew, or run t2 report in a clone of the repository."
        )
    return path


def as_page(executed: Path) -> str:
    """Return an executed notebook as one HTML page, pictures inside and code left out."""
    import nbformat
    from nbconvert import HTMLExporter

    from t2lib.book.page import plain
    from t2lib.book.runner import GLUE

    body = nbformat.read(executed, as_version=4)
    for cell in body["cells"]:
        if cell["cell_type"] == "markdown":  # in words that need no book around them
            cell["source"] = plain(
                re.sub(r"\n\n\*Prerequisites:.*", "", cell["source"], flags=re.S)
            )
        elif cell["cell_type"] == "code":  # without numbers for the book, which nothing displays
            cell["outputs"] = [
                output
                for output in cell["outputs"]
                if not any(kind.startswith(GLUE) for kind in output.get("data", {}))
            ]
    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="classic", embed_images=True, exclude_input=True, exclude_output_prompt=True
    )
    # Nothing is fetched: the page has no formulas, and no widgets.
    resources: dict[str, Any] = {"metadata": {"name": "Your models"}}
    page, _ = exporter.from_notebook_node(body, resources=resources)
    return _without_scripts(page)


def _without_scripts(page: str) -> str:
    """Return the page without scripts and styles from other places."""
    page = re.sub(r"<script\b.*?</script>", "", page, flags=re.S | re.I)
    return re.sub(r"<link\b[^>]*\bhref=[\"']?https?:[^>]*>", "", page, flags=re.I)
