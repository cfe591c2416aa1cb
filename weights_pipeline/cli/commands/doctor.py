"""``weights doctor``: is this machine fit to run the pipeline.

Scope: the command, the clock, and how findings are printed. Not here: what is examined (``doctor``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING

from weights_pipeline.cli import common
from weights_pipeline.text import visible

if TYPE_CHECKING:
    from weights_pipeline.doctor import Diagnosis

_WIDEST = 120
_LABEL = 20


def add(commands: common.Commands) -> None:
    """Declare the command."""
    common.command(commands, "doctor", _doctor)


def _doctor(options: argparse.Namespace) -> int:
    """Examine this machine: versions, settings, store, daemon, schedules, clock and more, and say what to do."""
    from weights_pipeline.cli import render
    from weights_pipeline.doctor import Patient, examine

    # A service that is not there is found out at once, not after all the attempts that a rebalance would make.
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "1")
    found = []
    for diagnosis in examine(Patient(dict(os.environ), dt.datetime.now(dt.UTC))):
        found.append(diagnosis)
        if not options.json:
            _print(diagnosis)
    counts = {state: sum(each.state == state for each in found) for state in ("ok", "warn", "fail")}
    if options.json:
        common.print_json({"counts": counts, "examinations": [asdict(each) for each in found]})
    else:
        render.say(f"\n{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed.")
    return common.FAILED if counts["fail"] else 0


def _print(diagnosis: Diagnosis) -> None:
    """Print one finding as it comes: state and name to the left, the rest beside it, what to do beneath."""
    from weights_pipeline.cli import render

    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST) - 1
    label = f"{diagnosis.state:<5} {diagnosis.name}".ljust(_LABEL)
    lines = [(label, diagnosis.found)]
    lines += [(f"{'':{_LABEL}}· ", detail) for detail in diagnosis.details]
    lines += [(f"{'':{_LABEL}}→ ", diagnosis.todo)] * bool(diagnosis.todo)
    for first, text in lines:
        for line in textwrap.wrap(
            visible(text, common.LAYOUT),
            width,
            initial_indent=first,
            subsequent_indent=" " * len(first),
            break_long_words=False,
            break_on_hyphens=False,
        ):
            render.say(line)
