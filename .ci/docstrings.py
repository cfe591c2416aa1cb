"""Docstrings as Markdown: how the API reference reads the marks of reStructuredText in them; see mkdocs.yml.

Roles become links, which have to lead somewhere, tables become tables, and formulas are set by ``formulas``.
"""

from __future__ import annotations

import html
import re
import textwrap

import griffe
from latex2mathml.converter import convert

ROLE = re.compile(r":(?:func|class|attr|mod|meth|data|exc):`~?([^`]+)`")
MATH = re.compile(r":math:`([^`]+)`")
DISPLAYED = re.compile(r"(?m)^( *)\.\. math:: *((?:.+\n?)(?:\1 +\S.*\n?)*)")
TABLE = re.compile(r"(?m)^( *)(=+) =+\n((?:.+\n)+?)\1=+ =+$")
SET = re.compile(r'<(span|div) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', re.DOTALL)


class Docstrings(griffe.Extension):
    """Rewrites every docstring of a package once all of it is loaded, since links lead from module to module."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Rewrite the docstrings of the rooms that the reference is of."""
        for room in ("core", "live"):
            self.rewrite(pkg.members[room])

    def rewrite(self, found: griffe.Object | griffe.Alias) -> None:
        """Rewrite the docstring of an object, and of what is in it."""
        if found.docstring:
            found.docstring.value = markdown(found.docstring.value, found)
        for member in found.members.values():
            if isinstance(member, griffe.Object):
                self.rewrite(member)


def markdown(text: str, where: griffe.Object) -> str:
    """A docstring as Markdown."""
    text = TABLE.sub(lambda table: rows(table[1], len(table[2]), table[3]), text)
    text = DISPLAYED.sub(lambda math: f"{math[1]}\\[ {' '.join(math[2].split())} \\]\n", text)
    text = MATH.sub(lambda math: rf"\({math[1]}\)", text)
    return ROLE.sub(lambda role: f"[`{role[1].rsplit('.', 1)[-1]}`][{path(role[1], where)}]", text)


def path(name: str, where: griffe.Object) -> str:
    """Where a name leads that a docstring uses: an object in reach of it, or a path."""
    if name.startswith("weights_pipeline."):
        return name
    if name.startswith("."):
        return f"{where.module.path.rpartition('.')[0]}{name}"
    first, dot, rest = name.partition(".")
    try:
        return where.resolve(first) + dot + rest
    except griffe.NameResolutionError:
        # The build stops at a link that leads nowhere, and names the page.
        return name


def rows(indent: str, width: int, body: str) -> str:
    """A table of two columns; a line that begins in the second one goes on with the row before it."""
    cells: list[list[str]] = []
    for line in textwrap.dedent(body).splitlines():
        if name := line[:width].strip():
            cells.append([name, line[width:].strip()])
        else:
            cells[-1][1] += f" {line.strip()}"
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in [["name", "what it is"], *cells]]
    lines.insert(1, "--- | ---")
    return textwrap.indent("\n".join(f"| {line} |" for line in lines), indent)


def formulas(page: str) -> str:
    """HTML with its formulas as MathML, which browsers set by themselves."""
    return SET.sub(
        lambda math: convert(html.unescape(math[2]), display="block" if math[1] == "div" else "inline"), page
    )
