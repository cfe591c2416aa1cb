"""Doctor: every examination sees what is wrong when it is, says what to do, changes nothing and tells no secret."""

import contextlib
import datetime as dt
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import duckdb
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from benchmarks.support.data import BOOK
from benchmarks.support.s3_servers import BUCKET, moto
from weights_pipeline.cli import main
from weights_pipeline.doctor import EXAMINATIONS, Patient, examine, machine, orchestration, stored
from weights_pipeline.live import LiveWeights, SigningKey
from weights_pipeline.live.signing import KEYS, new_secret
from weights_pipeline.store.duckdb_store import MANIFEST_DDL, create_table, defined_columns
from weights_pipeline.store.manifest import sealed
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.commands import Result, Screen

ROOT = Path(__file__).resolve().parents[2]
NOW = dt.datetime(2026, 3, 9, 12, tzinfo=dt.UTC)
BY_NAME = {each.__name__: each for each in EXAMINATIONS}


def found(name, environment, now=NOW):
    """Diagnosis of one examination."""
    [diagnosis] = examine(Patient(environment, now), [BY_NAME[name]])
    return diagnosis


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def environment(small_data, home):
    shutil.copy(ROOT / "dagster.yaml", home)
    return {"WEIGHTS_DATA": str(small_data), "WEIGHTS_HOME": str(home), "DAGSTER_HOME": str(home)}


@pytest.fixture
def living(environment, own_data):
    """The environment over a ledger that goes on."""
    ledger = own_data / "ledgers" / "sample.yaml"
    lines = [line for line in ledger.read_text().splitlines() if not line.startswith("last_month")]
    ledger.write_text("\n".join(lines))
    return environment | {"WEIGHTS_DATA": str(own_data)}


def make_store(home, table=catalog.TRADE_LEDGER, drop=(), kinds=None):
    """A store with one empty table, that may lack columns or have them of other types."""
    columns = {name: kind for name, kind in defined_columns(table).items() if name not in drop} | (kinds or {})
    with contextlib.closing(duckdb.connect(str(home / "weights.duckdb"))) as connection:
        connection.execute(MANIFEST_DDL).fetchall()
        create_table(connection, "sample_ledger", table.name, columns)
    return home / "weights.duckdb"


def tree(folder):
    return {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in [folder, *folder.rglob("*")]}


def test_settings_that_are_not_valid_are_one_failure_and_the_rest_is_not_looked_at(environment):
    every = list(examine(Patient(environment | {"WEIGHTS_STAGE": "test"}, NOW)))
    assert [(d.name, d.state) for d in every if d.state == "fail"] == [("settings", "fail")]
    assert "WEIGHTS_STAGE" in every[1].found
    assert sum(d.found.startswith("not looked at") for d in every) >= 10


def test_kept_cells_are_weighed_and_those_that_are_damaged_or_of_no_ledger_are_named(environment, home):
    assert found("cells", environment).state == "ok"
    entry = home / "cells" / "sample_ledger" / "a.arrow"
    entry.parent.mkdir(parents=True)
    (entry.parent / ".b.arrow").write_bytes(b"being written")
    content = b"cells" * 300
    entry.write_bytes(content + hashlib.sha256(content).digest())
    whole = found("cells", environment)
    assert (whole.state, whole.found) == ("ok", f"{home / 'cells'}: 1 files of cells, 2 kB")
    shutil.copytree(entry.parent, home / "cells" / "renamed_ledger")
    assert found("cells", environment).found.endswith("2 files of cells, 3 kB; renamed_ledger: no ledger any more")
    entry.write_bytes(entry.read_bytes()[:-1])
    damaged = found("cells", environment)
    assert (damaged.state, damaged.details) == ("warn", (str(entry),))


def test_machine_that_nothing_has_run_on_has_no_failure_and_stays_as_it_is(environment, home, tmp_path):
    shutil.rmtree(home)
    before = tree(tmp_path)
    every = list(examine(Patient(environment | {"WEIGHTS_UI_PORT": str(closed_port())}, NOW)))
    assert tree(tmp_path) == before
    assert [d.name for d in every if d.state == "fail"] == []
    assert {d.name for d in every if d.state == "warn"} == {"home", "store", "daemon"}
    assert all(d.todo for d in every if d.state == "warn")


@pytest.mark.parametrize("name", ["settings", "disk", "lock", "daemon"])
def test_examination_that_stops_is_a_failure_without_its_secrets(environment, monkeypatch, name):
    def stops(patient):
        raise RuntimeError("cannot reach postgresql://weights:opensesame@db:5432 as hunter22")

    monkeypatch.setitem(BY_NAME, name, stops)
    diagnosis = found(name, environment | {"WEIGHTS_PG_PASSWORD": "hunter22"})
    assert (diagnosis.state, diagnosis.found) == ("fail", "cannot reach postgresql://***@db:5432 as ***")
    assert "RuntimeError" in diagnosis.todo


@pytest.mark.parametrize(
    ("name", "version", "state", "said"),
    [
        ("dagster", "1.12.5", "fail", "dagster 1.12.5, expected "),
        ("duckdb", None, "fail", "duckdb is not installed, expected "),
        ("dagster-webserver", "1.13.2", "fail", "dagster-webserver 1.13.2 beside dagster"),
        ("pandas", "3.0.7", "warn", "pandas 3.0.7, pinned "),
    ],
)
def test_packages_are_those_asked_for(environment, monkeypatch, name, version, state, said):
    real = machine.metadata.version

    def pretended(asked):
        if asked == name and version is None:
            raise machine.metadata.PackageNotFoundError(asked)
        return version if asked == name else real(asked)

    monkeypatch.setattr(machine.metadata, "version", pretended)
    diagnosis = found("python", environment)
    assert diagnosis.state == state
    assert said in diagnosis.found
    assert "constraints.txt" in diagnosis.todo


def test_python_is_one_that_the_project_supports(environment, monkeypatch):
    monkeypatch.setattr(machine.sys, "version_info", (3, 9, 1))
    assert found("python", environment).state == "fail"


def test_misspelt_variable_is_named_with_the_one_that_is_meant(environment):
    assert found("variables", environment).state == "ok"
    diagnosis = found("variables", environment | {"WEIGHTS_STROE": "s3://b/p"})
    assert (diagnosis.state, diagnosis.found) == ("warn", "WEIGHTS_STROE: nobody reads it; is WEIGHTS_STORE meant?")


def test_every_variable_of_a_deployment_is_known():
    lines = (ROOT / "deploy" / "environment.example").read_text().splitlines()
    named = {line.lstrip("#").partition("=")[0] for line in lines if line.lstrip("#").startswith("WEIGHTS_")}
    assert named - {"WEIGHTS_"} <= machine._names_read()


@pytest.mark.parametrize(
    ("given", "state", "said"),
    [
        ("relative/home", "fail", "not absolute"),
        ("{home}/none", "warn", "does not exist"),
        ("{home}/dagster.yaml", "fail", "is not a folder"),
        ("{home}/..", "warn", "the store in"),
        ("", "warn", "DAGSTER_HOME is not set"),
    ],
)
def test_home_is_named_there_and_the_same_for_all(environment, home, given, state, said):
    diagnosis = found("home", environment | {"DAGSTER_HOME": given.format(home=home)})
    assert diagnosis.state == state
    assert said in diagnosis.found
    assert str(home) in diagnosis.todo or "weights run" in diagnosis.todo or "Move" in diagnosis.todo


def test_home_that_cannot_be_written_to(environment):
    # Root may write anywhere: the examination is made by somebody else.
    code = (
        "import datetime as dt, os, tempfile\n"
        "from weights_pipeline import doctor\n"
        "home = tempfile.mkdtemp(dir='/tmp')\n"
        "os.chmod(home, 0o555)\n"
        "os.getuid() or os.seteuid(65534)\n"
        "given = {'WEIGHTS_DATA': '/', 'WEIGHTS_HOME': home, 'DAGSTER_HOME': home}\n"
        "[d] = doctor.examine(doctor.Patient(given, dt.datetime.now(dt.UTC)), [doctor.home])\n"
        "os.getuid() or os.seteuid(0)\n"
        "os.rmdir(home)\n"
        "print(d.state, d.found)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("fail")
    assert "cannot be written to" in said


def test_configuration_says_what_matters(environment, home):
    assert found("configuration", environment).state == "ok"
    file = home / "dagster.yaml"
    file.write_text(file.read_text().replace("default_limit: 1", "default_limit: 5"))
    diagnosis = found("configuration", environment)
    assert diagnosis.state == "warn"
    assert "concurrency.pools.default_limit is 5, expected 1" in diagnosis.found
    file.write_text("telemetry: [")
    assert found("configuration", environment).state == "fail"
    file.unlink()
    assert "Dagster's defaults apply" in found("configuration", environment).found


def test_deployed_stage_keeps_its_runs_in_postgres(environment, home):
    deployed = {f"WEIGHTS_PG_{name}": "x" for name in ("HOST", "DB", "USER", "PASSWORD")} | {"WEIGHTS_PG_PORT": "1"}
    deployed |= {"WEIGHTS_STAGE": "prod", "WEIGHTS_STORE": "s3://bucket/prefix"}
    diagnosis = found("configuration", environment | deployed)
    assert diagnosis.state == "fail"
    assert "deploy/dagster.yaml" in diagnosis.todo
    shutil.copy(ROOT / "deploy" / "dagster.yaml", home)
    assert found("configuration", environment | deployed).state == "ok"


def test_store_that_is_whole(environment, home):
    make_store(home)
    before = tree(home)
    assert [found(name, environment).state for name in ("store", "schema", "lock")] == ["ok"] * 3
    assert tree(home) == before


@pytest.mark.parametrize("keep", [200_000, 9_000, 100])
def test_store_that_was_cut_short_is_damaged(environment, home, keep):
    file = make_store(home)
    assert file.stat().st_size > keep
    os.truncate(file, keep)
    diagnosis = found("store", environment)
    assert diagnosis.state == "fail"
    assert "damaged" in diagnosis.found
    assert "backup" in diagnosis.found + diagnosis.todo


def test_rows_beyond_the_end_of_the_file_are_missed_and_free_blocks_are_not(environment, home, monkeypatch):
    file = make_store(home)
    with contextlib.closing(duckdb.connect(str(file))) as connection:
        connection.execute("CREATE TABLE sample_ledger.large AS SELECT random() FROM range(200_000)").fetchall()
        connection.execute("CREATE TABLE sample_ledger.dropped AS SELECT random() FROM range(200_000)").fetchall()
        connection.execute("CHECKPOINT; DROP TABLE sample_ledger.dropped").fetchall()
    assert found("store", environment).state == "ok"
    real = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **_: SimpleNamespace(st_size=9_000, st_mode=real(path).st_mode))
    diagnosis = found("store", environment)
    assert diagnosis.state == "fail"
    assert "it has 9000 bytes, and rows up to byte " in diagnosis.found


def test_file_that_is_no_store_is_a_failure(environment, home):
    duckdb.connect(str(home / "weights.duckdb")).close()
    assert found("store", environment).state == "fail"


def test_lock_names_the_process_that_holds_it(environment, home, monkeypatch):
    monkeypatch.setattr(stored, "PATIENCE", 0.1)
    file = make_store(home)
    code = f"import duckdb, time; c = duckdb.connect({str(file)!r}); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            patient = Patient(environment, dt.datetime.now(dt.UTC))
            lock, store, schema = examine(patient, [BY_NAME[name] for name in ("lock", "store", "schema")])
        finally:
            holder.send_signal(signal.SIGKILL)
    assert lock.state == store.state == schema.state == "warn"
    assert f"process {holder.pid} (" in lock.found
    assert "import duckdb" in lock.found
    assert "being written to" in store.found
    assert found("lock", environment).state == "ok"


def test_leftovers_of_dead_writers_are_listed(environment, home):
    make_store(home)
    left = home / ".tmp0x1weights.duckdb"
    left.mkdir()
    assert found("lock", environment, dt.datetime.now(dt.UTC)).state == "ok"
    os.utime(left, (0, 0))
    diagnosis = found("lock", environment, dt.datetime.now(dt.UTC))
    assert (diagnosis.state, diagnosis.details) == ("warn", (str(left),))


def test_tables_of_an_older_version_are_told_from_those_that_need_a_migration(environment, home):
    table = catalog.FINAL_WEIGHTS
    nullable = [column.name for column in table.columns if column.nullable][:1]
    make_store(home, table, drop=nullable)
    diagnosis = found("schema", environment)
    assert (diagnosis.state, diagnosis.details) == ("ok", (f"sample_ledger.{table.name} lacks {nullable[0]}",))
    make_store(home, kinds={"pnl": ("VARCHAR", False)})
    diagnosis = found("schema", environment)
    assert diagnosis.state == "fail"
    assert "column 'pnl' is VARCHAR, the definition says DOUBLE" in diagnosis.details[0]


def test_table_of_a_later_version_is_named(environment, home):
    make_store(home, replace(catalog.TRADE_LEDGER, name="of_tomorrow"))
    diagnosis = found("schema", environment)
    assert (diagnosis.state, diagnosis.details) == ("warn", ("sample_ledger.of_tomorrow",))


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def in_s3(environment, monkeypatch, endpoint):
    for name, value in {"ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "of-s3", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    return environment | {"WEIGHTS_STORE": "s3://bucket/prefix"}


def test_s3_that_cannot_be_reached_is_a_failure_at_once(environment, monkeypatch):
    remote = in_s3(environment, monkeypatch, f"http://me:opensesame@127.0.0.1:{closed_port()}")
    every = list(examine(Patient(remote, NOW), [BY_NAME[name] for name in ("store", "schema", "clock")]))
    assert [diagnosis.state for diagnosis in every] == ["fail", "warn", "ok"]
    assert "cannot be reached (EndpointConnectionError), tried 1 times" in every[0].found
    assert "opensesame" not in str(every)


def test_s3_is_read_and_not_listed_and_its_clock_compared(environment, monkeypatch):
    server = moto()
    server.environment(monkeypatch)
    remote = Patient(environment | {"WEIGHTS_STORE": f"s3://{BUCKET}/doctor"}, NOW)
    names = ("store", "schema", "lock", "clock")
    empty = list(examine(remote, [BY_NAME[name] for name in names]))
    assert [diagnosis.state for diagnosis in empty] == ["warn", "ok", "ok", "ok"]
    assert "in step with S3" in empty[3].found
    index = {"format": 1, "tables": [], "conditional_writes": False}
    for content, state, said in ((sealed(index), "warn", "ignores conditions"), (b"{", "fail", "is damaged")):
        server.objects.put("doctor/index.json", content, {})
        [diagnosis] = examine(remote, [BY_NAME["store"]])
        assert diagnosis.state == state
        assert said in diagnosis.found
    monkeypatch.setattr(machine, "time", SimpleNamespace(time=lambda: time.time() + 90))
    [diagnosis] = examine(remote, [BY_NAME["clock"]])
    assert diagnosis.state == "fail"
    assert "ahead of S3" in diagnosis.found


def test_clock_that_is_behind_what_was_written(environment, home):
    file = make_store(home)
    assert found("clock", environment).state == "ok"
    os.utime(file, (time.time() + 600,) * 2)
    diagnosis = found("clock", environment)
    assert diagnosis.state == "fail"
    assert "behind the store's file" in diagnosis.found


@pytest.mark.parametrize(("free", "state"), [(5e7, "fail"), (5e8, "warn"), (5e9, "ok")])
def test_room_for_the_store(environment, monkeypatch, free, state):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert found("disk", environment).state == state


def test_room_goes_by_the_size_of_the_store(environment, home, monkeypatch):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=5e9))
    with (home / "weights.duckdb").open("wb") as file:
        file.truncate(2 * 10**9)
    assert found("disk", environment).state == "warn"
    os.truncate(home / "weights.duckdb", 6 * 10**9)
    assert found("disk", environment).state == "fail"


def test_zones_without_changes_of_the_clock_are_wrong(environment, monkeypatch):
    assert "America/New_York" in found("zones", environment).found
    monkeypatch.setattr(machine, "ZoneInfo", lambda _: dt.timezone(dt.timedelta(hours=-5)))
    assert found("zones", environment).state == "fail"


def test_calendars_that_end_are_seen_coming(living):
    assert found("calendars", living).state == "ok"
    ledger = Path(living["WEIGHTS_DATA"]) / "ledgers" / "sample.yaml"
    ledger.write_text(ledger.read_text().replace("XNYS", "XSHG"))
    assert found("calendars", living).state == "ok"
    for month, state in ((11, "warn"), (13, "fail")):
        diagnosis = found("calendars", living, now=dt.datetime(2026 + month // 13, month % 12, 15, tzinfo=dt.UTC))
        assert diagnosis.state == state
        assert diagnosis.details == ("sample: to the beginning of 2027-01-01",)


def published(home, **changes):
    recorded = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    weights = LiveWeights(
        **{
            "book": BOOK,
            "account": "main",
            "version": 1,
            "effective_from": dt.date(2026, 3, 2),
            "as_of": dt.date(2026, 2, 27),
            "recorded_at": recorded,
            "reason": "scheduled",
            "run_id": "run",
            "max_age": 35,
            "gross": 1.0,
            **{name: {"trend": 1.0} for name in ("base", "target", "realized", "final")},
            "regime": None,
            "scalar": None,
            "parameters_hash": "p",
            "ledger_hash": "l",
            "code_version": "c",
        }
        | changes
    )
    (home / "live").mkdir(exist_ok=True)
    file = home / "live" / f"{BOOK}.json"
    file.write_bytes(weights.to_json())
    return file


def test_live_weights_are_fresh_where_they_are_expected(living, environment, home):
    assert found("live", living).state == "warn"
    file = published(home)
    assert found("live", living).state == "ok"
    late = NOW + dt.timedelta(days=60)
    stale = found("live", living, late)
    assert stale.state == "fail"
    assert f"{BOOK} in {home}/live" in stale.details[0]
    assert found("live", environment, late).state == "ok"
    file.write_text("{")
    assert found("live", environment).state == "fail"


def test_live_weights_are_signed_where_keys_are_given(living, home):
    key = SigningKey(new_secret())
    file, keyed = published(home), living | {KEYS: key.public}
    assert "the document is not signed" in found("live", keyed).details[0]
    file.write_bytes(LiveWeights.from_json(file.read_bytes()).to_json(key))
    assert found("live", keyed).state == "ok"
    wrong = found("live", living | {KEYS: "CANARY"})
    assert wrong.state == "fail"
    assert wrong.found.startswith(f"{KEYS}: expected")
    assert "CANARY" not in wrong.found


def test_live_target_that_cannot_be_reached(living, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    remote = in_s3(living, monkeypatch, f"http://127.0.0.1:{closed_port()}") | {"WEIGHTS_LIVE": "s3://bucket/live"}
    assert found("live", remote).state == "fail"


def test_book_that_is_not_valid_fails_once(environment, own_data):
    (own_data / "books" / f"{BOOK}.yaml").write_text("name: 1\n")
    given = environment | {"WEIGHTS_DATA": str(own_data)}
    books, code = examine(Patient(given, NOW), [BY_NAME["books"], BY_NAME["code_location"]])
    assert (books.state, code.state) == ("fail", "warn")
    assert f"{BOOK}.yaml" in books.details[0]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """An instance on which something has been recorded; its folder."""
    home = tmp_path_factory.mktemp("recorded")
    shutil.copy(ROOT / "dagster.yaml", home)
    with dg.DagsterInstance.from_ref(dg.DagsterInstance.local_temp(str(home)).get_ref()) as instance:
        instance.get_daemon_heartbeats()
        instance.all_instigator_state()
    return home


def beat(instance, age, errors=()):
    for kind in instance.get_required_daemon_types():
        instance.add_daemon_heartbeat(DaemonHeartbeat(NOW.timestamp() - age, kind, "one", list(errors)))


def switch(instance, name, kind, status):
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(
            RegisteredCodeLocationOrigin("weights_pipeline.orchestration.definitions"), "__repository__"
        ),
        name,
    )
    data = ScheduleInstigatorData("* * * * *") if kind is InstigatorType.SCHEDULE else None
    state = InstigatorState(origin, kind, status, data)
    known = any(each.instigator_name == name for each in instance.all_instigator_state())
    (instance.update_instigator_state if known else instance.add_instigator_state)(state)


def test_daemon_and_what_it_ticks(living, recorded):
    patient = Patient(living | {"WEIGHTS_HOME": str(recorded), "DAGSTER_HOME": str(recorded)}, NOW)

    def seen(name):
        [diagnosis] = examine(patient, [BY_NAME[name]])
        return diagnosis

    assert "no daemon has ever run" in seen("daemon").found
    with dg.DagsterInstance.from_config(str(recorded)) as instance:
        beat(instance, age=30)
        assert seen("daemon").found == "alive, last heard of 30 s ago"
        beat(instance, age=900)
        stale = seen("daemon")
        assert (stale.state, len(stale.details)) == ("warn", len(instance.get_required_daemon_types()))
        off = seen("schedules")
        assert off.state == "warn"
        assert "calmar_core_rebalance" in off.found
        for name in ("calmar_core_rebalance", "calmar_core_live", "sample_ledger_refresh"):
            switch(instance, name, InstigatorType.SCHEDULE, InstigatorStatus.RUNNING)
        on = seen("schedules")
        assert on.state == "ok"
        assert "calmar_core_rebalance: Wed 2026-04-01 06:30 America/New_York, Wed 2026-04-01 10:30 UTC" in on.details
        assert seen("daemon").state == "fail"
        beat(instance, age=30, errors=[SerializableErrorInfo("the queue is gone", [], None)])
        assert seen("daemon").state == "fail"
        assert seen("sensors").state == "ok"
        switch(instance, "follow_ledger", InstigatorType.SENSOR, InstigatorStatus.STOPPED)
        assert seen("sensors").state == "warn"


def test_records_that_are_damaged_are_one_failure(environment, recorded, tmp_path):
    home = shutil.copytree(recorded, tmp_path / "damaged")
    os.truncate(home / "history" / "runs.db", 20_000)
    patient = Patient(environment | {"WEIGHTS_HOME": str(home), "DAGSTER_HOME": str(home)}, NOW)
    names = ("records", "clock", "daemon", "schedules", "sensors")
    every = list(examine(patient, [BY_NAME[name] for name in names]))
    assert [diagnosis.state for diagnosis in every] == ["fail", "ok", "warn", "warn", "warn"]
    assert "Restore its folders" in every[0].found


def test_records_that_have_grown_large_are_to_be_moved_away_and_dagster_begins_anew(environment, recorded, tmp_path):
    home = shutil.copytree(recorded, tmp_path / "grown")
    given = environment | {"WEIGHTS_HOME": str(home), "DAGSTER_HOME": str(home)}
    assert found("records", given).state == "ok"
    with (home / "history" / "runs" / "one.db").open("wb") as much:
        much.truncate(2_000_000_000)
    told = found("records", given)
    assert (told.state, "2.0 GB" in told.found) == ("warn", True)
    assert f"mv {home / 'history'} " in told.todo
    (home / "history").rename(home / "history-old")
    with dg.DagsterInstance.from_config(str(home)) as anew:
        assert anew.get_runs_count() == 0
    assert found("records", given).state == "ok"


def test_webserver_of_another_instance_is_told(environment, home, monkeypatch):
    answer = {
        "instance": {"info": "config:\n    base_dir: /elsewhere/home\n"},
        "workspaceOrError": {"locationEntries": [{"name": "w", "locationOrLoadError": {"__typename": "PythonError"}}]},
    }
    monkeypatch.setattr(orchestration, "_asked", lambda host, port, known_by: answer)
    assert found("webserver", environment).state == "fail"
    answer["workspaceOrError"]["locationEntries"][0]["locationOrLoadError"]["__typename"] = "RepositoryLocation"
    assert "/elsewhere/home" in found("webserver", environment).found
    answer["instance"]["info"] = f"base_dir: {home}"
    assert found("webserver", environment).state == "ok"


@pytest.mark.parametrize(("columns", "variables", "code"), [(80, {}, 0), (140, {"WEIGHTS_STAGE": "test"}, 1)])
def test_command_ends_with_the_worst(environment, monkeypatch, columns, variables, code):
    for name, value in (environment | variables | {"COLUMNS": str(columns), "TERM": "dumb"}).items():
        monkeypatch.setenv(name, value)
    result = Result("doctor", to=Screen)
    assert result.exit_code == code
    lines = result.output.splitlines()
    assert all(len(line) <= columns or max(map(len, line.split())) > columns - 30 for line in lines)
    assert sum(line.startswith(("ok ", "warn ", "fail ")) for line in lines) == len(EXAMINATIONS)
    assert lines[-1].endswith(" failed.")


def test_command_gives_json(environment, monkeypatch, capsys):
    for name, value in (environment | {"WEIGHTS_STAGE": "test"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (ended.value.code, answer["counts"]["fail"]) == (1, 1)
    assert [each["name"] for each in answer["examinations"]] == [name.replace("_", " ") for name in BY_NAME]
