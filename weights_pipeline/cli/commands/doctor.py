"""``weights doctor``: is this machine fit to run the pipeline.

Scope: the command, the clock, and how findings are printed. Not here: what is examined (``doctor``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from weights_pipeline.cli import common

if TYPE_CHECKING:
    from weights_pipeline.doctor import Diagnosis

_STATE, _LABEL = 6, 14


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
        render.say()
        render.counts(counts["ok"], counts["warn"], counts["fail"])
    return common.FAILED if counts["fail"] else 0


def _print(diagnosis: Diagnosis) -> None:
    """Print one finding as it comes: state and name to the left, the rest beside it, what to do beneath."""
    from weights_pipeline.cli import render

    name = f"{diagnosis.name:<{_LABEL}}"
    render.say(f"{name}{diagnosis.found}", mark=f"{diagnosis.state:<{_STATE}}", hang=_STATE + _LABEL)
    beneath = [("·", detail) for detail in diagnosis.details] + [("→", diagnosis.todo)] * bool(diagnosis.todo)
    for sign, text in beneath:
        render.say(f"{'':{_STATE + _LABEL}}{sign} {text}", hang=_STATE + _LABEL + 2)
