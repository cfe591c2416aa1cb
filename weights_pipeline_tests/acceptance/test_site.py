"""The site of the docs: built as `make docs` builds it, whole, readable without a network, its links tried."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

from benchmarks.support.data import DATA

ROOT = DATA.parent
PACKAGE = ROOT / "weights_pipeline"
pytestmark = pytest.mark.xdist_group("site")
SAME_ON_A_CODE_HOST = ("h1", "h2", "h3", "li", "p", "pre", "td", "th", "img")


class Html(HTMLParser):
    """What a page of the site consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.article: Counter[str] = Counter()
        self._inside = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") != "canonical":
            self.loaded.append(given["href"])
        self._inside += tag == "article"
        self.article[tag] += bool(self._inside)

    def handle_endtag(self, tag):
        self._inside -= tag == "article"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return {page.relative_to(folder).as_posix(): Html(page.read_text()) for page in folder.rglob("*.html")}, folder


def test_every_link_and_every_picture_of_the_site_leads_somewhere_on_it(site):
    pages, folder = site
    astray = []
    for name, page in pages.items():
        if name == "404.html":
            # Its links begin at the root of a server.
            continue
        for target in [*page.links, *page.loaded]:
            if re.match(r"https?:|data:|mailto:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (folder / name).parent.joinpath(unquote(path)) if path else folder / name
            file = file.resolve() / "index.html" if file.is_dir() else file.resolve()
            other = file.relative_to(folder.resolve()).as_posix()
            if not file.exists() or (anchor and other in pages and unquote(anchor) not in pages[other].anchors):
                astray.append(f"{name}: {target}")
    assert astray == []


def test_nothing_of_the_site_is_loaded_from_elsewhere(site):
    pages, folder = site
    loaded = [
        f"{name}: {each}" for name, page in pages.items() for each in page.loaded if re.match("(https?:)?//", each)
    ]
    assert loaded == []
    styles = [(file, file.read_text()) for file in folder.rglob("*.css")]
    assert len(styles) > 1
    assert [file for file, text in styles if re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", text)] == []


def test_a_page_reads_on_the_site_as_it_does_on_a_code_host(site):
    pages, _ = site
    host = MarkdownIt("commonmark").enable("table")
    for file in (ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        path = file.relative_to(ROOT).with_suffix(".html").as_posix()
        there = pages["index.html" if path == "README.html" else path].article
        here = Html(f"<article>{host.render(file.read_text())}</article>").article
        assert {tag: there[tag] for tag in SAME_ON_A_CODE_HOST} == {tag: here[tag] for tag in SAME_ON_A_CODE_HOST}, path


def test_every_public_function_of_core_and_live_is_in_the_reference(site):
    pages, _ = site
    anchors = {anchor for name, page in pages.items() if name.startswith("reference/") for anchor in page.anchors}
    public = []
    for file in [*(PACKAGE / "core").rglob("*.py"), *(PACKAGE / "live").rglob("*.py")]:
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        public += [module] + [
            f"{module}.{node.name}"
            for node in ast.parse(file.read_text()).body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
        ]
    assert len(public) > 300
    assert [name for name in public if name not in anchors] == []


def test_formulas_tables_and_links_of_docstrings_are_set(site):
    pages, folder = site
    assert sum(page.article["math"] for page in pages.values()) > 50
    state = (folder / "reference" / "core.allocator.html").read_text()
    assert re.search(r"<td><code>vol_accel</code></td>\s*<td>port_rvol_20d / port_rvol_60d", state)
    for page in (folder / "reference").glob("*.html"):
        assert not re.search(r":(func|class|mod|meth|attr|math):|class=\"arithmatex\"|\.\. math", page.read_text()), (
            page
        )


def test_every_page_of_the_docs_is_in_the_navigation_of_the_site(site):
    pages, _ = site
    linked = {Path(link).name for link in pages["index.html"].links}
    written = [page for page in (ROOT / "docs").iterdir() if page.suffix in (".md", ".ipynb")]
    assert [page.name for page in written if f"{page.stem}.html" not in linked] == []
