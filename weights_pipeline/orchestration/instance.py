"""The Dagster instance that a stage records on.

Scope: where it is, and its configuration. Not here: what is recorded.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.storage.runs import SqliteRunStorage

from weights_pipeline.orchestration.event_log import kept_open
from weights_pipeline.orchestration.step_logs import in_files_alone
from weights_pipeline.settings import Settings, SettingsError
from weights_pipeline.shipped import shipped

LOCATION = "weights_pipeline"
"""Name of the code location, as every workspace file gives it."""


def furnish(settings: Settings) -> None:
    """Make the home of a stage, and put the configuration of its instance where Dagster looks for it.

    It is that of the folder one works in, or else the one that comes with the package; without it Dagster's defaults
    would apply, telemetry among them. One that is in the home already stays as it is.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    name = Path("deploy" if settings.deployed else "", "dagster.yaml")
    here = name if name.is_file() else shipped(str(name))
    if here.is_file() and not (settings.home / name.name).exists():
        shutil.copy(here, settings.home)


@contextmanager
def recorded_on(settings: Settings, given: dg.DagsterInstance | None) -> Iterator[dg.DagsterInstance]:
    """The instance given, or the one of a stage.

    Raises
    ------
    SettingsError
        It cannot be reached, or it is not one that the stage may record on.
    """
    if given is not None:
        yield given
        return
    furnish(settings)
    try:
        found = in_files_alone(kept_open(dg.DagsterInstance.get()))
    except Exception as error:
        if not settings.deployed:
            raise
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
        raise SettingsError(
            f"WEIGHTS_PG_HOST and the rest: stage {settings.stage} cannot record runs in PostgreSQL: {reason}"
        ) from error
    with found as instance:
        if settings.deployed and isinstance(instance.run_storage, SqliteRunStorage):
            raise SettingsError(
                f"DAGSTER_HOME: {instance.root_directory} records runs in SQLite, stage {settings.stage} does in "
                f"PostgreSQL. Put deploy/dagster.yaml there, or unset DAGSTER_HOME."
            )
        yield instance
