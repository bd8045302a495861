"""Nothing that is read can run code, leave its folder, or reach a page unescaped.

The first part reads the sources themselves: what they never call cannot be misused.
"""

from __future__ import annotations

import ast
import http.server
import json
import os
import pickle
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2lib._yaml import parse_yaml
from t2lib.book import runner
from t2lib.data import io, store
from t2lib.data.sources import download, registry
from t2lib.measure.suites.suite import SuiteSpec

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path for part in ("src", "scripts", "benchmarks") for path in (ROOT / part).rglob("*.py")
)
TRAP = "!!python/object/apply:os.mkdir [{}]"


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a file, with the dotted name that is called."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


each_source = pytest.mark.parametrize(
    "path", SOURCES, ids=[p.relative_to(ROOT).as_posix() for p in SOURCES]
)


# ---------------------------------------------------------------- what the sources never do


@each_source
def test_nothing_unpickles(path: Path) -> None:
    banned = {
        "pickle",
        "cPickle",
        "dill",
        "cloudpickle",
        "joblib",
        "marshal",
        "shelve",
        "jsonpickle",
    }
    assert banned.isdisjoint(name.split(".")[0] for name in imports(path))
    for name, call in calls(path):
        assert not name.endswith("read_pickle")
        if name in ("np.load", "numpy.load"):
            assert keyword(call, "allow_pickle") == "False", f"line {call.lineno}"
        if name == "torch.load":
            assert keyword(call, "weights_only") == "True", f"line {call.lineno}"


@each_source
def test_nothing_runs_text_as_code(path: Path) -> None:
    for name, call in calls(path):
        assert name not in ("eval", "exec", "compile", "os.system", "os.popen", "__import__")
        assert not name.endswith((".query", ".eval")) or not call.args, f"line {call.lineno}"
        assert keyword(call, "shell") in (None, "False"), f"line {call.lineno}"
        assert keyword(call, "trust_remote_code") in (None, "False"), f"line {call.lineno}"
        assert name not in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all")


@each_source
def test_nothing_listens_or_weakens_a_connection(path: Path) -> None:
    for name, call in calls(path):
        if name.endswith("urlopen"):  # the link check, and the endpoint that a user names
            assert path.parent.name == "scripts" or path.name == "endpoints.py"
            assert keyword(call, "timeout"), f"line {call.lineno}"
        assert not name.endswith((".bind", ".listen", "HTTPServer", "extractall", "mktemp"))
        assert keyword(call, "verify") != "False", f"line {call.lineno}"
        if name == "requests.get":
            assert keyword(call, "timeout"), f"line {call.lineno}"
        if name.endswith("LocalCluster"):  # Dask neither encrypts nor asks who is calling
            assert keyword(call, "host") == "'127.0.0.1'", f"line {call.lineno}"
            assert keyword(call, "dashboard_address") in ("None", "'127.0.0.1:0'")


# ---------------------------------------------------------------- what is read stays data


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    text = TRAP.format(victim)
    file = tmp_path / "suite.yml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"x, line 1: the tag .* makes nothing here"):
        parse_yaml(text, "x")
    with pytest.raises(ValueError, match=r"suite\.yml, line 1: the tag .* makes nothing here"):
        SuiteSpec.from_yaml(file)
    assert not victim.exists()


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.victim),)


def test_pickles_in_place_of_data_are_refused_unopened(tmp_path: Path) -> None:
    from t2lib import load_law
    from t2lib.measure.training.checkpoint import read_checkpoint

    victim = tmp_path / "victim"
    path = tmp_path / "x.json"
    path.write_bytes(pickle.dumps(Bomb(victim)))
    readers = (read_checkpoint, io.read_json, io.read_parquet, load_law)
    for read in readers:
        with pytest.raises(
            ValueError, match=r"cannot be read|not valid JSON|not a readable|not a law"
        ):
            read(path)
    assert not victim.exists()
    pickle.loads(path.read_bytes())  # the bomb is a real one
    assert victim.exists()


@pytest.mark.parametrize("name", ["../x.bin", "/etc/hostname", "a/../../x", "", None, 3])
def test_a_manifest_names_files_of_its_own_folder_only(tmp_path: Path, name: Any) -> None:
    with pytest.raises(ValueError, match="of its own folder only"):
        io.inside(tmp_path, name)
    assert io.inside(tmp_path, "sub/x.bin") == tmp_path / "sub" / "x.bin"


def test_a_corpus_manifest_cannot_reach_outside(tmp_path: Path) -> None:
    from t2lib.measure.corpus import TextCorpus, prepare_text

    text = tmp_path / "text.txt"
    text.write_text("\n<|endoftext|>\n".join(f"the {i} quick brown foxes" * 3 for i in range(200)))
    folder = tmp_path / "corpus"
    prepare_text(
        {"files": [str(text)], "tokenizer": {"vocab_size": 270}, "val_fraction": 0.2}, folder
    )
    manifest = io.read_json(folder / "manifest.json")
    entry = manifest["files"]["train"][0]
    os.rename(folder / entry["name"], tmp_path / "stolen.bin")
    entry["name"] = "../stolen.bin"
    io.write_json(folder / "manifest.json", manifest)
    with pytest.raises(ValueError, match="of its own folder only"):
        TextCorpus(folder)


def test_a_half_done_preparation_deletes_nothing_outside(tmp_path: Path) -> None:
    from t2lib.measure.corpus import pack

    folder = tmp_path / "corpus"
    folder.mkdir()
    precious = tmp_path / "precious.bin"
    precious.write_bytes(b"x")
    part = {"name": "../precious.bin", "tokens": 1}
    body = {"spec_hash": "h", "parts": {"train": [part], "val": []}}
    io.write_json(folder / pack.PROGRESS, body)
    with pytest.raises(ValueError, match="of its own folder only"):
        pack._State.open(folder, "h")
    assert precious.exists()


def test_altered_weights_are_noticed(tmp_path: Path) -> None:
    import torch

    from t2lib.measure.training.checkpoint import read_checkpoint, save_checkpoint

    path = tmp_path / "x.safetensors"
    tensors = {"a": torch.arange(64.0).view(8, 8), "b": torch.tensor(1, dtype=torch.int64)}
    save_checkpoint(path, tensors, {"D": 5})
    whole = path.read_bytes()
    got, meta = read_checkpoint(path)
    assert meta == {"D": 5}
    assert {name: t.tolist() for name, t in got.items()} == {
        name: t.tolist() for name, t in tensors.items()
    }
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="does not match its SHA-256"):
        read_checkpoint(path)
    path.write_bytes(whole.replace(rb"{\"D\": 5}", rb"{\"D\": 6}"))
    with pytest.raises(ValueError, match="does not match its SHA-256"):
        read_checkpoint(path)


def test_an_altered_record_is_noticed(tmp_path: Path) -> None:
    record = {
        "run_id": "aaa", "N": 10, "N_non_embedding": 5, "D": 100, "seed": 0, "stage": "base",
        "status": "diverged",
    }  # fmt: skip
    store.write_run(tmp_path, record, None)
    path = tmp_path / "runs" / "aaa.json"
    assert store.read_record(path)["D"] == 100
    path.write_text(path.read_text().replace('"D": 100', '"D": 108'))
    with pytest.raises(ValueError, match="does not match the SHA-256 that it carries"):
        store.read_record(path)


# ---------------------------------------------------------------- downloads


def test_every_download_is_encrypted_pinned_and_limited() -> None:
    for source in registry.SOURCES:
        for file in source.files.values():
            assert file.url.startswith("https://")
            assert 0 < file.max_bytes <= 2_000_000_000
            if file.recorded:  # nobody here could reach it: its table's description says so
                assert all("UNVERIFIED" in table.what for table in source.tables.values())
                assert not source.verified
                continue
            assert re.search(r"[0-9a-f]{40}", file.url), "a fixed commit"
            assert file.sha256 or source.members, "a hash of the file, or of its members"
    unpinned = [name for s in registry.SOURCES if not s.verified for name in s.tables]
    assert unpinned == ["bigcode-passk"]


@pytest.mark.parametrize("url", ["http://mirror.example.org/x", "http://10.0.0.7"])
def test_a_mirror_without_encryption_is_refused(monkeypatch: Any, url: str) -> None:
    monkeypatch.setenv("T2LIB_MIRROR", url)
    with pytest.raises(ValueError, match="downloads must come over https"):
        download.mirror()


def test_a_redirect_to_plain_http_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    class Web(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    class Moved:
        """What requests returns after it followed a redirect."""

        def __init__(self, answer: Any) -> None:
            self.status_code, self.ok, self.url = 200, True, "http://elsewhere.example.org/x"

        def __enter__(self) -> Moved:
            return self

        def __exit__(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        import requests

        monkeypatch.setenv("T2LIB_MIRROR", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("T2LIB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(requests, "get", lambda *a, **k: Moved(None))
        file = download.RemoteFile("https://host.example.org/x", 2, "0" * 64)
        with pytest.raises(ValueError, match="downloads must come over https"):
            download.fetch(file, progress=False)
    finally:
        server.shutdown()
        server.server_close()
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


# ---------------------------------------------------------------- pages and servers


@pytest.mark.parametrize(
    "value", ["<script>alert(1)</script>", "`<img src=x onerror=alert(1)>`", "``</div>`", "a`"]
)
def test_parameters_reach_the_page_as_text(value: str) -> None:
    from markdown_it import MarkdownIt

    stamp = {
        "versions": {"t2lib": "1"}, "commit": None, "data": None, "parameters": {"name": value},
        "seconds": 1.0, "cpu": "x", "time_utc": "2026-01-01",
    }  # fmt: skip
    text = runner._provenance_cell(stamp)["source"].split("\n")[1]
    html = MarkdownIt("commonmark").render(text)
    assert re.sub(r"</?(p|strong|code)>", "", html).count("<") == 0
    assert "name = " in html


def test_tables_reach_the_page_as_text() -> None:
    import pandas as pd

    frame = pd.DataFrame({"<script>a": ["<script>alert(1)</script>"]})
    assert "<script>" not in frame.to_html()


def test_no_server_is_opened_to_others() -> None:
    texts = [ROOT / "Makefile", *(ROOT / "book").rglob("*.md"), ROOT / "README.md", *SOURCES]
    texts += (ROOT / "notebooks").glob("*.ipynb")
    for path in texts:
        text = path.read_text(encoding="utf-8")
        for open_door in ("0.0.0.0", "--ip=*", "token=''", 'token=""', "allow_origin"):
            assert open_door not in text, f"{path} has {open_door}"


def test_jupyter_listens_on_this_machine_with_a_token() -> None:
    serverapp = pytest.importorskip("jupyter_server.serverapp")
    app = serverapp.ServerApp()
    assert app.ip in ("localhost", "127.0.0.1")
    assert app.identity_provider_class().token
    assert not app.allow_origin


def test_chapters_talk_to_their_kernel_on_this_machine(tmp_path: Path) -> None:
    manager = runner._own_kernel(tmp_path, tmp_path)()
    assert manager.ip in ("127.0.0.1", "localhost")
    assert manager.session.key, "messages are signed"


def test_every_notebook_is_free_of_raw_html_output() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                source = "".join(cell["source"])
                assert "escape=False" not in source, path.name
                assert "%%html" not in source, path.name
