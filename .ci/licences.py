#!/usr/bin/env python3
"""Licences of what the package needs at run time, as docs/licences.md: `make licences` writes it again.

Reads the dependencies from pyproject.toml and their licences from the installed packages. Names are normalised as the
package index does it, and markers are those of this machine.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PERMISSIVE = re.compile(
    r"MIT|MIT-0|MIT-CMU|BSD|BSD-[0-3]-Clause|0BSD|Apache-2\.0|ISC|PSF-2\.0|Python-2\.0|Zlib|HPND|Unlicense|CC0-1\.0"
)
NOTES = {
    r"\bLGPL": "Lesser GPL: free to use as an installed library; changes to it stay under it, and it has to stay "
    "replaceable.",
    r"\bA?GPL": "GPL: whoever passes it on together with other code passes all of it on under the GPL. Take advice.",
    r"\bMPL": "Mozilla: changes to its own files stay under it; nothing else is touched.",
}
"""What licences that are not simply permissive ask, by what stands in their names; the first one that fits."""

BUNDLED = (
    "Wheels of numpy and scipy hold the run-time libraries of the GNU compilers (GPL-3.0 with the exception that lets\n"
    "programs of any licence use them) and OpenBLAS (BSD-3-Clause); those of psycopg2-binary hold libpq, OpenSSL and\n"
    "what these need, each under its own licence. Those of plutoprint hold cairo and libssh (LGPL-2.1), HarfBuzz,\n"
    "FreeType and ICU, and curl with OpenSSL, which a report never calls: it fetches nothing."
)
_SHORT = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL",
    "The Unlicense (Unlicense)": "Unlicense",
}
_WORDS = (
    (r"^apache.*2", "Apache-2.0"),
    (r"^(the )?mit\b", "MIT"),
    (r"^(3-clause bsd|new bsd|modified bsd|bsd-3)", "BSD-3-Clause"),
    (r"^bsd", "BSD"),
    (r"^lgpl", "LGPL"),
)


def main() -> int:
    """Write the page; 1 where a package is not installed or states no licence."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    parts = [
        ("What the package needs", project["dependencies"]),
        (
            "What charts, alerts and AWS need besides (extras `report`, `alerts` and `aws`)",
            [*extras["report"], *extras["alerts"], *extras["aws"]],
        ),
        (
            "What a deployed stage needs besides all of these (extra `deploy`)",
            [line for line in extras["deploy"] if not line.startswith(project["name"])],
        ),
        (
            "What the report as a PDF needs besides (extra `pdf`)",
            [line for line in extras["pdf"] if not line.startswith(project["name"])],
        ),
        ("What an engine of several processes needs besides (extra `dask`)", extras["dask"]),
        ("What the method `skfolio` needs besides (extra `skfolio`)", extras["skfolio"]),
    ]
    direct = [Requirement(line) for _, lines in parts for line in lines]
    try:
        every = closure(direct)
    except PackageNotFoundError as error:
        sys.stderr.write(f"licences: {error.name} is not installed; run `make licences`, which installs it first\n")
        return 1
    licences = {name: licence(found) for name, found in sorted(every.items())}
    page = [
        "# Licences",
        "",
        "Made by `make licences` from `pyproject.toml` and from what the packages say of themselves. weights-pipeline",
        "itself is under Apache-2.0 and holds no code of these packages: they are installed beside it.",
    ]
    for title, lines in parts:
        rows = sorted(
            (canonicalize_name(r.name), ",".join(sorted(map(str, r.specifier), reverse=True)))
            for r in map(Requirement, lines)
        )
        page += [
            "",
            f"## {title}",
            "",
            *table(["Package", "Versions", "Licence"], [(*r, licences[r[0]]) for r in rows]),
        ]
    odd = [(name, found, note(found)) for name, found in licences.items() if note(found)]
    page += ["", "## Not simply permissive", "", *table(["Package", "Licence", "What it asks"], odd), "", BUNDLED]
    named = {canonicalize_name(r.name) for r in direct}
    brought = [(name, found) for name, found in licences.items() if name not in named]
    page += ["", "## What these bring along", "", *table(["Package", "Licence"], brought)]
    (ROOT / "docs" / "licences.md").write_text("\n".join([*page, ""]), encoding="utf-8")
    unknown = [name for name, found in licences.items() if not found]
    if unknown:
        sys.stderr.write(f"licences: {', '.join(unknown)}: no licence is stated; look it up\n")
    return 1 if unknown else 0


def closure(direct: Iterable[Requirement]) -> dict[str, Distribution]:
    """Installed packages that requirements ask for, directly or not, by name."""
    found: dict[str, Distribution] = {}
    waiting = list(direct)
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        asked = waiting.pop()
        name, extras = canonicalize_name(asked.name), frozenset(asked.extras)
        if (name, extras) in seen or (asked.marker and not asked.marker.evaluate({"extra": ""})):
            continue
        seen.add((name, extras))
        found[name] = distribution(name)
        waiting += required(found[name], extras)
    return found


def required(package: Distribution, extras: Iterable[str]) -> Iterator[Requirement]:
    """What a package requires with some of its extras; markers that hold are dropped."""
    for line in package.requires or ():
        asked = Requirement(line)
        if asked.marker is None or any(asked.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            asked.marker = None
            yield asked


def licence(package: Distribution) -> str:
    """Licence that a package states: the SPDX expression, else the classifiers, else the first line of the text."""
    stated = package.metadata
    if expression := stated.get("License-Expression"):
        return str(expression)
    classified = [each.split(" :: ")[-1] for each in stated.get_all("Classifier", []) if each.startswith("License ::")]
    if specific := [_SHORT.get(each, each) for each in classified if each != "OSI Approved"]:
        return ", ".join(sorted(set(specific)))
    first = str(stated.get("License") or "").strip().partition("\n")[0].strip()
    return next((short for words, short in _WORDS if re.match(words, first, re.IGNORECASE)), first)


def note(stated: str) -> str:
    """What a licence that is not simply permissive asks; empty for one that is."""
    parts = re.split(r" AND | OR |, ", stated.replace("(", "").replace(")", ""))
    if all(PERMISSIVE.fullmatch(part) for part in parts):
        return ""
    return next((says for named, says in NOTES.items() if re.search(named, stated)), "To be read by a person.")


def table(headings: list[str], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Lines of a Markdown table; a sentence where it has no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings), *lines] if lines else ["None."]


if __name__ == "__main__":
    sys.exit(main())
