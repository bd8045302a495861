"""Run one notebook with checked parameters, strictly and atomically."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from t2lib.book.page import MYST
from t2lib.book.parameters import check_parameters, read_parameters
from t2lib.book.processes import leashed, workplace
from t2lib.data.io import atomic_path, sha256_file
from t2lib.data.provenance import provenance
from t2lib.names import check_name

KERNEL = "from ipykernel import kernelapp; kernelapp.launch_new_instance()"
# IPython's exit() only asks its front end to stop the kernel, and the cells after it run.
EXIT = "import sys; exit = quit = sys.exit; del sys"
GLUE = "application/papermill.record/"
SCALAR = re.compile(r"^np\.(?:float|u?int)\d+\((.*)\)$")


class ChapterError(RuntimeError):
    """Report that a chapter did not run to its end."""


def run_chapter(
    notebook: str | Path,
    parameters: Mapping[str, Any] | None = None,
    out_dir: str | Path = "results",
    *,
    inputs: Iterable[str | Path] = (),
) -> Path:
    """Run ``notebook`` with ``parameters`` and leave the executed copy in ``out_dir``.

    The notebook runs in its own folder, in a kernel of the Python that called, which ends with this
    process. Several runs may go on at once, in threads or processes. The copy appears in one step
    and only after the last cell; it ends with a provenance paragraph and carries the same
    facts as metadata. Figures are also written to ``out_dir/figures/<notebook>``, as PNG and SVG,
    for the pages of the book.

    Parameters
    ----------
    notebook
        Path of the ``.ipynb``.
    parameters
        Values for declared parameters; the others keep their defaults.
    out_dir
        Folder for the executed copy; made if missing.
    inputs
        Files that the notebook reads; their hash goes into the provenance.

    Returns
    -------
    Path
        The executed copy, ``out_dir/<notebook>.ipynb``.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        Before anything runs: no such notebook or input, an unknown parameter, a wrong type.
    ChapterError
        A cell failed, the kernel died, or a cell ended the run early, as ``sys.exit(0)`` does. The
        message names notebook, cell and exception. What had run lies in
        ``out_dir/<notebook>.failed.ipynb``; an earlier copy stays as it was.
    """
    notebook = Path(notebook).resolve()
    out_dir = Path(out_dir).resolve()
    values = check_parameters(read_parameters(notebook), parameters or {}, notebook.name)
    data_hash = fingerprint(inputs)
    out_dir.mkdir(parents=True, exist_ok=True)
    target = out_dir / notebook.name
    failed = out_dir / f"{notebook.stem}.failed.ipynb"
    (out_dir / f".{notebook.stem}.running.ipynb").unlink(missing_ok=True)  # of earlier versions
    with workplace(out_dir, notebook.stem) as folder:
        running = folder / "running.ipynb"
        try:
            executed = _execute(notebook, values, running, failed)
        finally:
            if running.exists():
                os.replace(running, failed)
    body = executed["metadata"].pop("papermill")
    stamp = provenance(
        parameters=dict(body["parameters"]), data=data_hash, seconds=round(body["duration"], 1)
    )
    executed["metadata"].setdefault("t2lib", {})["provenance"] = stamp
    executed["cells"].append(_provenance_cell(stamp))
    _plain_numbers(executed)
    _write_figures(executed, out_dir / "figures" / notebook.stem)
    _write_notebook(executed, target)
    failed.unlink(missing_ok=True)
    return target


def fingerprint(paths: Iterable[str | Path]) -> str | None:
    """Return twelve hex digits over content and names of files.

    None for no files.
    """
    lines = sorted(f"{sha256_file(path)} {Path(path).name}" for path in paths)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12] if lines else None


def _execute(notebook: Path, values: dict[str, Any], running: Path, failed: Path) -> Any:
    """Run all cells, with the notebook in ``running`` meanwhile.

    ``running`` is gone if all went well.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    logging.getLogger("papermill").addFilter(_is_news)
    from papermill.exceptions import PapermillExecutionError

    try:
        executed = papermill.execute_notebook(
            _literal(notebook),
            _literal(running),
            parameters=values,
            kernel_name="python3",
            language="python",
            kernel_manager_class=_own_kernel(running.parent / "profile", notebook.parent),
            progress_bar=False,
        )
    except PapermillExecutionError as error:
        number = error.exec_count - bool(values)  # given values run as a cell of their own
        raise ChapterError(
            f"{notebook.name} failed in code cell {number} with {error.ename}: "
            f"{error.evalue}\n{_code(error.source)}\nWhat had run, with the traceback, is in "
            f"{failed}; the earlier result is unchanged."
        ) from error
    except (DeadKernelError, CellTimeoutError) as error:
        raise ChapterError(
            f"{notebook.name} stopped because its kernel died ({error}). It may have run out "
            f"of memory. What had run is in {failed}; the earlier result is unchanged."
        ) from error
    exits = _exiting_cell(executed)
    if exits is not None:
        number, source = exits
        raise ChapterError(
            f"{notebook.name} ended early in code cell {number - bool(values)}, which exits "
            f"Python:\n{_code(source)}\nA chapter must run to its last cell. Leave the exit out; "
            f"what had run is in {failed}; the earlier result is unchanged."
        )
    missing = _missing_numbers(executed)
    if missing:
        raise ChapterError(
            f"{notebook.name} has words whose numbers were never noted: {', '.join(missing)}. "
            f"Correct the names, or call note. What had run is in {failed}; the earlier result is "
            "unchanged."
        )
    running.unlink()
    return executed


def _missing_numbers(executed: Any) -> list[str]:
    """Return the names of numbers that displayed words still lack."""
    names: list[str] = []
    for cell in executed["cells"]:
        for output in cell.get("outputs", []):
            names += output.get("metadata", {}).get(MYST, {}).get("missing", [])
    return list(dict.fromkeys(names))


def _exiting_cell(executed: Any) -> tuple[int, str] | None:
    """Return number and source of the code cell that exited Python, which papermill allows."""
    cells = [cell for cell in executed["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, start=1):
        errors = [o for o in cell["outputs"] if o["output_type"] == "error"]
        if any(error["ename"] == "SystemExit" for error in errors):
            return number, cell["source"]
    return None


def _own_kernel(profile: Path, folder: Path) -> Any:
    """Make a kernel manager that starts this Python in ``folder``, whatever kernels there are.

    papermill would change the folder of this process, and with it that of chapters run in other
    threads.
    """
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    class OwnKernel(AsyncKernelManager):
        @property
        def kernel_spec(self) -> Any:
            # a profile of its own: no start-up files of the user, no history kept
            env = {"IPYTHONDIR": str(profile), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
            env["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm, without notebook widgets
            arguments = ("-f", "{connection_file}", f"--IPKernelApp.exec_lines={EXIT}")
            argv = leashed(KERNEL, *arguments, options=("-Xfrozen_modules=off",))
            return KernelSpec(**(get_kernel_dict() | {"argv": argv}), env=env)

        def start_kernel(self, **options: Any) -> Any:
            return super().start_kernel(**(options | {"cwd": str(folder)}))

        @default("transport_encryption")
        def _encrypt_if_possible(self) -> str:
            return "auto"

    return OwnKernel


def _is_news(record: logging.LogRecord) -> bool:
    """Return False for papermill's doubt about parameters, which were checked before.

    It cannot read types such as ``str | None``, and calls their parameters unknown.
    """
    return not record.getMessage().startswith("Passed unknown parameter")


def _literal(path: Path) -> str:
    """Escape the braces of a path, which papermill would fill."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _code(source: str) -> str:
    return "\n".join(f"    {line}" for line in source.splitlines())


def _provenance_cell(stamp: dict[str, Any]) -> Any:
    import nbformat

    versions = stamp["versions"]
    origin = [f"t2lib {versions['t2lib']}"]
    if stamp["commit"]:
        changed = " with uncommitted changes" if stamp["commit"]["dirty"] else ""
        origin.append(f"commit {stamp['commit']['hash'][:12]}{changed}")
    origin += [f"{name} {v}" for name, v in versions.items() if name != "t2lib" and v]
    values = ", ".join(_span(f"{name} = {value!r}") for name, value in stamp["parameters"].items())
    text = (
        f":::{{div}} provenance\n**Provenance.** {', '.join(origin)}. "
        f"Data: {stamp['data'] or 'none'}. Parameters: {values or 'defaults'}. "
        f"Run in {stamp['seconds']:g} s on {stamp['cpu']}, "
        f"{stamp['time_utc'][:10]}.\n:::"
    )
    cell = nbformat.v4.new_markdown_cell(text, metadata={"tags": ["provenance"]})
    cell["id"] = "provenance"
    return cell


def _span(text: str) -> str:
    """Wrap any text in a Markdown code span.

    The fence has more backticks than the text holds, so none ends it.
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    blank = " " if longest else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def _plain_numbers(executed: Any) -> None:
    """Write glued numpy scalars as plain numbers.

    Prose cannot format ``np.float64(1.0)``.
    """
    for cell in executed["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "scrapbook" in output.get("metadata", {}) and GLUE + "text/plain" in data:
                text = data[GLUE + "text/plain"]
                data[GLUE + "text/plain"] = SCALAR.sub(r"\1", text)


def _write_figures(executed: Any, folder: Path) -> None:
    """Write each figure that was shown or glued and remove those of earlier runs.

    A figure becomes ``folder/<name>.png``, and ``<name>.svg`` where the chapter drew it for the
    book.
    """
    written = set()
    for cell in executed["cells"]:
        for output in cell.get("outputs", []):
            metadata, data = output.get("metadata", {}), output.get("data", {})
            name = metadata.get(MYST, {}).get("figure") or metadata.get("scrapbook", {}).get("name")
            image = data.get(GLUE + "image/png", data.get("image/png"))
            if name and image:
                check_name("a figure", name)
                drawing = metadata.get(MYST, {}).get("svg")
                for kind, body in (
                    ("png", base64.b64decode(image)),
                    ("svg", None if drawing is None else drawing.encode()),
                ):
                    if body is not None:
                        written.add(folder / f"{name}.{kind}")
                        with atomic_path(folder / f"{name}.{kind}") as temporary:
                            temporary.write_bytes(body)
    for stale in {*folder.glob("*.png"), *folder.glob("*.svg")} - written:
        stale.unlink()


def _write_notebook(executed: Any, target: Path) -> None:
    import nbformat

    with atomic_path(target) as temporary:
        temporary.write_text(nbformat.writes(executed), encoding="utf-8")
