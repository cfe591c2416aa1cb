"""What Dagster has recorded and would load on this machine: looked at, and never changed.

Scope: opening the instance that is there, and questions to it. Not here: what an answer means (``doctor``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.instance import InstanceRef
from dagster._utils.schedules import schedule_execution_time_iterator

from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.run_slots import dead_runs, holder
from weights_pipeline.workspace import Workspace

Loaded = dg.RepositoryDefinition


class RecordsError(Exception):
    """Dagster's records are there and cannot be read; the message says what to do."""


@dataclass(frozen=True)
class Records:
    """Records of an instance.

    Attributes
    ----------
    instance
        Dagster's.
    """

    instance: dg.DagsterInstance

    @property
    def runs(self) -> int:
        """How many runs are recorded."""
        return self.instance.get_runs_count()

    @property
    def heartbeats(self) -> Mapping[str, Any]:
        """Last sign of life of each part of the daemon."""
        return self.instance.get_daemon_heartbeats()

    @property
    def required(self) -> Collection[str]:
        """Parts of the daemon that the instance needs."""
        return self.instance.get_required_daemon_types()

    @property
    def busy(self) -> str:
        """What is waited for by whoever wants to write to the store; empty where nothing is."""
        return holder(self.instance, "")

    def dead(self, home: Path) -> list[str]:
        """Runs that are over and have not given back their turn to write to the store of a home."""
        return dead_runs(self.instance, home)

    def switched(self) -> Mapping[str, bool]:
        """Schedules and sensors that somebody has switched on or off, by name."""
        states = self.instance.all_instigator_state()
        return {
            state.instigator_name: state.status.value == "RUNNING"
            for state in states
            if state.status.value != "DECLARED_IN_CODE"
        }


def records_in(home: Path, configuration: Mapping[str, Any]) -> Records | None:
    """Records of the instance of a home; None where nothing has been recorded on one yet.

    Raises
    ------
    RecordsError
        They are there and cannot be read.
    """
    storage = configuration.get("storage", {})
    if not storage and not all((home / name).exists() for name in ("history/runs.db", "schedules/schedules.db")):
        return None
    # A database without tables is one to report, not one to fill.
    of_postgres = {"storage": {"postgres": {**storage.get("postgres", {}), "should_autocreate_tables": False}}}
    overrides = of_postgres if "postgres" in storage else {}
    try:
        instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=overrides))
        instance.get_daemon_heartbeats()
        instance.all_instigator_state()
    except Exception as error:
        raise RecordsError(
            f"what Dagster has recorded on the instance of {home} cannot be read: "
            f"{str(error).strip().partition(chr(10))[0] or type(error).__name__}. "
            + (
                "See to the database that WEIGHTS_PG_HOST and the rest name."
                if storage
                else "Restore its folders history and schedules, or move them away: weights are not in them."
            )
        ) from error
    return Records(instance)


def loaded(workspace: Workspace) -> Loaded:
    """The code location, loaded as Dagster loads it."""
    return build_definitions(workspace).get_repository_def()


def is_on(records: Records | None, definition: Any) -> bool:
    """Whether a schedule or sensor ticks: as somebody has switched it, else as it is declared."""
    declared = definition.default_status.value == "RUNNING"
    return records.switched().get(definition.name, declared) if records else declared


def next_tick(schedule: Any, after: dt.datetime) -> dt.datetime:
    """When a schedule ticks next, in its zone."""
    zone = schedule.execution_timezone or "UTC"
    tick = next(schedule_execution_time_iterator(after.timestamp(), schedule.cron_schedule, zone))
    return tick.astimezone(ZoneInfo(zone))
