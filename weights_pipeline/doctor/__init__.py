"""Doctor: is this machine fit to run the pipeline, and if not, what is to be done.

Scope: the examinations of ``weights doctor``, each a small function of a :class:`Patient`, and making them. Not here:
whether the numbers are right (``checks``). Nothing here creates or changes anything: what is not there is reported, and
no folder, file, table or object comes into being by looking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from weights_pipeline.doctor.machine import books, calendars, clock, disk, home, python, settings, variables, zones
from weights_pipeline.doctor.orchestration import (
    code_location,
    configuration,
    daemon,
    records,
    schedules,
    sensors,
    turns,
    webserver,
)
from weights_pipeline.doctor.patient import PATIENCE, Answer, Diagnosis, Patient
from weights_pipeline.doctor.stored import cells, former, live, lock, schema, store
from weights_pipeline.settings import without_secrets
from weights_pipeline.tables.errors import StoreLockedError

__all__ = ["EXAMINATIONS", "Diagnosis", "Patient", "examine"]

_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|ALERTS|CREDENTIAL")

EXAMINATIONS: tuple[Callable[[Patient], Answer], ...] = (
    python,
    settings,
    variables,
    books,
    home,
    configuration,
    records,
    disk,
    clock,
    zones,
    calendars,
    lock,
    store,
    schema,
    cells,
    live,
    former,
    code_location,
    daemon,
    webserver,
    turns,
    schedules,
    sensors,
)
"""Every examination, in the order in which they are made and shown; a new one is a function and an entry here."""


def examine(patient: Patient, examinations: Sequence[Callable[[Patient], Answer]] | None = None) -> Iterator[Diagnosis]:
    """Make examinations; one that stops with an error is a failure that says so, and no text holds a secret.

    Parameters
    ----------
    patient
        What is examined.
    examinations
        Which; all of :data:`EXAMINATIONS` when left out.

    Yields
    ------
    Diagnosis
        In order. What cannot be looked at because of a failure reported before is a warning.
    """
    reported = set[str]()
    for examination in EXAMINATIONS if examinations is None else examinations:
        name = examination.__name__.replace("_", " ")
        try:
            state, found, todo, *details = examination(patient)
        except StoreLockedError:
            busy = f"not looked at: the store is being written to, and was not free within {PATIENCE:g} s"
            state, found, todo, details = "warn", busy, "Run this again when it is free.", []
        except Exception as error:
            said = " ".join(str(error).split())
            if said in reported:
                state, found, todo, details = "warn", "not looked at, because of the failure above", "", []
            else:
                state, found, todo, details = "fail", said or type(error).__name__, _remedy(error), []
            reported.add(said)
        shown = (_shown(text, patient.environment) for text in (found, todo, *details))
        yield Diagnosis(name=name, state=state, found=next(shown), todo=next(shown), details=tuple(shown))


def _remedy(error: Exception) -> str:
    """What to do about an error that nobody expected; those of the project say so themselves."""
    own = type(error).__module__.startswith("weights_pipeline")
    return "" if own else f"Put the cause right ({type(error).__name__}), then run this again."


def _shown(text: str, environment: Mapping[str, str]) -> str:
    """Text without the content of variables that are secret, and without credentials in URLs."""
    for name, value in environment.items():
        if _SECRET.search(name):
            # Of several, such as receivers of alerts, each by itself; what is shorter is part of ordinary words.
            for part in (value, *value.split()):
                text = text.replace(part, "***") if len(part) > 5 else text
    return re.sub(r"\S*(://|@)\S*", lambda word: without_secrets(word[0]), text)
