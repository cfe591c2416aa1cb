"""``weights demo``: the sample book from its files to its newest weights.

Scope: the command, which is ``weights run`` and then ``weights show``. Not here: either of them.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from weights_pipeline.cli import common
from weights_pipeline.cli.commands.run import run_book
from weights_pipeline.cli.commands.show import print_weights
from weights_pipeline.shipped import shipped

_BOOK = "calmar_core"


def add(commands: common.Commands) -> None:
    """Declare the command."""
    common.command(commands, "demo", _demo)


def _demo(options: argparse.Namespace) -> int:
    """Materialise the full history of the sample book and show its newest weights and checks."""
    from weights_pipeline.cli import render

    # Where there is no desk, the sample is that of the package; what is written stays in `.home` as ever.
    alone = "WEIGHTS_DATA" not in os.environ and not Path("data").is_dir()
    if alone:
        os.environ["WEIGHTS_DATA"] = str(shipped("data"))
    workspace = common.workspace()
    report = run_book(workspace, _BOOK, None, None, as_json=options.json)
    if not report.success:
        return common.FAILED
    if not options.json:
        print_weights(workspace, _BOOK, None, as_json=False)
        render.next_steps(workspace.settings.data if alone else None)
    return 0
