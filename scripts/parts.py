"""Take the heavy parts of data out of a checkout, for a release whose wheel stays small.

`python scripts/parts.py --address https://host/releases/v1 --out dist/parts` packs each part into
one archive, removes it from data/ and writes data/parts.json, by which an installed t2lib fetches
it when it is asked for. The release workflow runs it on a checkout that is thrown away; with
--keep nothing is removed and no list is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SINGLE = ("studies", "tables/gemstones_ranked.parquet", "tables/gemstones_unlisted_ranked.parquet")
EPOCH = (1980, 1, 1, 0, 0, 0)  # one time for all members, so that the same data make the same bytes


def pack(data: Path, name: str, out: Path) -> Path:
    """Write the archive of one part and return its path."""
    source = data / name
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    if not files:
        raise SystemExit(f"data has no {name}. Run this in a whole checkout.")
    out.mkdir(parents=True, exist_ok=True)
    archive = out / f"{name.replace('/', '-')}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as members:
        for path in files:
            info = zipfile.ZipInfo(path.relative_to(data).as_posix(), EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            members.writestr(info, path.read_bytes())
    return archive


def parts(data: Path) -> list[str]:
    """Name the parts: each suite, the studies together, the largest tables."""
    suites = sorted(p.name for p in (data / "suites").iterdir() if (p / "runs").is_dir())
    return [*(f"suites/{name}" for name in suites), *SINGLE]


def main() -> None:
    """Pack the parts, and unless told to keep them remove them and write the list."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--address", required=True, help="where the archives will be published")
    parser.add_argument("--out", type=Path, required=True, help="folder for the archives")
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--keep", action="store_true", help="remove nothing, write no list")
    args = parser.parse_args()
    listed = {}
    for name in parts(args.data):
        archive = pack(args.data, name, args.out)
        content = archive.read_bytes()
        listed[name] = {
            "url": f"{args.address.rstrip('/')}/{archive.name}",
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        print(f"{len(content) / 1e6:6.2f} MB  {archive}")
    if args.keep:
        return
    for name in listed:
        path = args.data / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    text = json.dumps(listed, indent=2) + "\n"
    (args.data / "parts.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
