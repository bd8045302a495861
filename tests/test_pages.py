"""What looks at the built pages, what they launch, and what Binder and Colab are given."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import check_a11y
import check_pages
import colab
import matplotlib as mpl
import matplotlib.pyplot as plt
import pdf
import pytest
import yaml
from browser import NEEDED, chromium, window
from docutils import nodes
from docutils.core import publish_doctree
from files import load_file

ROOT = Path(__file__).resolve().parent.parent
HTML = '<!doctype html><html lang="en"><head><title>x</title></head><body>{}</body></html>'


def write(folder: Path, **pages: str) -> Path:
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(HTML.format(body))
    return folder


def complaints(folder: Path) -> list[str]:
    return list(check_pages.problems(check_pages.read_pages(folder), folder))


# --- links, pictures, weight -----------------------------------------------------------------


def test_links_are_followed_to_file_and_anchor(tmp_path: Path) -> None:
    write(
        tmp_path,
        a='<a href="b.html">x</a><a href="b.html#there">x</a><a href="#here">x</a><p id="here">'
        '<a href="https://example.org/gone">x</a><a href="b.html#law=x&amp;c_train=1e20">x</a>',
        b='<p id="there">',
    )
    assert complaints(tmp_path) == []
    write(tmp_path, a='<a href="c.html">x</a><a href="b.html#nowhere">x</a><a href="#gone">x</a>')
    said = "\n".join(complaints(tmp_path))
    assert "a.html links to c.html, which is not there" in said
    assert "b.html#nowhere, whose anchor is not there" in said
    assert "#gone, whose anchor is not there" in said
    assert len(complaints(tmp_path)) == 3


def test_pictures_need_a_description_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    write(tmp_path, a='<img src="x.png" alt="a curve"><img src="data:image/png,x" alt="y">')
    assert complaints(tmp_path) == []
    write(tmp_path, a='<img src="x.png"><img src="x.png" alt=" "><img src="y.png" alt="z">')
    assert len(complaints(tmp_path)) == 3


def test_drawings_have_few_panels_words_and_dashes_for_forecasts_only(tmp_path: Path) -> None:
    mpl.use("Agg")

    def drawing(panels: int, look: str, label: str) -> list[str]:
        figure, axes = plt.subplots(1, panels, squeeze=False)
        axes[0, 0].plot([0, 1], look, label=label)
        axes[0, 0].legend()
        with mpl.rc_context({"svg.fonttype": "none"}):
            figure.savefig(tmp_path / "x.svg")
        plt.close(figure)
        write(tmp_path, a='<img src="x.svg" alt="a curve">')
        return complaints(tmp_path)

    assert drawing(4, "--", "forecast") == []
    assert drawing(1, ":", "list of answers") == []
    assert drawing(5, "-", "a") == ["a.html: x.svg has 5 panels, more than 4"]
    assert drawing(1, "-", "C_inf = 2e9") == ["a.html: x.svg says C_inf in place of words"]
    (line,) = drawing(1, "--", "a")
    assert line.startswith("a.html: x.svg has dashes, but does not say")


@pytest.mark.skipif(chromium() is None, reason=NEEDED)
@pytest.mark.parametrize("key", ["Escape", "Enter", " "])
def test_a_figure_is_enlarged_and_left_by_keyboard(tmp_path: Path, key: str) -> None:
    script = (ROOT / "book/_static/enlarge.js").read_text(encoding="utf-8")
    theme = (
        "addEventListener('keydown', (e) => { if (e.key === 'Escape') e.preventDefault(); }, true)"
    )
    image = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    (tmp_path / "x.svg").write_text(image, encoding="utf-8")
    body = '<div class="bd-article"><figure><img src="x.svg" alt="a curve"></figure></div>'
    write(tmp_path, a=f"{body}<script>{script}</script><script>{theme}</script>")
    with window() as browser:
        browser.open((tmp_path / "a.html").as_uri())
        browser.run("document.querySelector('figure img').focus()")
        browser.keys("Enter")
        assert browser.run("return document.getElementById('t2-large').open")
        browser.keys(key)
        assert not browser.run("return document.getElementById('t2-large').open")


def test_weight_repeated_ids_and_language_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x" * 1_000_000)
    write(tmp_path, a='<p id="one"><p id="one"><img src="x.png" alt="heavy">')
    (tmp_path / "b.html").write_text("<html><body></body></html>")
    (tmp_path / "c.html").write_text('<meta http-equiv="Refresh" content="0; url=a.html" />')
    said = "\n".join(complaints(tmp_path))
    assert "id 'one' more than once" in said
    assert re.search(r"a\.html weighs 1,000,\d+ bytes", said)
    assert "b.html does not say its language" in said
    assert "c.html" not in said


def test_page_check_tells_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["check_pages.py", str(tmp_path)])
    assert check_pages.main() == 1
    assert "there are no pages" in capsys.readouterr().out
    write(tmp_path, a="")
    assert check_pages.main() == 0
    assert "1 pages, 0 addresses elsewhere, 0 problems" in capsys.readouterr().out


def test_online_check_counts_only_addresses_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, a='<a href="https://example.org/a">x</a><a href="https://example.org/b">x</a>')
    answers = {"https://example.org/a": ("403", False), "https://example.org/b": ("404", True)}
    monkeypatch.setattr(check_pages, "ask", lambda address: (address, *answers[address]))
    monkeypatch.setattr(sys, "argv", ["check_pages.py", str(tmp_path), "--online"])
    assert check_pages.main() == 1
    out = capsys.readouterr().out
    assert "error: https://example.org/b is gone (404)" in out
    assert "error: https://example.org/a" not in out


# --- accessibility ---------------------------------------------------------------------------


FAKE_AXE = """window.axe = {run: async () => ({violations: [...document.images]
  .filter(x => !x.alt).map(x => ({id: 'image-alt', impact: 'critical', help: 'no alt',
  nodes: [{target: ['img'], html: x.outerHTML}]}))
  .concat([{id: 'region', impact: 'moderate', help: 'x', nodes: []}])})};"""


@pytest.mark.skipif(chromium() is None, reason=NEEDED)
def test_accessibility_check_reports_grave_findings_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    axe = tmp_path / "axe.js"
    axe.write_text(FAKE_AXE)
    write(tmp_path, good="<p>x</p>", bad='<img src="x.png">')
    words = ["check_a11y.py", "--axe", str(axe)]
    monkeypatch.setattr(sys, "argv", [*words, str(tmp_path / "good.html")])
    assert check_a11y.main() == 0
    monkeypatch.setattr(sys, "argv", [*words, str(tmp_path)])
    assert check_a11y.main() == 1
    out = capsys.readouterr().out
    assert out.count("image-alt (critical)") == len(check_a11y.VIEWS)
    assert "region" not in out
    assert f"2 pages, each looked at as light, dark, phone: {len(check_a11y.VIEWS)} findings" in out


FITS = """<p>text<sub style="font-size: 9px">1</sub>
<svg viewBox="0 0 100 20" width="300" height="60"><text font-size="5" y="10">scaled up</text></svg>
<div style="overflow-x: auto"><pre style="width: 900px">a box of its own</pre></div>
<p style="font-size: 3px; visibility: hidden">unseen</p>"""


@pytest.mark.skipif(chromium() is None, reason=NEEDED)
def test_a_phone_shows_the_whole_page_in_letters_that_can_be_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        fits=FITS,
        wide='<p id="culprit" style="width: 500px">x</p>',
        small='<p style="font-size: 11px">fine print</p><svg viewBox="0 0 640 90" width="320">'
        '<text font-size="18" y="20">shrunk</text></svg>',
        equation='<mjx-container><svg width="100" viewBox="0 0 10000 1000"></svg></mjx-container>',
    )

    with window() as browser:
        browser.resize(*check_a11y.VIEWS[-1].size)

        def misfits(name: str) -> list[list[str]]:
            browser.open((tmp_path / f"{name}.html").as_uri())
            return list(check_a11y.misfits(browser))

        assert misfits("fits") == []
        ((sentence, culprit),) = misfits("wide")
        assert re.fullmatch(r"is \d+ pixels wide", sentence)
        assert "culprit" in culprit
        ((sentence, *texts),) = misfits("small")
        assert sentence == "has text smaller than 12 pixels"
        assert [text.split(":")[0] for text in texts] == ["11.0 pixels", "9.0 pixels"]
        ((_, equation),) = misfits("equation")
        assert equation.startswith("10.0 pixels: <mjx-container")


def test_accessibility_check_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_a11y, "chromium", lambda: None)
    monkeypatch.setattr(sys, "argv", ["check_a11y.py", str(tmp_path)])
    assert check_a11y.main() == 2
    assert "apt-get install chromium" in capsys.readouterr().out
    monkeypatch.setattr(check_a11y.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="needs npm"):
        check_a11y.fetch_axe(tmp_path / "none")


# --- launch ----------------------------------------------------------------------------------


def extension() -> ModuleType:
    return load_file("book/_ext/pages.py")


def page(pages: ModuleType, name: str, repository: str) -> dict[str, list[object]]:
    config = SimpleNamespace(t2_repository=repository, t2_branch="main")
    context: dict[str, list[object]] = {"header_buttons": [], "script_files": []}
    app = SimpleNamespace(config=config, srcdir=ROOT)
    pages.add_launch(app, name, "page.html", context, None)
    return context


def test_law_chapters_have_launch_buttons_where_the_repository_is_known() -> None:
    pages = extension()
    group = page(pages, "results/02_fit", "owner/name")["header_buttons"][0]
    assert isinstance(group, dict)
    urls = [button["url"] for button in group["buttons"]]
    assert urls == [
        "https://mybinder.org/v2/gh/owner/name/main?labpath=notebooks%2F02_fit.ipynb",
        "https://colab.research.google.com/github/owner/name/blob/colab/02_fit.ipynb",
    ]
    for name, repository in [
        ("results/02_fit", ""),
        ("results/01_collect", "owner/name"),  # needs torch
        ("book/intro", "owner/name"),
    ]:
        assert page(pages, name, repository)["header_buttons"] == []


def test_the_whole_book_is_offered_where_it_will_be() -> None:
    pages = extension()
    for name, count in (("t2lib.pdf", 1), ("", 0)):
        app = SimpleNamespace(config=SimpleNamespace(t2_pdf=name))
        group = {"label": "download-buttons", "buttons": []}
        context = {"header_buttons": [group], "pathto": lambda target, _: f"../{target}"}
        pages.add_pdf(app, "book/intro", "page.html", context, None)
        assert [button["url"] for button in group["buttons"]] == ["../t2lib.pdf"] * count


@pytest.mark.skipif(chromium() is None, reason=NEEDED)
def test_a_page_is_printed(tmp_path: Path) -> None:
    write(tmp_path, a="<h1>Title</h1>" + "<p>text</p>" * 200)
    out = tmp_path / "deep" / "a.pdf"
    with window() as browser:
        assert pdf.print_page(browser, tmp_path / "a.html", out) == out.stat().st_size
    data = out.read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", data)) > 1


def test_unused_thebe_scripts_are_left_out() -> None:
    kept = SimpleNamespace(filename="a.js", attributes={})
    scripts = [
        kept,
        SimpleNamespace(filename=None, attributes={"body": 'const THEBE_JS_URL = "x"'}),
        SimpleNamespace(filename="_static/sphinx-thebe.js", attributes={}),
    ]
    sheet = SimpleNamespace(filename="_static/t2.css")
    sheets = [SimpleNamespace(filename="_static/sphinx-thebe.css"), sheet]
    context = {"script_files": scripts, "css_files": sheets}
    extension().drop_thebe(None, "x", "page.html", context, None)
    assert context["script_files"] == [kept]
    assert context["css_files"] == [sheet]


def test_long_signatures_become_rows() -> None:
    row = '<dd><em class="sig-param"><span>{}</span></em>,</dd>\n'
    kept = "<dl><dt>term</dt><dd>meaning</dd></dl>"
    body = f"<dt>\n<dl>\n{row.format('a')}{row.format('b')}</dl>\n</dt>{kept}"
    body += '<div role="list"><div role="doc-biblioentry">x</div></div>'
    context = {"body": body}
    extension().mend_lists(None, "x", "page.html", context, None)
    assert context["body"].count('<span class="sig-row">') == 2
    assert context["body"].count("<dl>") == 1
    assert kept in context["body"]
    assert '<div role="list"><div role="listitem">' in context["body"]


def test_copies_for_colab_begin_with_what_installs(tmp_path: Path) -> None:
    names = colab.write(tmp_path, "owner/name", "main")
    assert {"02_fit", "03_allocate"} <= set(names)
    assert "01_collect" not in names
    cells = json.loads((tmp_path / "02_fit.ipynb").read_text())["cells"]
    assert "github.com/owner/name /content/t2lib" in "".join(cells[0]["source"])
    original = json.loads((ROOT / "notebooks/02_fit.ipynb").read_text())["cells"]
    assert [cell["id"] for cell in cells[1:]] == [cell["id"] for cell in original]


@pytest.mark.parametrize(
    ("repository", "branch"), [("a b/c", "main"), ("a/b", "x; rm"), ("a", "-x")]
)
def test_copies_for_colab_take_names_only(tmp_path: Path, repository: str, branch: str) -> None:
    with pytest.raises(ValueError, match="must look like"):
        colab.write(tmp_path, repository, branch)


def test_binder_gets_the_pins_that_light_chapters_need() -> None:
    text = (ROOT / "binder/requirements.lock").read_text()
    names = {line.partition("==")[0] for line in text.splitlines() if "==" in line}
    assert {"numpy", "scipy", "pandas", "pyarrow", "matplotlib", "myst-nb", "jupyterlab"} <= names
    assert not names & {"torch", "transformers", "datasets", "jupyter-book"}
    assert "--no-deps ." in (ROOT / "binder/postBuild").read_text()


def test_workflows_are_valid_and_pin_their_permissions() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        flow = yaml.safe_load(path.read_text())
        assert flow["permissions"] == {"contents": "read"}, path.name
        for job in flow["jobs"].values():
            for step in job["steps"]:
                assert ("uses" in step) != ("run" in step)
                assert "${{" not in step.get("run", "")


def test_a_machine_without_a_browser_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert chromium() is None
    with pytest.raises(RuntimeError, match="apt-get install chromium"), window():
        pass


@pytest.mark.skipif(chromium() is None, reason=NEEDED)
def test_browser_tells_what_a_page_logs_and_shows(tmp_path: Path) -> None:
    write(tmp_path, a="<p>hello</p><script>throw new Error('broken')</script>")
    with window() as browser:
        browser.open((tmp_path / "a.html").as_uri())
        assert browser.text() == "hello"
        assert any("broken" in message for message in browser.errors())
        browser.resize(300, 200)
        assert browser.run("return innerWidth") == 300
        with pytest.raises(TimeoutError, match="the page shows: hello"):
            browser.wait("false", seconds=0.01)
        with pytest.raises(RuntimeError, match="boom"):
            browser.run("throw new Error('boom')")
        browser.screenshot(tmp_path / "a.png")
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_is_shown_before_its_scripts_are_there() -> None:
    script = '<script defer src="../_static/{}?digest=1"></script>'
    unused = "".join(
        script.format(name)
        for name in ("scripts/fontawesome.js", "searchtools.js", "language_data.js")
    )
    unused += '<script src="../searchindex.js"></script><link rel="preload" as="script" href="x" />'
    useful = '<link rel="stylesheet" href="x.css" />' + script.format("scripts/bootstrap.js")
    assert extension().without_unused(f"{unused}{useful}{unused}") == useful

    names = ("doctools.js", "mathjax/tex.js", "documentation_options.js", None)
    scripts = [SimpleNamespace(filename=name, attributes={}) for name in names]
    scripts[1].attributes["async"] = "async"

    def waiting(page: str) -> list[str | None]:
        extension().lighten(None, page, "page.html", {"script_files": scripts}, None)
        return [x.filename for x in scripts if "defer" in x.attributes]

    assert waiting("book/intro") == ["doctools.js"]
    assert waiting("search") == []  # its own scripts need the others


def test_short_names_lead_to_the_module_that_defines_them() -> None:
    targets = []
    domain = SimpleNamespace(resolve_xref=lambda *words: targets.append(words[4]) or "link")
    env = SimpleNamespace(get_domain=lambda name: domain)
    app = SimpleNamespace(builder=None)
    for name, link in (("t2lib.parse_quantity", "link"), ("t2lib.nothing", None), ("x.y", None)):
        node = {"reftarget": name, "refdoc": "book/api/units", "reftype": "func"}
        assert extension().find_short_name(app, env, node, None) == link
    assert targets == ["t2lib.units.parse_quantity"]


# --- what finds the pages --------------------------------------------------------------------


def findable() -> ModuleType:
    return load_file("book/_ext/findable.py")


def parsed(text: str) -> nodes.document:
    return publish_doctree(text, settings_overrides={"report_level": 5})


def test_a_description_is_the_first_paragraph_cut_at_a_word() -> None:
    module = findable()
    long = "Short.\n\n" + "Samples favour small models " * 20
    text = module.description(parsed(long))
    assert len(text) <= module.LONGEST + 2
    assert text.endswith("small …") or text.endswith("models …") or text.endswith("favour …")
    assert module.description(parsed("Short.")) == ""


def test_reading_time_counts_prose_only() -> None:
    module = findable()
    prose = "two words\n" * 330
    code = "\n::\n\n" + "    much code\n" * 1000
    assert module.reading_minutes(parsed(prose + code)) == 3
    assert module.reading_minutes(parsed("word")) == 1


def test_addresses_are_absolute_only_where_the_book_will_lie_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = findable()
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    monkeypatch.delenv("T2_BOOK_URL", raising=False)
    assert module.book_url() == ""
    monkeypatch.setenv("GITHUB_REPOSITORY", "Owner/name")
    assert module.book_url() == "https://owner.github.io/name/"
    monkeypatch.setenv("T2_BOOK_URL", "https://example.org/book")
    assert module.book_url() == "https://example.org/book/"


def test_the_head_of_a_page_describes_it_and_holds_no_markup_of_its_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = findable()
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    monkeypatch.delenv("T2_BOOK_URL", raising=False)
    env = SimpleNamespace(t2_pages={"results/02_fit": ('A "law" <b> of pass@k', 7)})
    config = SimpleNamespace(root_doc="book/intro", html_title="", project="T2")
    context: dict[str, object] = {"title": "Fit", "body": "<h1>Fit</h1><p>x</p>", "metatags": ""}
    app = SimpleNamespace(env=env, config=config)
    module.add_metadata(app, "results/02_fit", "page.html", context, None)
    assert 'name="description" content="A &quot;law&quot; &lt;b&gt; of pass@k"' in str(
        context["metatags"]
    )
    assert "og:image" not in str(context["metatags"])
    assert "7 minutes to read" in str(context["body"])
