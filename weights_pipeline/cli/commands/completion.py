"""``weights completion``: lets a shell complete commands, options, and the names of books and ledgers.

Scope: the command, and the answer to a shell that asks. Not here: which commands there are (``app``).

A shell asks by calling `weights` with a variable of argcomplete at each press of the tabulator. Names are those of the
files in the data folder: no book is read for it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

from weights_pipeline.cli import common

_SHELLS = ("bash", "zsh", "fish")


def add(commands: common.Commands) -> None:
    """Declare the command."""
    completion = common.command(commands, "completion", _completion)
    completion.add_argument("shell", choices=_SHELLS, help="shell to print it for")


def _completion(options: argparse.Namespace) -> int:
    """Print what makes a shell complete `weights`; in bash or zsh: eval "$(weights completion bash)"."""
    import sys

    from argcomplete.shell_integration import shellcode

    script = shellcode(["weights"], True, options.shell)
    if options.json:
        common.print_json({"shell": options.shell, "script": script})
    else:
        sys.stdout.write(script)
    return 0


def answer(parser_of: Callable[[str], argparse.ArgumentParser]) -> None:
    """Answer the shell that asks how a command line may go on, and end; its first word is one that is finished."""
    import os

    import argcomplete
    from argcomplete.lexers import split_line

    _, first, *_ = [*split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))[3], "", ""]
    parser = parser_of(first)
    for action in _actions(parser):
        if action.dest == "book" and action.type is None:
            action.completer = _books  # type: ignore[attr-defined]  # where argcomplete looks for it
        elif action.dest == "ledger":
            action.completer = _ledgers  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for beneath in action.choices.values():
                yield from _actions(beneath)


def _books(**_: Any) -> list[str]:
    return common.named("books")


def _ledgers(prefix: str, **_: Any) -> list[str]:
    """Ledgers, and files, which may be checked by themselves."""
    from argcomplete.completers import FilesCompleter

    return [*common.named("ledgers"), *FilesCompleter()(prefix)]
