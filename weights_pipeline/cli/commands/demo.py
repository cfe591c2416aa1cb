"""``weights demo``: the sample book from its files to its newest weights.

Scope: the command, which is ``weights run`` and then ``weights show``. Not here: either of them.
"""

from __future__ import annotations

import argparse

from weights_pipeline.cli import common
from weights_pipeline.cli.commands.run import run_book
from weights_pipeline.cli.commands.show import print_weights

_BOOK = "calmar_core"


def add(commands: common.Commands) -> None:
    """Declare the command."""
    common.command(commands, "demo", _demo)


def _demo(options: argparse.Namespace) -> int:
    """Materialise the full history of the sample book and show its newest weights and checks."""
    from weights_pipeline.cli import render

    workspace = common.workspace()
    report = run_book(workspace, _BOOK, None, None, as_json=options.json)
    if not report.success:
        return common.FAILED
    if not options.json:
        print_weights(workspace, _BOOK, None, as_json=False)
        render.next_steps()
    return 0
