"""Dagster: its configuration and records, the code location, the daemon, the user interface, schedules and sensors.

Scope: examinations that Dagster is needed for. Not here: what runs (``weights_pipeline.orchestration``).
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weights_pipeline.doctor.patient import Answer, Patient, amount, time_in
from weights_pipeline.ui.access import credentials

HEARTBEAT_SECONDS = 120.0
"""Age of a heartbeat after which a daemon is not alive; they come twice a minute or more often."""

_ANSWER_SECONDS = 3.0

_MATTERS = {
    "telemetry.enabled": False,
    "freshness.enabled": True,
    "concurrency.pools.granularity": "op",
    "concurrency.pools.default_limit": 1,
    "run_monitoring.enabled": True,
    "retention.sensor.purge_after_days.skipped": 7,
    "retention.schedule.purge_after_days.skipped": 30,
}
"""What the instance configuration has to say: nothing is sent away, lateness is known, one step writes at a time, and
ticks are not kept for ever."""

_MUCH = 1_000_000_000
"""Bytes of records on this machine that are worth moving away: Dagster grows slow to start and to search."""


def configuration(patient: Patient) -> Answer:
    """The instance is configured as the project means it to be."""
    file, settings = patient.home / "dagster.yaml", patient.settings
    own = Path("deploy" if settings.deployed else "", "dagster.yaml")
    todo = f"cp {own} {patient.home}/, then start daemon and webserver again"
    if not patient.home.exists() and not settings.deployed:
        return "ok", "comes with the first run", ""
    if not file.is_file():
        found = f"{file} does not exist: Dagster's defaults apply, with telemetry and without turns at writing"
        return ("warn" if not settings.deployed else "fail"), found, todo
    other = [
        f"{path} is {found!r}, expected {wanted!r}"
        for path, wanted in _MATTERS.items()
        if (found := _at(patient.configuration, path.split("."))) != wanted
    ]
    if settings.deployed and "postgres" not in patient.configuration.get("storage", {}):
        return "fail", f"{file} keeps runs on this machine, stage {settings.stage} in PostgreSQL", todo
    if other:
        return "warn", f"{file}: {'; '.join(other)}", todo
    return "ok", f"{file} says what it should of telemetry, freshness and turns at writing", ""


def _at(content: Any, path: Sequence[str]) -> Any:
    """Value at a path of keys; None where there is none."""
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def records(patient: Patient) -> Answer:
    """What Dagster has recorded can be read."""
    if patient.records is None:
        return "ok", f"nothing is recorded in {patient.home} yet", ""
    runs = patient.records.runs
    if patient.settings.deployed:
        return "ok", f"{runs} runs are recorded in PostgreSQL", ""
    history = patient.home / "history"
    size = sum(file.stat().st_size for file in history.rglob("*") if file.is_file())
    found = f"{runs} runs are recorded in {history}, {amount(size)}"
    if size > min(_MUCH, shutil.disk_usage(history).free):
        todo = f"Stop daemon and webserver, then: mv {history} {history}-{patient.now:%Y-%m-%d}. Weights are not in it."
        return "warn", found, todo
    return "ok", found, ""


def code_location(patient: Patient) -> Answer:
    """Assets, jobs, schedules and sensors load."""
    loaded = patient.definitions
    keys = loaded.asset_graph.materializable_asset_keys
    if dropped := patient.workspace.dropped:
        told = map(str, dropped.values())
        return "warn", f"loaded without {', '.join(dropped)}", "Correct what is wrong with them.", *told
    return "ok", f"{len(keys)} assets, {len(loaded.schedule_defs)} schedules, {len(loaded.sensor_defs)} sensors", ""


def daemon(patient: Patient) -> Answer:
    """The daemon, without which no schedule ticks, is alive and without errors."""
    from weights_pipeline.orchestration.records import is_on

    start = "Start it: deploy/start" if patient.settings.deployed else "Start it: weights ui"
    beats = patient.heartbeats
    if not beats or patient.records is None:
        found = "no daemon has ever run on this instance, so that nothing ticks and no queued run starts"
        return ("fail" if patient.settings.deployed else "warn"), found, start
    required = patient.records.required
    ages = {kind: patient.now.timestamp() - beats[kind].timestamp if kind in beats else None for kind in required}
    silent = {kind: age for kind, age in ages.items() if age is None or age > HEARTBEAT_SECONDS}
    if silent:
        ticking = any(is_on(patient.records, schedule) for schedule in patient.definitions.schedule_defs)
        lines = [f"{_worded(kind)}: " + (f"{_ago(age)}" if age else "never") for kind, age in silent.items()]
        found = (
            f"{len(silent)} of {len(required)} parts of the daemon have not been heard of for {HEARTBEAT_SECONDS:g} s"
        )
        bad = patient.settings.deployed or ticking
        return ("fail" if bad else "warn"), found + (", while schedules are on" if ticking else ""), start, *lines
    if broken := [kind for kind in required if beats[kind].errors]:
        lines = [f"{_worded(kind)}: {(beats[kind].errors or [])[0].message.strip()}" for kind in broken]
        return "fail", f"{len(broken)} parts of the daemon report errors", "Read the daemon's log.", *lines
    return "ok", f"alive, last heard of {_ago(max(age or 0 for age in ages.values()))}", ""


def turns(patient: Patient) -> Answer:
    """No run that is over keeps others from writing to the store."""
    if patient.records is None:
        return "ok", "no run has taken a turn yet", ""
    if dead := patient.records.dead(patient.settings.home):
        found = f"{', '.join(each[:8] for each in dead)} ended without giving back the turn to write to the store"
        return (
            "warn",
            found,
            "The daemon frees it within a minute, and so does the next `weights run`.",
        )
    return "ok", patient.records.busy.replace("waiting for", "taken by") or "free: no run is writing to the store", ""


def _worded(kind: str) -> str:
    return kind.removesuffix("_DAEMON").lower().replace("_", " ")


def _ago(seconds: float) -> str:
    return f"{max(seconds, 0):.0f} s ago" if seconds < 600 else f"{dt.timedelta(seconds=round(seconds))} ago"


def webserver(patient: Patient) -> Answer:
    """The user interface, where it runs, shows the instance that is written to, with the code loaded."""
    host = {"0.0.0.0": "127.0.0.1"}.get(given := patient.environment.get("WEIGHTS_UI_HOST", "127.0.0.1"), given)  # noqa: S104
    port = int(patient.environment.get("WEIGHTS_UI_PORT") or 3000)
    try:
        answer = _asked(host, port, credentials(patient.environment))
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        found = f"nothing of Dagster answers on {host}:{port}"
        return ("fail", found, "deploy/start") if patient.settings.deployed else ("ok", found, "")
    locations = answer["workspaceOrError"].get("locationEntries") or []
    failed = [
        each["name"] for each in locations if (each["locationOrLoadError"] or {}).get("__typename") == "PythonError"
    ]
    if failed:
        return (
            "fail",
            f"{host}:{port}: code location {', '.join(failed)} has not loaded",
            "Reload it there: it says why.",
        )
    shown = re.search(r"base_dir: *(\S+)", answer["instance"]["info"] or "")
    if shown and not Path(shown[1]).is_relative_to(patient.home):
        found = f"{host}:{port} shows the instance in {shown[1]}, runs are recorded in {patient.home}"
        return "warn", found, f"Start it under DAGSTER_HOME={patient.home}, unless it is another stage's."
    return "ok", f"answers on http://{host}:{port}, with {len(locations)} code location", ""


def _asked(host: str, port: int, known_by: Mapping[str, str]) -> dict[str, Any]:
    question = (
        "{ instance { info } workspaceOrError { ... on Workspace "
        "{ locationEntries { name locationOrLoadError { __typename } } } } }"
    )
    connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
    try:
        headers = {"Content-Type": "application/json", **known_by}
        connection.request("POST", "/graphql", json.dumps({"query": question}), headers)
        data: dict[str, Any] = json.loads(connection.getresponse().read())["data"]
        return data
    finally:
        connection.close()


def schedules(patient: Patient) -> Answer:
    """Schedules of what is expected are on; when they tick next."""
    from weights_pipeline.orchestration.records import is_on, next_tick

    every = sorted(patient.definitions.schedule_defs, key=lambda schedule: schedule.name)
    on = [schedule for schedule in every if is_on(patient.records, schedule)]
    ticks = []
    for schedule in on:
        tick, zone = next_tick(schedule, patient.now), schedule.execution_timezone or "UTC"
        ticks.append((tick, f"{schedule.name}: {time_in(tick, zone)}, {time_in(tick, 'UTC')}"))
    lines = [line for _, line in sorted(ticks)]
    ledgers = patient.workspace.sources.values()
    going = {source.schema_name for source in ledgers if source.last_month is None} | patient.living
    needed = [s.name for s in every if s not in on and any(s.name.startswith(f"{name}_") for name in going)]
    if needed:
        found = f"{len(on)} of {len(every)} are on; off, though their ledger goes on: {', '.join(needed)}"
        return "warn", found, "Switch on what you rely on, under Automation in the user interface.", *lines
    return "ok", f"{len(on)} of {len(every)} are on" + ("" if on else "; nothing runs by the clock"), "", *lines


def sensors(patient: Patient) -> Answer:
    """Sensors that are on unless somebody switches them off have not been."""
    from weights_pipeline.orchestration.records import is_on

    every = sorted(patient.definitions.sensor_defs, key=lambda sensor: sensor.name)
    on = [sensor.name for sensor in every if is_on(patient.records, sensor)]
    off = [s.name for s in every if s.name not in on and s.default_status.value == "RUNNING"]
    if off:
        found = f"switched off: {', '.join(off)}; on: {', '.join(on) or 'none'}"
        return "warn", found, "Switch them on again, under Automation, unless it is meant so."
    rest = [sensor.name for sensor in every if sensor.name not in on]
    return "ok", f"on: {', '.join(on) or 'none'}" + (f"; off: {', '.join(rest)}" if rest else ""), ""
