"""The machine: versions, settings, folders, room, the clock and the zones.

Scope: examinations that neither the store nor Dagster is needed for. Not here: those that are (``stored``,
``orchestration``).
"""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from weights_pipeline.doctor.patient import ROOT, Answer, Patient, State, amount, time_in

if TYPE_CHECKING:
    from weights_pipeline.aws import S3Objects

_FEW, _MANY = 100_000_000, 1_000_000_000
"""Bytes free that are too few, and that are enough, however small the store is."""

_CALENDAR_AHEAD = dt.timedelta(days=62)
"""How far a calendar should be recorded: past the end of next month, and the session after it."""

_CLOCK_SECONDS = 5.0
"""How far clocks may be apart: the network and the file system take their time, too."""

# What deploy/start and the health probe read; the other variables are named where the package reads them.
_OF_DEPLOYMENT = (
    "WEIGHTS_BIN WEIGHTS_CODE_PORT WEIGHTS_ENGINE_PORT WEIGHTS_ENGINE_WORKERS WEIGHTS_LOGS WEIGHTS_START_SECONDS "
    "WEIGHTS_STOP_SECONDS WEIGHTS_UI_HOST WEIGHTS_UI_PORT"
)

_PACKAGES = (
    "dagster",
    "dagster-webserver",
    "dagster-graphql",
    "dagster-postgres",
    "duckdb",
    "numpy",
    "pandas",
    "pyarrow",
)

_INSTALL = (
    "pip install weights-pipeline, or 'weights-pipeline[deploy]' beyond one machine, in the project's environment; a "
    "checkout lists the versions that are tested in constraints.txt"
)


def python(patient: Patient) -> Answer:
    """Interpreter and packages, against what the project asks for and what it pins."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    own = metadata.distribution("weights-pipeline")
    asked, python = own.metadata["Requires-Python"], ".".join(map(str, sys.version_info[:3]))
    if not SpecifierSet(asked).contains(python):
        return "fail", f"Python {python}, expected {asked}", "Make the environment anew with such a Python."
    extras = {"", "deploy"} if patient.environment.get("WEIGHTS_STAGE", "dev") != "dev" else {""}
    needed = [Requirement(text) for text in own.requires or []]
    # An extra may ask for others of the same package.
    for each in needed:
        if each.name == own.name and each.marker and any(each.marker.evaluate({"extra": extra}) for extra in extras):
            extras |= each.extras
    wrong = list[str]()
    for each in needed:
        if each.marker and not any(each.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        try:
            version = metadata.version(each.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{each.name} is not installed, expected {each.specifier}")
            continue
        if not each.specifier.contains(version, prereleases=True):
            wrong.append(f"{each.name} {version}, expected {each.specifier}")
    wrong += _of_one_release()
    if wrong:
        return "fail", "; ".join(wrong), _INSTALL
    pins = _pins()
    strayed = [f"{name} {found}, pinned {pins[name]}" for name, found in _versions() if pins.get(name, found) != found]
    named = ", ".join(f"{name} {found}" for name, found in _versions() if name in ("dagster", "duckdb", "pandas"))
    found = f"Python {python}, weights-pipeline {own.version}, {named}"
    if strayed:
        return "warn", f"{found}; tested with other versions: {'; '.join(strayed)}", _INSTALL
    return "ok", found + (", all as pinned" if pins else ""), ""


def _versions() -> Iterator[tuple[str, str]]:
    """Packages that matter most, with the versions installed."""
    for name in _PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _of_one_release() -> Iterator[str]:
    """Integrations of Dagster that are of another release than its core; those numbered 0.x are 16 minor ones ahead."""
    found = dict(_versions())
    if "dagster" not in found:
        return
    major, minor, patch = found["dagster"].split(".")[:3]
    for name, version in found.items():
        if name.startswith("dagster-"):
            fitting = f"0.{int(minor) + 16}.{patch}" if version.startswith("0.") else f"{major}.{minor}.{patch}"
            if version != fitting:
                yield f"{name} {version} beside dagster {found['dagster']}, expected {fitting}"


def _pins() -> dict[str, str]:
    file = ROOT / "constraints.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    pinned = [line.partition(";")[0].strip().partition("==") for line in lines if "==" in line]
    # What is pinned differently for different versions of Python is left to them.
    names = [name for name, _, _ in pinned]
    return {name: version for name, _, version in pinned if names.count(name) == 1}


def settings(patient: Patient) -> Answer:
    """Settings are valid, and say which."""
    settings = patient.settings
    kept = settings.store or settings.store_path
    return "ok", f"stage {settings.stage}, data {settings.data}, store {kept}, live {' '.join(settings.live)}", ""


def variables(patient: Patient) -> Answer:
    """No variable is called almost as one that the project reads."""
    given = {name for name in patient.environment if name.startswith("WEIGHTS_")}
    known = _names_read()
    unknown = sorted(given - known)
    if not unknown:
        return "ok", f"{len(given)} variables WEIGHTS_* are set, all of them known", ""
    lines = []
    for name in unknown:
        close = difflib.get_close_matches(name, known, n=1)
        lines.append(f"{name}: nobody reads it" + (f"; is {close[0]} meant?" if close else ""))
    return "warn", "; ".join(lines), f"Correct or unset {', '.join(unknown)}."


def _names_read() -> set[str]:
    """Variables that the package names anywhere, which is where it reads them."""
    sources = (file.read_text(encoding="utf-8") for file in Path(__file__).parents[1].rglob("*.py"))
    return {name for text in sources for name in re.findall(r"WEIGHTS_[A-Z0-9_]*[A-Z0-9]", text)}


def books(patient: Patient) -> Answer:
    """Books and ledgers are valid."""
    if dropped := patient.workspace.dropped:
        found, told = f"{len(dropped)} left out: {', '.join(dropped)}", map(str, dropped.values())
        return "fail", found, "Correct the files, then reload the code location; the others go on.", *told
    books, sources = patient.workspace.setups, patient.workspace.sources
    ended = [f"{source.name} (ended {source.last_month})" for source in sources.values() if source.last_month]
    going = [source.name for source in sources.values() if not source.last_month]
    return "ok", f"{len(books)} books ({', '.join(books)}) on ledger {', '.join(going + ended)}", ""


def home(patient: Patient) -> Answer:
    """Where Dagster records and the store is: named, the same, there, and writable."""
    settings, given = patient.settings, patient.environment.get("DAGSTER_HOME")
    export = f"export DAGSTER_HOME={settings.home}"
    if given and not Path(given).is_absolute():
        return "fail", f"DAGSTER_HOME: {given} is not absolute, which Dagster refuses", export
    named = {"WEIGHTS_HOME": settings.home} | ({"DAGSTER_HOME": patient.home} if given else {})
    for name, folder in named.items():
        if not folder.exists():
            todo = "`make demo` or the first `weights run` makes it."
            return "warn", f"{name}: {folder} does not exist; nothing has run here yet", todo
        if not folder.is_dir():
            return "fail", f"{name}: {folder} is not a folder", f"Move that file away, or set {name} to a folder."
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            return "fail", f"{name}: {folder} cannot be written to by this user", f"Give this user rights on {folder}."
    if not given:
        found = f"DAGSTER_HOME is not set; `weights` records in {settings.home}, Dagster's own commands elsewhere"
        return "warn", found, f"Before a `dagster` command of your own: {export}"
    if patient.home.resolve() != settings.home:
        found = (
            f"DAGSTER_HOME is {patient.home}, the store in {settings.home}: `weights ui` shows the runs of the latter"
        )
        return "warn", found, f"Unless it is meant so: {export}"
    return "ok", f"{patient.home}, for Dagster and for what the pipeline writes", ""


def disk(patient: Patient) -> Answer:
    """There is room for the store to be written anew, where it is and where temporary files go."""
    path = patient.settings.store_path
    size = path.stat().st_size if path.exists() else 0
    state: State = "ok"
    lines = []
    for name, folder in (("home", patient.settings.home), ("temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free
        lines.append(f"{name}: {amount(free)} free in {folder}")
        if free < max(_FEW, size):
            state = "fail"
        elif free < max(_MANY, 3 * size) and state == "ok":
            state = "warn"
    todo = f"Free space: at least {amount(max(_MANY, 3 * size))} in each." if state != "ok" else ""
    return state, f"{'; '.join(lines)}; the store has {amount(size)}", todo


def clock(patient: Patient) -> Answer:
    """The clock is not behind what has been recorded, as far as that tells, and its zone is known."""
    file, settings = patient.settings.store_path, patient.settings
    ahead = {"S3": skew} if settings.store and (skew := _server_ahead(patient.objects)) is not None else {}
    recorded = {"the store's file": file.stat().st_mtime} if file.exists() else {}
    # That records cannot be read is reported by itself.
    with suppress(Exception):
        if beats := patient.heartbeats.values():
            recorded["the daemon"] = max(beat.timestamp for beat in beats)
    # Read last: what others write while all this goes on is no sign of a clock that is behind.
    now = dt.datetime.now().astimezone()
    ahead |= {who: at - now.timestamp() for who, at in recorded.items()}
    zone = f"{now:%Y-%m-%d %H:%M:%S} {now.tzname()} (UTC{now:%z})"
    # Files and heartbeats are of this clock and tell only that it was put back; a server has one of its own.
    wrong = [
        f"{abs(seconds):.0f} s {'behind' if seconds > 0 else 'ahead of'} {who}"
        for who, seconds in ahead.items()
        if (abs(seconds) if who == "S3" else seconds) > _CLOCK_SECONDS
    ]
    if wrong:
        return "fail", f"{zone}: {', '.join(wrong)}", "Set the clock, and keep it by NTP: what is in force goes by it."
    return "ok", zone + (f", in step with {' and '.join(ahead)}" if ahead else ""), ""


def _server_ahead(objects: S3Objects) -> float | None:
    """Seconds that the clock of S3 is ahead of this one; None where it does not answer."""
    from email.utils import parsedate_to_datetime

    dates = list[float]()

    def note(http_response: Any, **_: Any) -> None:
        dates.append(parsedate_to_datetime(http_response.headers["date"]).timestamp() - time.time())

    events = objects.client.meta.events
    events.register("after-call.s3", note)
    # Whatever the answer says, it has a date.
    with suppress(Exception):
        objects.client.head_object(Bucket=objects.bucket, Key="clock")
    events.unregister("after-call.s3", note)
    return dates[0] if dates else None


def zones(patient: Patient) -> Answer:
    """The database of zones knows those of books and ledgers, and when the clocks change."""
    from weights_pipeline.ledger import exchange_timezone

    named = {book.timezone for book in patient.workspace.books.values()}
    for source in patient.workspace.sources.values():
        named |= {source.timezone, exchange_timezone(source.calendar)}
    offsets = [dt.datetime(2026, month, 1, tzinfo=ZoneInfo("America/New_York")).utcoffset() for month in (1, 7)]
    if offsets != [dt.timedelta(hours=-5), dt.timedelta(hours=-4)]:
        found = "the database of zones is wrong: New York does not change its clocks in it"
        return "fail", found, "Install the package tzdata, or the system's."
    return "ok", ", ".join(time_in(patient.now, zone) for zone in sorted(named)), ""


def calendars(patient: Patient) -> Answer:
    """Calendars are recorded beyond today where a ledger goes on: a rebalance needs the session after it."""
    from weights_pipeline.ledger import recorded_until

    ends = {
        source.name: recorded_until(source.calendar)
        for source in patient.workspace.sources.values()
        if source.last_month is None
    }
    short = {name: end for name, end in ends.items() if end - patient.now < _CALENDAR_AHEAD}
    if not short:
        return "ok", f"recorded for {_CALENDAR_AHEAD.days} days and more beyond today", ""
    details = (f"{name}: to the beginning of {end:%Y-%m-%d}" for name, end in sorted(short.items()))
    over = any(end <= patient.now for end in short.values())
    todo = "Upgrade exchange_calendars, or list the sessions: calendar: {custom: {file: sessions.csv}}."
    return "fail" if over else "warn", f"{len(short)} of {len(ends)} ledgers that go on end soon", todo, *details
