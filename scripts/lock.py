"""Write requirements.lock and requirements-torch.lock: exact pins of what pyproject.toml needs.

Run it (``make lock``) after a change of ranges in pyproject.toml. uv resolves the ranges for every
platform at once, without installing anything, and gives the SHA-256 of each file that a package
index holds for a version, so that one lock serves them all. Versions that are locked already and
still in range stay; ``--upgrade`` takes the newest. No index, no local file and no build of one
machine is written.

torch has a file of its own, without hashes: its wheels differ between platforms and indexes (with
or without a GPU), and pip wants hashes of all or none.
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

ROOT = Path(__file__).resolve().parent.parent
LOCK, TORCH = "requirements.lock", "requirements-torch.lock"
EXTRAS = ("measure", "hf", "cluster", "book", "dev")
HOLD = ("torch==2.13.0",)  # the release that the shipped measurements were made with
PYTHON = "3.11.5"  # the oldest that the pins run on
GPU_ONLY = ("nvidia-", "cuda-", "triton")

HEADER = """\
# Exact pins that `make setup` installs, for Python 3.11 or newer; pip checks their hashes.
# Written by scripts/lock.py from the extras {extras} of pyproject.toml; do not edit.
# {hold} stands in {torch}: its wheels differ between platforms and indexes.
"""
HEADER_TORCH = """\
# Installed after {lock}, and without hashes: torch's wheels differ between platforms and
# indexes. Its GPU libraries (nvidia-*, cuda-*, triton) are required by the builds that need them.
# Written by scripts/lock.py; do not edit.
"""


def resolve(extras: tuple[str, ...], hold: tuple[str, ...], upgrade: bool) -> str:
    """Pins with hashes, as uv writes them, for the project with ``extras``.

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
        out, held = Path(folder) / LOCK, Path(folder) / "hold.txt"
        held.write_text("\n".join(hold) + "\n")
        if not upgrade and (ROOT / LOCK).exists():
            shutil.copy(ROOT / LOCK, out)  # uv keeps the versions that it finds
        command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes"]
        command += ["--python-version", PYTHON, "--no-config", "--no-header", "--no-annotate"]
        command += ["--no-emit-index-url", "--constraint", str(held), "--output-file", str(out)]
        command += [word for extra in extras for word in ("--extra", extra)]
        subprocess.run([*command, str(ROOT / "pyproject.toml")], check=True)
        return out.read_text(encoding="utf-8")


def blocks(text: str) -> dict[str, str]:
    """Each package's line with the lines of hashes that follow it, by name."""
    found = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    return {block.partition("==")[0]: block.rstrip() for block in found}


def locks(resolved: str) -> dict[str, str]:
    """Both files' pins: torch's own without hashes, GPU libraries in neither."""
    pins = blocks(resolved)
    torch = re.split(r"[\s;]", pins.pop("torch"), maxsplit=1)[0]
    kept = [pins[name] for name in sorted(pins) if not name.startswith(GPU_ONLY)]
    return {LOCK: "\n".join(kept) + "\n", TORCH: torch + "\n"}


def main() -> int:
    """Write both locks next to pyproject.toml, or into ``--out``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions in range")
    args = parser.parse_args()
    written = locks(resolve(EXTRAS, HOLD, args.upgrade))
    words = {"extras": ", ".join(EXTRAS), "hold": ", ".join(HOLD), "lock": LOCK, "torch": TORCH}
    for name, header in ((LOCK, HEADER), (TORCH, HEADER_TORCH)):
        fresh = args.out / (name + ".new")
        fresh.write_text(header.format(**words) + written[name], encoding="utf-8")
        os.replace(fresh, args.out / name)
        print(f"{name}: {len(blocks(written[name]))} pins")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
