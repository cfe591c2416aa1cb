"""The site of the docs: what MkDocs asks this file for while it builds; see mkdocs.yml.

A page of the site has the path that it has in the repository, so that its links lead to the same places on the site and
on a code host: README is the front page, and a file that a page links to is part of the site. The notebook becomes a
page as it stands, with the outputs stored in it. The API reference has one page for each room, made from the modules.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import weights_pipeline.live

sys.path.insert(0, str(Path(__file__).parent))

from docstrings import formulas

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "weights_pipeline"
FENCE = re.compile(r"(?m)^(`{3,})(\w+) (\S+)$")
"""A block that names the file it is."""


class Notebook(File):
    """A notebook as a page: its sentences, its code, and what it printed and drew when it was stored."""

    def is_documentation_page(self) -> bool:
        """It is one, though it is no Markdown."""
        return True

    @property
    def content_string(self) -> str:
        """The notebook as Markdown."""
        cells = json.loads(self.content_bytes)["cells"]
        return "\n\n".join(part for cell in cells for part in markdown(cell))


def markdown(cell: dict[str, object]) -> list[str]:
    """Parts of a page that a cell of a notebook is."""
    source = "".join(cell["source"])  # type: ignore[call-overload]
    if cell["cell_type"] == "markdown":
        return [source]
    parts = [f"```python\n{source}\n```"]
    for output in cell["outputs"]:  # type: ignore[attr-defined]
        data = output.get("data", {})
        if "image/png" in data:
            parts.append(f"![figure](data:image/png;base64,{''.join(data['image/png']).strip()})")
        else:
            text = "".join(data.get("text/plain") or output["text"]).rstrip("\n")
            parts.append(f"```text\n{text}\n```")
    return parts


def rooms() -> dict[str, list[str]]:
    """Modules of every page of the API reference, by the name of its room."""
    found = {"core": PACKAGE / "core" / "__init__.py"}
    for entry in sorted((PACKAGE / "core").iterdir()):
        if entry.is_dir() and (entry / "__init__.py").exists():
            found[f"core.{entry.name}"] = entry
        elif entry.suffix == ".py" and entry.stem != "__init__":
            found[f"core.{entry.stem}"] = entry
    found["live"] = PACKAGE / "live"
    return {
        name: [
            ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for file in sorted([entry] if entry.is_file() else entry.rglob("*.py"))
        ]
        for name, entry in found.items()
    }


def reference(name: str, modules: list[str]) -> str:
    """A page of the API reference: what comes from the package itself, by its place, and every module."""
    offered = [getattr(weights_pipeline.live, each) for each in weights_pipeline.live.__all__] if name == "live" else []
    links = [f"[`{each.__name__}`][{each.__module__}.{each.__qualname__}]" for each in offered]
    imported = [f"`from weights_pipeline.live import …`: {', '.join(links)}."] if links else []
    hidden = "\n    options: {members: false}" if links else ""
    first, *others = modules
    return "\n\n".join([f"# {name}", f"::: {first}{hidden}", *imported, *(f"::: {module}" for module in others)])


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Append the API reference to what is navigated."""
    assert config.nav is not None  # noqa: S101
    config.nav.append({"API reference": [{name: f"reference/{name}.md"} for name in rooms()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """All files of the site, by their paths in the repository."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    site: dict[str, File] = {}
    waiting = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        *(style for style in config.extra_css if (ROOT / style).exists()),
        *(f"docs/{file.src_uri}" for file in files.documentation_pages()),
        *(f"docs/{notebook.name}" for notebook in (ROOT / "docs").glob("*.ipynb")),
    ]
    while waiting:
        path = waiting.pop()
        if path in site:
            continue
        kind = Notebook if path.endswith(".ipynb") else File
        site[path] = kind.generated(config, path, abs_src_path=str(ROOT / path))
        if site[path].is_documentation_page():
            waiting += linked(ROOT / path)
    for name, modules in rooms().items():
        site[f"reference/{name}.md"] = File.generated(config, f"reference/{name}.md", content=reference(name, modules))
    return Files([*theme, *site.values()])


def linked(page: Path) -> list[str]:
    """Files of the repository that a page links to or shows."""
    targets = re.findall(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)", page.read_text(encoding="utf-8"))
    files = ((page.parent / unquote(target)).resolve() for target in targets)
    return [file.relative_to(ROOT).as_posix() for file in files if file.is_file()]


def on_page_markdown(text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A block that names its file has the name as its title."""
    return FENCE.sub(r'\1\2 title="\3"', text)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas are set here, and not by a script in the browser."""
    return formulas(html)
