"""Run bandit over the sources and pip-audit over the pins; write what they found.

Usage: python benchmarks/audit.py [--strict] [--tools FOLDER] [--out data/studies/audit.json]

Neither tool is among the pins: install them anywhere (`pip install bandit pip-audit`) and name the
folder of the programs if it is not on the PATH. pip-audit asks an online service for advisories;
where that cannot be reached, this is what gets written. --strict (.github/workflows/audit.yml)
fails on a finding, and if no service answered.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from t2lib.data import io, provenance

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-torch.lock")
SOURCES = ("src", "scripts", "benchmarks", "dodo.py")


def run(tool: str, folder: Path | None, *words: str) -> subprocess.CompletedProcess[str]:
    """A tool's output; FileNotFoundError says how to get it."""
    program = shutil.which(tool, path=str(folder) if folder else None)
    if program is None:
        raise FileNotFoundError(
            f"{tool} is not installed: `pip install {tool}`, then --tools FOLDER"
        )
    return subprocess.run(
        [program, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


def bandit(folder: Path | None) -> dict[str, Any]:
    """Findings, and how many lines were read; suppressed ones are counted apart."""
    words = ("-q", "-c", "pyproject.toml", "-f", "json", "-r", *SOURCES)
    body = json.loads(run("bandit", folder, *words).stdout)
    totals = body["metrics"]["_totals"]
    findings = [
        f"{x['test_id']} {x['filename']}:{x['line_number']} {x['issue_text']}"
        for x in body["results"]
    ]
    return {"lines": totals["loc"], "findings": findings, "answered_in_place": totals["nosec"]
            + totals.get("skipped_tests", 0)}  # fmt: skip


def advisories(folder: Path | None) -> dict[str, Any]:
    """Known vulnerabilities of the pinned versions, by either advisory service that answers."""
    lines = [x for name in LOCKS for x in (ROOT / name).read_text().splitlines()]
    # torch's dependencies stand in both locks
    pins = {x.partition("==")[0] for x in lines if re.match("[a-z0-9-]+==", x)}
    said = []
    for service in ("pypi", "osv"):
        entries: list[dict[str, Any]] = []
        for lock in LOCKS:  # apart, for pip-audit too wants hashes of all pins or of none
            words = ("-s", service, "-f", "json", "-r", lock, "--no-deps", "--disable-pip")
            with contextlib.suppress(json.JSONDecodeError, KeyError):
                entries += json.loads(run("pip-audit", folder, *words).stdout)["dependencies"]
        if not entries:
            said.append(f"{service}: no answer")
            continue
        asked = {x["name"]: x["vulns"] for x in entries if "skip_reason" not in x}
        if asked:
            found = [f"{name} {v['id']}" for name, vulns in asked.items() for v in vulns]
            return {"service": service, "pins": len(pins), "asked": len(asked), "found": found}
        said.append(f"{service}: knows none of the pins from here")
    return {"service": None, "pins": len(pins), "asked": 0, "found": [], "said": said}


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0])
    parser.add_argument("--tools", type=Path)
    parser.add_argument("--strict", action="store_true", help="1 if something is found or unasked")
    parser.add_argument("--out", type=Path, default=ROOT / "data/studies/audit.json")
    args = parser.parse_args()
    report = {
        "what": "Findings of bandit and pip-audit",
        "bandit": bandit(args.tools),
        "pip_audit": advisories(args.tools),
        "provenance": provenance.provenance(made_by="python benchmarks/audit.py"),
    }
    io.write_json(args.out, report)
    print(json.dumps({k: v for k, v in report.items() if k != "provenance"}, indent=1))
    known = report["pip_audit"]
    wrong = report["bandit"]["findings"] or known["found"] or not known["asked"]
    return int(args.strict and bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
