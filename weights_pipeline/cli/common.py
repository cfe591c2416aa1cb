"""What commands share: how they are declared, what they are told by the environment, how they end.

Scope: what more than one command needs. Not here: any import that takes time.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from weights_pipeline.text import visible

if TYPE_CHECKING:
    from weights_pipeline.books.book import Book
    from weights_pipeline.settings import Settings
    from weights_pipeline.workspace import BookSetup, Workspace

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

FAILED, INVALID, NOTHING = 1, 2, 3

LAYOUT = "\t\n"
"""What of a text may move the cursor."""


def command(
    commands: Commands, name: str, function: Callable[[argparse.Namespace], int], *, within: bool = False
) -> argparse.ArgumentParser:
    """Declare a command: the first line of its function's docstring is its help, and it knows ``--json``.

    ``within`` says that it belongs to a command that can be called by itself, whose ``--json`` it must not take back.
    """
    text = (function.__doc__ or "").strip()
    added = commands.add_parser(name, help=text.splitlines()[0], description=text)
    added.set_defaults(command=function)
    default = argparse.SUPPRESS if within else False
    added.add_argument("--json", action="store_true", default=default, help="print JSON instead of a table")
    return added


def day(text: str) -> dt.date:
    """Parse a day; argparse names this function when it cannot."""
    return dt.date.fromisoformat(text)


def month(text: str) -> dt.date:
    """Parse a month as its first day; argparse names this function when it cannot."""
    if not re.fullmatch(r"\d{4}-\d\d", text):
        raise ValueError(text)
    return dt.date.fromisoformat(f"{text}-01")


def grid_values(texts: Sequence[str], example: str) -> dict[str, list[Any]]:
    """Values by key of options ``KEY=VALUE,VALUE``, read as YAML: a value may be a mapping, such as ``{rate: 0.1}``.

    Raises
    ------
    ValueError
        A text that is not of this form, a key that is named twice, values that are no YAML.
    """
    import yaml

    values = dict[str, list[Any]]()
    for text in texts:
        key, equals, listed = text.partition("=")
        if not (key and equals and listed) or key in values:
            problem = "is named twice" if key in values else f"expected KEY=VALUE,VALUE such as {example}"
            raise ValueError(f"{text}: {problem}")
        try:
            values[key] = yaml.safe_load(f"[{listed}]")
        except yaml.YAMLError as error:
            raise ValueError(f"{text}: not readable as YAML: {error}") from error
    return values


def add_calendar(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what a session is of a file of returns."""
    parser.add_argument(
        "--calendar",
        default="XNYS",
        metavar="NAME|FILE",
        help="calendar of the sessions in --returns, or a file that lists them (default XNYS)",
    )
    parser.add_argument(
        "--sessions-per-year",
        type=float,
        metavar="N",
        help="sessions that make a year (default 252, and 365 on 24/7)",
    )


def calendar(options: argparse.Namespace) -> tuple[str, float]:
    """Calendar of a file of returns, and its sessions a year; raises LedgerError where there is no such calendar."""
    from pathlib import Path

    from weights_pipeline.ledger.calendars import default_per_year, require_calendar, sessions_file

    name: str = options.calendar
    if Path(name).suffix.lower() in (".csv", ".parquet"):
        name = sessions_file(Path(name).resolve(), "UTC")
    require_calendar(name, per_year=options.sessions_per_year)
    return name, options.sessions_per_year or default_per_year(name)


def named(kind: str) -> list[str]:
    """Names of the books or ledgers in the data folder, by their files: none is read."""
    from pathlib import Path

    return sorted(file.stem for file in Path(os.environ.get("WEIGHTS_DATA") or "data", kind).glob("*.yaml"))


def settings() -> Settings:
    """Settings of this machine; ends the command where they are not usable."""
    from weights_pipeline.settings import Settings, SettingsError

    try:
        return Settings.from_environment(os.environ)
    except SettingsError as error:
        stop(str(error), INVALID)


def workspace() -> Workspace:
    """Workspace of this machine; ends the command where its settings are not usable."""
    from weights_pipeline.workspace import Workspace

    return Workspace(settings())


def book_named(of: Workspace, name: str) -> Book:
    """The book of a name, whatever its ledger; ends the command where there is none, or it is not valid."""
    from weights_pipeline.books.reading import BookError

    try:
        return of.book(name)
    except BookError as error:
        stop(str(error), INVALID)


def only_book(of: Workspace) -> str:
    """Name of the only book there is; ends the command where there are several."""
    names = sorted(setups(of))
    if len(names) != 1:
        stop(f"--book: name one of {', '.join(names)}", INVALID)
    return names[0]


def setups(of: Workspace) -> Mapping[str, BookSetup]:
    """All valid books with what they read, by name; says which are not, and ends the command where none is."""
    from weights_pipeline.books.reading import BookError

    try:
        found, dropped = of.setups, of.dropped
    except BookError as error:
        stop(str(error), INVALID)
    for name, problem in dropped.items():
        sys.stderr.write(f"weights: {name} is left out: {visible(str(problem), LAYOUT)}\n")
    if not found:
        sys.exit(INVALID)
    return found


def setup_named(of: Workspace, name: str) -> BookSetup:
    """The book of a name with what it reads; ends the command where there is none, or it is not valid."""
    from weights_pipeline.books.reading import BookError
    from weights_pipeline.ledger import LedgerError

    try:
        return of.setup(name)
    except (BookError, LedgerError) as error:
        stop(str(error), INVALID)


def print_json(content: Any) -> None:
    """Print JSON, see :func:`json_text`."""
    sys.stdout.write(json_text(content))


def json_text(content: Any) -> str:
    """JSON; a number that is none is null, and what JSON does not know is text."""
    return json.dumps(without_nan(content), indent=2, default=str, allow_nan=False) + "\n"


def give_schema(schema: Mapping[str, Any], options: argparse.Namespace) -> int:
    """Print a JSON Schema, or write it to the file that ``--output`` names."""
    from weights_pipeline.cli import render
    from weights_pipeline.files import write_text

    text = json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    if options.output is None:
        sys.stdout.write(f"{text}\n")
        return 0
    try:
        write_text(options.output, text + "\n")
    except OSError as error:
        stop(f"{options.output}: cannot be written: {error}", FAILED)
    if options.json:
        print_json({"file": options.output})
    else:
        render.say(f"Wrote {options.output}.")
    return 0


def without_nan(content: Any) -> Any:
    """Content with null in place of every NaN."""
    if isinstance(content, Mapping):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content


def stop(message: str, code: int) -> NoReturn:
    """End the command with a message for a person and an exit code for a machine."""
    sys.stderr.write(f"weights: {visible(message, LAYOUT)}\n")
    sys.exit(code)
