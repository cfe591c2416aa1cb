"""What is examined, and what an examination answers.

Scope: what several examinations look at. Not here: any judgement.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from weights_pipeline.settings import Settings
from weights_pipeline.workspace import Workspace

if TYPE_CHECKING:
    from weights_pipeline.aws import S3Objects
    from weights_pipeline.orchestration.records import Loaded, Records

State = Literal["ok", "warn", "fail"]

ROOT = Path(__file__).resolve().parents[2]
"""The project, where it runs from its own folder: beside the package are its pins and its instance configuration."""

PATIENCE = 2.0
"""Seconds that a store which is being written to is waited for."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What one examination found.

    Attributes
    ----------
    name
        The examination.
    state
        ``ok``; ``warn``: it works, and somebody should look; ``fail``: it does not, or will not when it is needed.
    found
        What there is, in a sentence or two.
    todo
        What to do about it; empty where there is nothing to do.
    details
        More of what was found, a line each.
    """

    name: str
    state: State
    found: str
    todo: str = ""
    details: tuple[str, ...] = ()


Answer = tuple[State, str, str, *tuple[str, ...]]
"""State, what was found, what to do, and any number of details."""


@dataclass(frozen=True)
class Patient:
    """What is examined: an environment at an instant, and what follows from it as far as it is looked at.

    Attributes
    ----------
    environment
        Environment variables.
    now
        The instant, with a zone.
    """

    environment: Mapping[str, str]
    now: dt.datetime

    @cached_property
    def workspace(self) -> Workspace:
        """Settings of the environment, and what they lead to."""
        return Workspace(Settings.from_environment(self.environment))

    @property
    def settings(self) -> Settings:
        """Settings of the environment."""
        return self.workspace.settings

    @cached_property
    def definitions(self) -> Loaded:
        """The code location, loaded as Dagster loads it."""
        from weights_pipeline.orchestration.records import loaded

        return loaded(self.workspace)

    @cached_property
    def objects(self) -> S3Objects:
        """Objects of the store's bucket, asked once: who examines had rather know at once."""
        from weights_pipeline.aws import S3Objects

        return S3Objects(self.settings.store.removeprefix("s3://").partition("/")[0], attempts=1)

    def stored(self, name: str) -> tuple[bytes, str] | None:
        """Content and version of an object of the store; None where there is none."""
        prefix = self.settings.store.removeprefix("s3://").partition("/")[2]
        return self.objects.get(f"{prefix}/{name}" if prefix else name)

    @property
    def home(self) -> Path:
        """Where Dagster records: what its variable says, and the home of the settings where it says nothing."""
        return Path(self.environment.get("DAGSTER_HOME") or self.settings.home)

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """Configuration of the instance; empty where there is none."""
        import yaml

        file = self.home / "dagster.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if not isinstance(content, dict | None):
            raise ValueError(f"{file}: expected keys and values, got {content!r}")
        return content or {}

    @cached_property
    def records(self) -> Records | None:
        """What Dagster has recorded; None where nothing has been yet."""
        from weights_pipeline.orchestration.records import records_in

        return records_in(self.home, self.configuration)

    @property
    def heartbeats(self) -> Mapping[str, Any]:
        """Last sign of life of each part of the daemon."""
        return self.records.heartbeats if self.records else {}

    @property
    def living(self) -> set[str]:
        """Names of books and jobs of ledgers whose history goes on: something is expected of them every day."""
        workspace = self.workspace
        going = [source.name for source in workspace.sources.values() if source.last_month is None]
        return {book.name for name in going for book in workspace.readers[name]}


def time_in(instant: dt.datetime, zone: str) -> str:
    """An instant as the clocks of a zone show it."""
    return f"{instant.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M} {zone}"


def amount(number: float) -> str:
    """A number of bytes in words."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
