"""Deployed stages: deploy/start over stand-in programs, and once over PostgreSQL, an S3 server and all of Dagster."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from benchmarks.support.data import DATA, LEDGER
from benchmarks.support.processes import Together, free_port
from benchmarks.support.s3_servers import BUCKET, moto
from weights_pipeline.settings import Settings
from weights_pipeline.store import open_store
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.waiting import until

START = DATA.parent / "deploy" / "start"
# As awkward as passwords are: every character that means something in a URL, a shell or a format string.
PASSWORD, KEY = "p@s/s:w%20r'd#1?", "wJalrXUtnFEMI+K7MDENG/bPxRfiCYEXAMPLE"
HEARTBEATS = {"SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR", "BACKFILL", "MONITORING"}


def heed_signals() -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


class Deployment:
    """deploy/start in a session of its own."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home, self.said = home, home.with_suffix(".said")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "WEIGHTS_STAGE": "staging",
            "WEIGHTS_HOME": str(home),
            "WEIGHTS_STORE": "s3://desk/weights",
            "WEIGHTS_PG_HOST": "127.0.0.1",
            "WEIGHTS_PG_PORT": "5432",
            "WEIGHTS_PG_DB": "postgres",
            "WEIGHTS_PG_USER": "weights",
            "WEIGHTS_PG_PASSWORD": PASSWORD,
            "WEIGHTS_BIN": str(Path(sys.executable).parent),
            "WEIGHTS_UI_PORT": str(free_port()),
            "WEIGHTS_CODE_PORT": str(free_port()),
            "WEIGHTS_STOP_SECONDS": "60",
        } | environment

    def __enter__(self) -> "Deployment":
        with self.said.open("w") as stream:
            # Signals that are ignored here would be so in every child, and a shell cannot trap what was ignored when it
            # began: whoever starts tests in the background has interrupts ignored, and other tests may leave it so.
            self.running = Together(
                [START], env=self.environment, stdout=stream, stderr=stream, preexec_fn=heed_signals
            )
        self.process = self.running.process
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
            self.remained = self.running.members()
        finally:
            self.running.kill()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(120)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.said.read_text()
        return "ready: stage staging on http://127.0.0.1:" in self.said.read_text()

    def ask(self, question: str, **variables: object) -> dict:
        connection = http.client.HTTPConnection("127.0.0.1", int(self.environment["WEIGHTS_UI_PORT"]), timeout=20)
        with contextlib.closing(connection):
            body = json.dumps({"query": question, "variables": variables})
            connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        assert "errors" not in answer, answer
        return answer["data"]


@pytest.fixture
def stand_ins(tmp_path):
    """Programs in place of the real ones: they listen or wait, and the code server ends when interrupted only."""

    def make(**scripts: str) -> str:
        folder = tmp_path / "bin"
        folder.mkdir()
        code_server = (
            f"exec {sys.executable} -c 'import signal, socket, sys, time; "
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
            'listening = socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("-p") + 1]))); '
            'time.sleep(60)\' "$@"'
        )
        programs = {
            "weights": "exit 0",
            "python": 'case "$*" in *webserver*) exec sleep 60 ;; esac',
            "dagster": code_server,
            "dagster-daemon": "exec sleep 60",
        }
        for name, script in (programs | scripts).items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(stat.S_IRWXU)
        return str(folder)

    return make


def test_one_process_that_ends_takes_the_others_with_it(stand_ins, tmp_path):
    programs = stand_ins(**{"dagster-daemon": "echo no heart; sleep 0.5; exit 3"})
    with Deployment(tmp_path / "home", WEIGHTS_BIN=programs, WEIGHTS_STOP_SECONDS="1") as deployment:
        assert deployment.process.wait(30) == 1
    said = deployment.said.read_text()
    assert "daemon has ended; the end of" in said
    assert "no heart" in said
    assert not deployment.remained


def test_told_to_stop_it_stops_everything_the_stubborn_too(stand_ins, tmp_path):
    with Deployment(tmp_path / "home", WEIGHTS_BIN=stand_ins(), WEIGHTS_STOP_SECONDS="1") as deployment:
        until(deployment.ready)
        assert len(deployment.running.members()) >= 4
        assert deployment.stop() == 0
    assert not deployment.remained
    assert "KeyboardInterrupt" in (deployment.home / "log" / "code-server.log").read_text()


def test_an_engine_of_so_many_workers_is_started_with_it_and_ends_with_it(stand_ins, tmp_path):
    listens = (
        f"exec {sys.executable} -c 'import socket, sys, time; "
        'listening = sys.argv[1] == "scheduler" and '
        'socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1]))); '
        'print(*sys.argv[1:], flush=True); time.sleep(60)\' "$@"'
    )
    port = str(free_port())
    programs = stand_ins(dask=listens)
    given = {"WEIGHTS_ENGINE_WORKERS": "2", "WEIGHTS_ENGINE_PORT": port, "WEIGHTS_STOP_SECONDS": "1"}
    with Deployment(tmp_path / "home", WEIGHTS_BIN=programs, **given) as deployment:
        until(deployment.ready)
        logs = deployment.home / "log"
        for number in (1, 2):
            said = until((logs / f"engine-worker-{number}.log").read_text)
            assert said.startswith(f"worker tcp://127.0.0.1:{port} --host 127.0.0.1 --nthreads 1")
        assert deployment.stop() == 0
    assert not deployment.remained


def test_what_never_gets_healthy_is_given_up_with_what_it_said(stand_ins, tmp_path):
    unwell = 'case "$*" in *webserver*) exec sleep 60 ;; *health*) echo daemon SCHEDULER: no heartbeat; exit 1 ;; esac'
    programs = stand_ins(python=unwell)
    limits = {"WEIGHTS_START_SECONDS": "1", "WEIGHTS_STOP_SECONDS": "1"}
    with Deployment(tmp_path / "home", WEIGHTS_BIN=programs, **limits) as deployment:
        assert deployment.process.wait(30) == 1
    said = deployment.said.read_text()
    assert "webserver and daemon: not healthy after 1 s: daemon SCHEDULER: no heartbeat" in said
    assert not deployment.remained


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WEIGHTS_STAGE": "dev"}, "WEIGHTS_STAGE: expected staging or prod, got 'dev'"),
        ({"WEIGHTS_BIN": "/nowhere"}, "WEIGHTS_BIN: no 'weights' in /nowhere"),
        ({"WEIGHTS_PG_HOST": ""}, "WEIGHTS_PG_HOST"),
        ({"WEIGHTS_STORE": ""}, "WEIGHTS_STORE"),
        ({"WEIGHTS_ENGINE_WORKERS": "two"}, "WEIGHTS_ENGINE_WORKERS: expected a number, got 'two'"),
    ],
)
def test_wrong_settings_are_named_before_anything_starts(environment, message, tmp_path):
    with Deployment(tmp_path / "home", **environment) as deployment:
        assert deployment.process.wait(30) == 2
    said = deployment.said.read_text()
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "home").exists()


def test_a_port_that_is_taken_is_named(stand_ins, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Deployment(tmp_path / "home", WEIGHTS_BIN=stand_ins(), WEIGHTS_CODE_PORT=port) as deployment:
            assert deployment.process.wait(30) == 2
    assert f"WEIGHTS_CODE_PORT: port {port} is taken" in deployment.said.read_text()


@pytest.fixture
def postgres() -> Iterator[dict[str, str]]:
    """A PostgreSQL server on loopback, with a role that has a password; gives the settings that name it."""
    folders = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    initdb = shutil.which("initdb", path=os.pathsep.join([os.environ["PATH"], *map(str, folders)]))
    if initdb is None:
        pytest.skip(
            "PostgreSQL is not installed (apt-get install postgresql): initdb is neither on PATH nor in "
            "/usr/lib/postgresql"
        )
    import psycopg2

    port = str(free_port())
    # Not below the folder of the tests, which other users may not enter: PostgreSQL refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="weights-postgres-"))
    owner = {"user": "postgres"} if os.geteuid() == 0 else {}
    (folder / "password").write_text(PASSWORD)
    for path in (folder, folder / "password") if owner else ():
        shutil.chown(path, "postgres")
    options = ["-D", folder / "data"]
    create = [initdb, *options, "-U", "weights", "-A", "scram-sha-256", "--pwfile", folder / "password", "--no-sync"]
    subprocess.run([*create, "-E", "UTF8", "--locale=C"], check=True, capture_output=True, cwd=folder, **owner)
    settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
    serve = [Path(initdb).with_name("postgres"), *options, "-p", port, *(f"-c{each}" for each in settings)]
    with (folder / "log").open("w") as log:
        running = Together(serve, folders=[folder], stdout=log, stderr=log, cwd=folder, **owner)
    server = running.process

    def answers() -> bool:
        assert server.poll() is None, (folder / "log").read_text()
        try:
            psycopg2.connect(**connection).close()
        except psycopg2.OperationalError:
            return False
        return True

    connection = {"host": "127.0.0.1", "port": port, "user": "weights", "password": PASSWORD, "dbname": "postgres"}
    try:
        until(answers)
        yield {"WEIGHTS_PG_PORT": port}
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        running.kill()


@pytest.fixture
def s3(monkeypatch) -> dict[str, str]:
    """An S3 server on loopback with a bucket; gives the settings that name it."""
    server = moto()
    assert server.objects.bucket == BUCKET
    environment = server.variables | {"AWS_SECRET_ACCESS_KEY": KEY, "WEIGHTS_STORE": f"s3://{BUCKET}/staging"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


def read(key: str) -> str:
    """Content of an object of the bucket."""
    found = moto().objects.get(key)
    assert found is not None
    return found[0].decode()


def listeners(*ports: str) -> set[tuple[str, str]]:
    """Addresses that something listens on at some ports."""
    loopback = {"0100007F": "127.0.0.1", "0000000000000000FFFF00000100007F": "127.0.0.1"}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    local = [row[1].split(":") for row in rows if row[3] == "0A"]
    return {(loopback.get(place, place), str(int(port, 16))) for place, port in local if str(int(port, 16)) in ports}


_LAUNCH = """
mutation($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""
_STATE = """
{
  instance { info daemonHealth { allDaemonStatuses { daemonType required healthy } } }
  repositoryOrError(
    repositorySelector: {repositoryLocationName: "weights_pipeline", repositoryName: "__repository__"}
  ) { ... on Repository { schedules { name } } }
}
"""


@pytest.mark.deploy
def test_a_stage_from_nothing_to_a_stored_partition(small_data, postgres, s3, tmp_path):
    deployment = Deployment(tmp_path / "home", WEIGHTS_DATA=str(small_data), **postgres, **s3)
    settings = Settings.from_environment(deployment.environment)
    with deployment:
        until(deployment.ready)
        ports = [deployment.environment[name] for name in ("WEIGHTS_UI_PORT", "WEIGHTS_CODE_PORT")]
        assert listeners(*ports) == {("127.0.0.1", port) for port in ports}
        state = deployment.ask(_STATE)
        daemons = state["instance"]["daemonHealth"]["allDaemonStatuses"]
        assert {each["daemonType"] for each in daemons if each["required"] and each["healthy"]} >= HEARTBEATS
        assert "calmar_core_rebalance" in {each["name"] for each in state["repositoryOrError"]["schedules"]}
        assert "run_storage: PostgresRunStorage" in state["instance"]["info"]

        month = "2012-01-01"
        selector = {"repositoryLocationName": "weights_pipeline", "repositoryName": "__repository__", "jobName": LEDGER}
        tags = [{"key": f"dagster/asset_partition_range_{edge}", "value": month} for edge in ("start", "end")]
        launched = deployment.ask(_LAUNCH, parameters={"selector": selector, "executionMetadata": {"tags": tags}})
        run_id = launched["launchRun"]["run"]["runId"]

        def started() -> bool:
            run = deployment.ask("query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)
            return run["runOrError"]["status"] in ("STARTED", "SUCCESS", "FAILURE")

        until(started)
        written = json.dumps(state) + "".join(deployment.running.members().values())
        # Told to stop while the run is under way, it lets the run come to its end.
        assert deployment.stop() == 0
    assert not deployment.remained
    assert not listeners(*ports)
    status, events = recorded(postgres, run_id)
    logs = {log.name: log.read_text() for log in deployment.home.glob("log/*.log")}
    assert set(logs) == {"code-server.log", "webserver.log", "daemon.log"}
    assert status == "SUCCESS", logs["code-server.log"][-3000:]
    records = open_store(settings).partitions(LEDGER, catalog.TRADE_LEDGER.name)
    assert {key: record.run_id for key, record in records.items()} == {month: run_id}
    written += events
    said = {key: read(key) for key, _ in moto().objects.list(f"staging/_logs/storage/{run_id}/")}
    assert "STEP_SUCCESS" in "".join(said.values())
    written += "".join(said.values())
    for file in (*deployment.home.rglob("*"), deployment.said):
        if file.is_file():
            written += file.read_bytes().decode(errors="replace")
    assert run_id in written
    for secret in (PASSWORD, KEY):
        for form in (secret, quote(secret), quote(secret, safe="")):
            assert form not in written


def recorded(postgres: dict[str, str], run_id: str) -> tuple[str, str]:
    """Status of a run, and everything that Dagster has recorded of runs and events."""
    import psycopg2

    with contextlib.closing(
        psycopg2.connect(
            host="127.0.0.1", port=postgres["WEIGHTS_PG_PORT"], user="weights", password=PASSWORD, dbname="postgres"
        )
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT status FROM runs WHERE run_id = %s", [run_id])
        status = cursor.fetchone()[0]
        cursor.execute("SELECT run_body FROM runs UNION ALL SELECT event FROM event_logs")
        return status, "\n".join(row[0] for row in cursor.fetchall())
