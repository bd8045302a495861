"""Write the lock files of exact pins from pyproject.toml.

lm-evaluation-harness, which ``make harness`` compares with, is pinned beside its tests with what it
needs beyond the project's pins.

Run it (``make lock``) after a change of ranges in pyproject.toml. uv resolves the ranges for every
platform at once, without installing anything, and gives the SHA-256 of each file that a package
index holds for a version, so that one lock serves them all. Versions that are locked already and
still in range stay; ``--upgrade`` takes the newest. Each package has one version, which every
Python in range can install. No index, no local file and no build of one machine is written.
``--resolution lowest-direct`` or ``highest`` ignores the locked versions and writes the oldest or
the newest that the ranges allow, torch included, for the Python and the platform that run it.

The pins are installed with ``--no-deps``: the lock holds every package already. Without it, pip
before 23.3 refuses a lock in which one package needs another with an extra (``coverage[toml]``) as
soon as the other has a newer release (github.com/pypa/pip/issues/9644).

torch has a file of its own, without hashes: its wheels differ between platforms and indexes (with
or without a GPU), and pip wants hashes of all or none. It is installed with its dependencies,
because each build names the GPU libraries of its own; the others that it needs stand beside it, at
the versions of requirements.lock, so that pip moves none of them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from check_machine import pythons

ROOT = Path(__file__).resolve().parent.parent
LOCK, TORCH, LIGHT = "requirements.lock", "requirements-torch.lock", "binder/requirements.lock"
EXTRAS = ("measure", "hf", "cluster", "remote", "book", "dev")
LIGHT_EXTRA = "light"
HARNESS = "tests/harness/requirements.lock"
# The release that scores are compared with; accelerate and gguf let both read GGUF files.
HARNESS_NEEDS = "lm-eval==0.4.13\naccelerate\ngguf"
HOLD = ("torch==2.13.0",)  # the release that the shipped measurements were made with
GPU_ONLY = ("nvidia-", "cuda-", "triton")

HEADERS = {
    LOCK: """\
# Exact pins that `make setup` installs, for Python {oldest} to {newest}; pip checks their hashes.
# Written by scripts/lock.py from the extras {extras} of pyproject.toml; do not edit.
# {held} stands in {torch}: its wheels differ between platforms and indexes.
# It is complete, and is installed with --no-deps: scripts/lock.py says why.
""",
    TORCH: """\
# Installed after {lock}, and without hashes: torch's wheels differ between platforms and
# indexes. Its GPU libraries (nvidia-*, cuda-*, triton) are required by the builds that need them:
# this file alone is installed with dependencies. torch's others stand here as they do in the lock.
# Written by scripts/lock.py; do not edit.
""",
    LIGHT: """\
# What chapters without torch need, for Binder: pins out of {lock}, installed with --no-deps.
# Written by scripts/lock.py; do not edit.
""",
    HARNESS: """\
# lm-evaluation-harness and what it needs beyond {lock} and {torch}, which are installed
# before it; with --no-deps, as they are. `make harness` does it.
# Written by scripts/lock.py; do not edit.
""",
}


def resolve(
    requirements: str, *words: str, constraints: str = "", previous: str = "", stdin: str = ""
) -> str:
    """Return pins with hashes, as uv writes them.

    Parameters
    ----------
    requirements
        A file such as pyproject.toml, or ``-`` for the requirements in ``stdin``.
    *words
        More of uv's options: for which platforms, with which extras.
    constraints, previous
        Texts of pins: those that must hold, and those that uv keeps where it can.

    Raises
    ------
    FileNotFoundError
        If uv is not there.
    """
    beside = Path(sys.executable).parent
    uv = shutil.which("uv", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise FileNotFoundError("uv must be on the PATH to resolve the pins: pip install uv")
    with tempfile.TemporaryDirectory() as folder:
        output, constraint_file = Path(folder) / "pins.txt", Path(folder) / "constraints.txt"
        output.write_text(previous, encoding="utf-8")
        constraint_file.write_text(constraints, encoding="utf-8")
        command = [uv, "pip", "compile", "--quiet", "--generate-hashes", "--prerelease", "disallow"]
        command += ["--no-config", "--no-header", "--no-annotate", "--no-emit-index-url"]
        command += ["--constraint", str(constraint_file), "--output-file", str(output)]
        subprocess.run([*command, *words, requirements], check=True, input=stdin, text=True)
        return output.read_text(encoding="utf-8")


def resolve_all(upgrade: bool, resolution: str | None) -> dict[str, str]:
    """Return the text of each lock file."""
    project = str(ROOT / "pyproject.toml")
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    if resolution is None:
        target = ["--universal", "--python-version", pythons()[0], "--fork-strategy", "fewest"]
        previous = "" if upgrade else (ROOT / LOCK).read_text(encoding="utf-8")
        constraints = "\n".join(HOLD)
        resolved = resolve(project, *target, *extras, constraints=constraints, previous=previous)
    else:
        target = ["--python", sys.executable]
        resolved = resolve(project, *target, *extras, "--resolution", resolution)
    torch_needs = resolve("-", *target, constraints=resolved, stdin="torch")
    light = resolve(project, *target, "--extra", LIGHT_EXTRA, constraints=resolved)
    harness = resolve("-", *target, constraints=resolved, stdin=HARNESS_NEEDS)
    return locks(resolved, torch_needs, light, harness)


def blocks(text: str) -> dict[str, str]:
    """Split a lock by package name into its line and the lines of hashes that follow it.

    Raises
    ------
    ValueError
        If a package has two versions, for different platforms or Pythons.
    """
    pins: dict[str, str] = {}
    for entry in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]:
        name = entry.partition("==")[0]
        if name in pins:
            raise ValueError(
                f"{name} must have one version for all Pythons and platforms, got several. "
                f"Remove its pin from {LOCK} or bound it in pyproject.toml, and lock again."
            )
        pins[name] = entry.rstrip()
    return pins


def without_gpu(text: str) -> dict[str, str]:
    """Split a lock by package name and leave out the GPU libraries."""
    return {name: pin for name, pin in blocks(text).items() if not name.startswith(GPU_ONLY)}


def without_hashes(pin: str) -> str:
    """Strip a pin of its hashes."""
    return pin.partition(" \\")[0]


def locks(resolved: str, torch_needs: str, light: str, harness: str) -> dict[str, str]:
    """Return each file's text from what uv resolved for the project and beside it."""
    pins = without_gpu(resolved)
    torch = re.split(r"[\s;]", pins.pop("torch"), maxsplit=1)[0]
    beside_torch = [pin for name, pin in without_gpu(torch_needs).items() if name != "torch"]
    beside = {"torch", *pins}
    lines = {
        LOCK: [pins[name] for name in sorted(pins)],
        TORCH: [torch, *sorted(without_hashes(pin) for pin in beside_torch)],
        LIGHT: list(without_gpu(light).values()),
        HARNESS: [pin for name, pin in without_gpu(harness).items() if name not in beside],
    }
    words = {"extras": ", ".join(EXTRAS), "held": torch, "lock": LOCK, "torch": TORCH}
    words |= {"oldest": pythons()[0], "newest": pythons()[-1]}
    return {name: HEADERS[name].format(**words) + "\n".join(lines[name]) + "\n" for name in lines}


def main() -> int:
    """Write the locks next to pyproject.toml, or into ``--out``."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=ROOT)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--upgrade", action="store_true", help="take the newest versions in range")
    group.add_argument("--resolution", choices=("lowest-direct", "highest"))
    args = parser.parse_args()
    for name, text in resolve_all(args.upgrade, args.resolution).items():
        target = args.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(target.name + ".new")
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, target)
        print(f"{name}: {len(blocks(text))} pins")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
