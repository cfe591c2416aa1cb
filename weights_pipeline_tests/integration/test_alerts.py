"""Alerts arrive: once per event and receiver, through restarts and outages, and without a secret in any trace."""

import datetime as dt
import http.server
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

import dagster as dg
import pandas as pd
import pytest
from aiosmtpd.controller import Controller

from weights_pipeline.alerts import Outbox, Severity, deadlines
from weights_pipeline.alerts import delivery as notify
from weights_pipeline.alerts.delivery import HEADER, LogFile, Remote, deliver, receivers
from weights_pipeline.alerts.message import message
from weights_pipeline.alerts.outbox import FIRST_PAUSE, GIVEN_UP, KEPT, LONGEST, QUIET
from weights_pipeline.books.cadence import Monthly, Weekly
from weights_pipeline.cli.app import main
from weights_pipeline.core.verify import Finding
from weights_pipeline.live import SigningKey, UnreachableError, publish
from weights_pipeline.live.signing import new_secret
from weights_pipeline.orchestration import sensors
from weights_pipeline.orchestration.asset_checks import as_result
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.orchestration.resources import ALERTS, Notifier
from weights_pipeline.orchestration.sensors import Position, newest_end, run_alerts, time_alerts, unended_runs
from weights_pipeline.settings import Settings, SettingsError
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.versions.publication import live_weights
from weights_pipeline.workspace import Workspace
from weights_pipeline_tests.support.alerts import NOW, UI, alert
from weights_pipeline_tests.support.waiting import until

MINUTE, HOUR = dt.timedelta(minutes=1), dt.timedelta(hours=1)
SECRET = "s3cr3t-t0ken"
NEW_YORK = ZoneInfo("America/New_York")


@dataclass
class Web:
    """A receiver of webhooks that answers with the statuses it is told to, then with 200."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    accepted: list[dict] = field(default_factory=list)
    asked: int = 0
    stalls: threading.Event | None = None

    @property
    def url(self) -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.port}/{SECRET}"

    @property
    def keys(self) -> list[str]:
        return [each["key"] for each in self.accepted]


@pytest.fixture
def web() -> Iterator:
    """Make receivers on loopback."""
    servers = []

    def make(*statuses: int) -> Web:
        told = Web(statuses=list(statuses))

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.asked += 1
                if told.stalls is not None:
                    told.stalls.wait(60)
                status = told.statuses.pop(0) if told.statuses else 200
                if status == 200:
                    told.accepted.append(body | {"key": self.headers[HEADER]})
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        told.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return told

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def outbox(tmp_path) -> Outbox:
    return Outbox(tmp_path / "alerts")


def to(*told: Web) -> list[Remote]:
    return [Remote(each.url) for each in told]


# --- Delivery


def test_a_webhook_and_a_mailbox_get_it_once_with_the_key(outbox, web):
    hook, mails = web(), []

    class Inbox:
        async def handle_DATA(self, server, session, envelope):
            mails.append(envelope.content.decode())
            return "250 OK"

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(Inbox(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        outbox.put("s", "1", [alert()], NOW)
        both = [
            Remote(hook.url),
            Remote(f"mailto://127.0.0.1:{port}/?from=a@example.com&to=b@example.com&mode=insecure"),
        ]
        for minute in range(3):
            assert deliver(outbox, both, NOW + minute * MINUTE) == []
    finally:
        controller.stop()
    (told,) = outbox.contents().messages.values()
    assert hook.keys == [told.key]
    assert hook.accepted[0]["title"] == told.title
    assert hook.accepted[0]["message"] == told.text
    assert hook.accepted[0]["type"] == "failure"
    assert len(mails) == 1
    assert f"{HEADER}: {told.key}" in mails[0]
    assert told.title in mails[0].replace("\n ", " ")


def test_a_receiver_that_is_down_for_a_while_gets_it_once_and_the_healthy_one_no_more(outbox, web):
    healthy, flaky = web(), web(503, 503, 503)
    outbox.put("s", "1", [alert()], NOW)
    problems = [deliver(outbox, to(healthy, flaky), NOW + minute * MINUTE) for minute in range(12)]
    assert problems[0] == [("json", "answered 503")]
    assert problems[-1] == []
    assert healthy.keys == flaky.keys == [next(iter(outbox.contents().messages))]
    assert healthy.asked == 1
    assert flaky.asked == 4


def test_attempts_are_made_less_and_less_often(outbox, web):
    down = web(*[503] * 100)
    outbox.put("s", "1", [alert()], NOW)
    for step in range(240):
        deliver(outbox, to(down), NOW + step * FIRST_PAUSE)
    assert 10 <= down.asked <= 14


def test_a_receiver_that_does_not_answer_holds_up_nobody_and_is_not_asked_twice(outbox, web):
    hanging, healthy = web(), web()
    hanging.stalls = threading.Event()
    outbox.put("s", "1", [alert()], NOW)
    assert deliver(outbox, to(hanging, healthy), NOW, patience=0.3) == [("json", "has not answered yet")]
    until(lambda: not outbox.contents().due(to(healthy)[0].fingerprint, NOW + HOUR))
    until(lambda: hanging.asked)
    assert len(healthy.accepted) == 1
    assert hanging.accepted == []
    # It is still being asked: nobody else asks it meanwhile, though the alert is due.
    assert deliver(outbox, to(hanging, healthy), NOW + HOUR, patience=0.3) == [("json", "has not answered yet")]
    assert hanging.asked == 1
    hanging.stalls.set()
    until(lambda: not outbox.contents().due(to(hanging)[0].fingerprint, NOW + HOUR))
    assert deliver(outbox, to(hanging, healthy), NOW + HOUR) == []
    assert len(hanging.accepted) == len(healthy.accepted) == 1


def test_on_a_full_disk_nothing_is_sent_rather_than_again_and_again(outbox, web, monkeypatch):
    hook = web()
    outbox.put("s", "1", [alert()], NOW)
    outbox.gather(NOW)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with monkeypatch.context() as patched:
        patched.setattr(Outbox, "_append", full)
        deliver(outbox, to(hook), NOW)
    assert hook.asked == 0
    deliver(outbox, to(hook), NOW)
    assert len(hook.accepted) == 1


def test_one_message_that_is_refused_does_not_hold_up_the_next(outbox, web):
    picky = web(400)
    outbox.put("s", "1", [alert()], NOW)
    deliver(outbox, to(picky), NOW)
    outbox.put("s", "2", [alert(run="r2")], NOW)
    picky.statuses = [200, 400]
    deliver(outbox, to(picky), NOW + MINUTE)
    assert len(picky.accepted) == 1
    assert "r2" in picky.accepted[0]["message"]


CRASH = """
import datetime as dt, os, sys
from pathlib import Path
from weights_pipeline.alerts import Alert, Outbox
from weights_pipeline.alerts.delivery import deliver, receivers
Outbox.end = lambda *_: os._exit(9)
outbox, now = Outbox(Path(sys.argv[1])), dt.datetime.fromisoformat(sys.argv[2])
outbox.put("s", "1", [Alert.from_content(__import__("json").loads(sys.argv[3]))], now)
deliver(outbox, receivers(os.environ, outbox.folder), now)
"""


def test_a_crash_between_delivery_and_its_record_repeats_the_same_message_under_the_same_key(outbox, web):
    hook = web()
    arguments = [str(outbox.folder), NOW.isoformat(), json.dumps(alert().content())]
    crashed = subprocess.run(
        [sys.executable, "-c", CRASH, *arguments], env={notify.VARIABLE: hook.url, "PATH": ""}, check=False
    )
    assert crashed.returncode == 9
    assert len(hook.accepted) == 1
    # The source finds it again, together with another one.
    outbox.put("s", "1", [alert(), alert(run="r2")], NOW + MINUTE)
    for minute in range(1, 4):
        deliver(outbox, to(hook), NOW + minute * MINUTE)
    first, again, other = hook.accepted
    assert first == again
    assert other["key"] != first["key"]
    assert "r2" in other["message"]


def test_what_was_delivered_is_known_after_a_restart(outbox, web):
    hook = web()
    outbox.put("s", "1", [alert()], NOW)
    deliver(outbox, to(hook), NOW)
    after = Outbox(outbox.folder)
    after.put("s", "1", [alert(value="another")], NOW)
    deliver(after, to(hook), NOW + HOUR)
    assert len(hook.accepted) == 1
    assert after.contents().alerts[alert().key] == (alert(), NOW)


def test_two_processes_at_once_deliver_once(outbox, web):
    hook = web()
    outbox.put("s", "1", [alert()], NOW)
    threads = [threading.Thread(target=deliver, args=(Outbox(outbox.folder), to(hook), NOW)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hook.accepted) == 1


def test_without_urls_alerts_go_to_a_file_and_the_log(outbox, caplog):
    nobody = receivers({notify.VARIABLE: "  "}, outbox.folder)
    assert [type(each) for each in nobody] == [LogFile]
    outbox.put("s", "1", [alert()], NOW)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert deliver(outbox, nobody, NOW) == []
    text = (outbox.folder / "alerts.log").read_text()
    assert text.count(alert().key) == 1
    assert caplog.text.count("ERROR: calmar_core") == 1
    assert outbox.contents().unsettled == []


def test_no_secret_is_ever_seen(outbox, web, caplog):
    down = web(*[500] * 10)
    urls = (
        f"{down.url} nonsense-{SECRET} foo://{SECRET}@x slack://{SECRET} json://{SECRET}:{SECRET}@127.0.0.1:1/{SECRET}"
    )
    told = receivers({notify.VARIABLE: urls}, outbox.folder)
    outbox.put("s", "1", [alert()], NOW)
    with caplog.at_level(1):
        problems = deliver(outbox, told, NOW)
    assert len(problems) == 5
    assert {name for name, _ in problems} == {"json", "not a URL", "foo", "slack"}
    shown = caplog.text + repr(problems) + repr(told)
    for file in outbox.folder.iterdir():
        shown += file.name + file.read_text()
    assert SECRET not in shown


def test_an_error_that_quotes_its_url_is_not_repeated(monkeypatch):
    import apprise

    def fails(*_, **__):
        raise RuntimeError(f"cannot reach https://{SECRET}")

    monkeypatch.setattr(apprise.Apprise, "notify", fails)
    assert Remote(f"json://127.0.0.1/{SECRET}").send(message([alert()], NOW)) == "failed with RuntimeError"


# --- The outbox


def test_errors_and_notices_go_at_once_and_warnings_in_one_digest(outbox, web):
    hook = web()
    outbox.put("s", "1", [alert(), alert("a", Severity.WARN), alert("regime", Severity.NOTICE)], NOW)
    deliver(outbox, to(hook), NOW)
    assert sorted(each["type"] for each in hook.accepted) == ["failure", "info"]
    outbox.put("s", "2", [alert("b", Severity.WARN)], NOW + QUIET / 2)
    deliver(outbox, to(hook), NOW + QUIET * 1.25)
    assert len(hook.accepted) == 2
    deliver(outbox, to(hook), NOW + QUIET * 1.5)
    assert hook.accepted[-1]["title"] == "WARN: calmar_core: 2 alerts"


def test_a_digest_does_not_wait_for_ever(outbox, web):
    hook, step = web(), QUIET / 2
    for number in range(int(LONGEST / step) + 1):
        outbox.put("s", str(number), [alert(f"w{number}", Severity.WARN)], NOW + number * step)
        deliver(outbox, to(hook), NOW + number * step)
    assert len(hook.accepted) == 1


def test_a_line_that_is_cut_off_or_not_understood_takes_nothing_with_it(outbox):
    outbox.put("s", "1", [alert()], NOW)
    with (outbox.folder / "journal.jsonl").open("a") as stream:
        stream.write('12\n{"at": "2026-03-02T12:00:00+00:00", "mark": {"of": "another version"}}\n{"at": "2026-0')
    outbox.put("s", "2", [alert(run="r2")], NOW)
    assert list(outbox.contents().alerts) == [alert().key, alert(run="r2").key]
    assert outbox.position("s", "") == "2"


def test_what_is_settled_is_forgotten_in_time_but_for_the_position(outbox, web):
    hook = web()
    outbox.put("s", "1", [alert()], NOW)
    deliver(outbox, to(hook), NOW)
    later = NOW + KEPT + dt.timedelta(days=2)
    outbox.put("other", "7", [alert(run="r2")], later)
    deliver(outbox, to(hook), later)
    contents = outbox.contents()
    assert list(contents.alerts) == [alert(run="r2").key]
    assert outbox.position("s", "") == "1"
    deliver(outbox, to(hook), later + MINUTE)
    assert len(hook.accepted) == 2


def test_a_receiver_that_is_gone_is_given_up_and_keeps_nothing_open(outbox, web):
    gone, healthy = web(*[503] * 100), web()
    outbox.put("s", "1", [alert()], NOW)
    deliver(outbox, to(gone, healthy), NOW)
    assert outbox.settled_position("s", "0") == "0"
    deliver(outbox, to(gone, healthy), NOW + GIVEN_UP + HOUR)
    assert outbox.contents().unsettled == []
    assert outbox.settled_position("s", "0") == "1"
    assert {each.outcome for each in outbox.contents().attempts.values()} == {"delivered", "given up"}


# --- What Dagster has seen


def definitions_of(found: dict) -> dg.Definitions:
    """An asset that fails where told to, and checks that find what they are told to."""

    @dg.asset(key=["desk", "weights"])
    def weights():
        if found.get("fails"):
            raise ValueError("the ledger\nis gone")

    def checked(name: str, severity: dg.AssetCheckSeverity, blocking: bool = False):
        @dg.asset_check(asset=weights, name=name, blocking=blocking)
        def check():
            names = found.get(name, [])
            rows = pd.DataFrame({"strategy": names, "bound": ["cap"] * len(names), "target": [0.5] * len(names)})
            said = f"{len(names)} at a limit"
            finding = Finding(passed=not names, value=float(len(names)), limit=0.0, summary=said, offending=rows)
            return as_result(finding, error=severity == dg.AssetCheckSeverity.ERROR)

        return check

    return dg.Definitions(
        assets=[weights],
        asset_checks=[
            checked("hard_limits", dg.AssetCheckSeverity.ERROR, blocking=True),
            checked("no_look_ahead", dg.AssetCheckSeverity.ERROR),
            checked("at_bound", dg.AssetCheckSeverity.WARN),
        ],
        jobs=[dg.define_asset_job("desk")],
        executor=dg.in_process_executor,
    )


def run(instance: dg.DagsterInstance, **found) -> str:
    job = definitions_of(found).resolve_job_def("desk")
    tags = {"dagster/asset_partition_range_start": "2013-05-01", "dagster/asset_partition_range_end": "2013-06-01"}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return job.execute_in_process(instance=instance, raise_on_error=False, tags=tags, run_config=quiet).run_id


def later() -> dt.datetime:
    return dt.datetime.now(dt.UTC) + MINUTE


def test_a_failed_check_is_told_with_value_limit_names_and_links(instance):
    run_id = run(instance, no_look_ahead=["trend_long", "a|_b_"])
    (found,), reached = run_alerts(instance, Position(), UI, later())
    assert (found.severity, found.book, found.value, found.limit) == (Severity.ERROR, "desk", "2", "0")
    assert found.names == ("trend_long (cap)", "a|_b_ (cap)")
    assert found.partition == "2013-05-01 to 2013-06-01"
    assert found.run_id == run_id
    assert found.link == f"{UI}/assets/desk/weights?view=checks&checkDetail=no_look_ahead"
    assert run_alerts(instance, reached, UI, later()) == ([], reached)


def test_a_run_that_a_blocking_check_stops_is_one_message(instance):
    run_id = run(instance, hard_limits=["rsi2"], no_look_ahead=["rsi2"])
    found, _ = run_alerts(instance, Position(), UI, later())
    told = message(found, NOW)
    assert sorted(each.event[0] for each in found) == ["check", "check", "run"]
    assert told.text.startswith("**desk · 2013-05-01 to 2013-06-01: run of desk failed**")
    assert f"{UI}/runs/{run_id}" in told.text


def test_a_failed_run_says_what_stopped_it(instance):
    run(instance, fails=True)
    (found,), _ = run_alerts(instance, Position(), UI, later())
    assert found.title == "run of desk failed"
    assert found.detail == "desk__weights: ValueError: the ledger is gone"


def test_a_warning_is_told_again_only_when_others_offend_or_it_had_passed(instance):
    told, position = [], Position()
    for names in (["a"], ["a"], ["a", "b"], ["a", "b"], [], ["a", "b"]):
        run(instance, at_bound=names)
        found, position = run_alerts(instance, position, UI, later())
        told.append([each.names for each in found])
    both = ("a (cap)", "b (cap)")
    assert told == [[("a (cap)",)], [], [both], [], [], [both]]
    assert Position.parse(str(position)) == position


def test_an_error_is_told_of_every_run_that_finds_it(instance):
    for _ in range(2):
        run(instance, no_look_ahead=["a"])
    found, _ = run_alerts(instance, Position(), UI, later())
    assert len({each.key for each in found}) == 2


def test_more_runs_than_a_tick_reads_are_read_by_the_next(instance, monkeypatch):
    monkeypatch.setattr(sensors, "RUNS_PER_TICK", 1)
    runs = [run(instance, no_look_ahead=["a"], fails=number == 2) for number in range(3)]
    told, position = [], Position()
    for _ in range(4):
        found, position = run_alerts(instance, position, UI, later())
        told += [each.run_id for each in found]
    assert told == runs


def test_an_event_is_read_once_nothing_before_it_can_come(instance):
    run(instance, no_look_ahead=["a"])
    soon = dt.datetime.now(dt.UTC)
    assert run_alerts(instance, Position(), UI, soon)[0] == []
    assert len(run_alerts(instance, Position(), UI, soon + sensors.SETTLED)[0]) == 1


def test_a_run_that_never_ends_is_told_once():
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions_of({}).resolve_job_def("desk")
        hung = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        now = dt.datetime.now(dt.UTC)
        assert unended_runs(instance, UI, now) == []
        (found,) = unended_runs(instance, UI, now + sensors.LONGEST_RUN + MINUTE)
        assert hung.run_id in found.link


# --- The sensors themselves


@pytest.fixture
def armed(small_data, tmp_path, monkeypatch) -> Iterator:
    """The sensors over a temporary home, by name, and a function that ticks one as the daemon does."""
    settings = Settings(data=small_data, home=tmp_path / "home", ui=UI)
    found = {each.name: each for each in sensors.alert_sensors(Workspace(settings))}
    monkeypatch.setattr(sensors, "SETTLED", dt.timedelta())

    def tick(instance, cursor):
        reached_by = {ALERTS: Notifier(folder=str(settings.alerts))}
        with dg.build_sensor_context(instance=instance, cursor=cursor, resources=reached_by) as context:
            return found["alerts_of_runs"].evaluate_tick(context)

    return tick, settings


def test_a_sensor_begins_now_delivers_and_goes_on_after_a_restart(armed, instance, web, monkeypatch):
    tick, settings = armed
    hook = web(503)
    monkeypatch.setenv(notify.VARIABLE, hook.url)
    run(instance, no_look_ahead=["before"])
    began = tick(instance, None)
    assert hook.asked == 0
    run(instance, no_look_ahead=["after"], at_bound=["x"])
    refused = tick(instance, began.cursor)
    assert "not delivered to json" in refused.skip_message
    assert SECRET not in refused.skip_message + refused.cursor
    # Nobody was told yet: were this machine lost, the cursor would find it again.
    assert refused.cursor == began.cursor
    again = tick(instance, refused.cursor)
    assert again.skip_message.startswith("nothing to tell")
    deliver(Outbox(settings.alerts), to(hook), later() + HOUR * 2)
    settled = tick(instance, again.cursor)
    assert Position.parse(settled.cursor).after == newest_end(instance)
    assert [each["type"] for each in hook.accepted].count("failure") == 1
    assert len(hook.accepted) == 2


def test_a_lost_home_is_found_again_from_the_cursor(armed, instance, web, monkeypatch):
    tick, settings = armed
    hook = web(503)
    monkeypatch.setenv(notify.VARIABLE, hook.url)
    cursor = tick(instance, None).cursor
    run(instance, no_look_ahead=["after"])
    cursor = tick(instance, cursor).cursor
    (settings.alerts / "journal.jsonl").unlink()
    tick(instance, cursor)
    assert len(hook.accepted) == 1


def test_a_cursor_that_is_none_begins_anew_and_an_old_outbox_does_not_count(armed, instance, monkeypatch):
    tick, _ = armed
    monkeypatch.delenv(notify.VARIABLE, raising=False)
    run(instance, no_look_ahead=["a"])
    first = Position.parse(tick(instance, None).cursor)
    anew = Position.parse(tick(instance, "not a cursor").cursor)
    assert anew.source != first.source
    assert anew.after == first.after == newest_end(instance)


def test_records_that_were_moved_away_do_not_keep_later_failures_from_being_told(armed, instance, web, monkeypatch):
    tick, _ = armed
    hook = web()
    monkeypatch.setenv(notify.VARIABLE, hook.url)
    cursor = tick(instance, str(Position(after=1_000_000))).cursor
    run(instance, no_look_ahead=["after"])
    tick(instance, cursor)
    assert len(hook.accepted) == 1


def test_the_sensors_run_without_being_switched_on(finished):
    found = build_definitions(finished.workspace).sensors
    running = {each.name for each in found if each.default_status == dg.DefaultSensorStatus.RUNNING}
    assert {"alerts_of_runs", "alerts_of_time"} <= running


# --- Deadlines and regimes


class Shelf:
    """A store that holds one version, and the rebalances named."""

    def __init__(self, *stored: str, since: str = "2012-02-01") -> None:
        self.stored, self.since = stored, since

    def read(self, schema, table, columns):
        return pd.DataFrame({"effective_from": [pd.Timestamp(self.since)]})

    def partitions(self, schema, table):
        return dict.fromkeys(self.stored)


class Weather:
    """A store that holds regimes, session by session."""

    def __init__(self, regimes: dict[str, list[str]]) -> None:
        self.regimes = regimes

    def view(self):
        return nullcontext()

    def read(self, schema, table, columns):
        regimes = self.regimes[table.name]
        return pd.DataFrame({"session": pd.date_range("2013-01-01", periods=len(regimes)), "regime": regimes})


def link(schema: str, table: str) -> str:
    return f"{UI}/assets/{schema}/{table}"


@pytest.fixture
def going(finished):
    """The book on a ledger that goes on."""
    return ending(finished.setup, None)


def ending(setup, month):
    return replace(setup, source=setup.source.model_copy(update={"last_month": month}))


def with_cadence(setup, cadence):
    return replace(setup, book=setup.book.model_copy(update={"cadence": cadence}))


def missed(shelf, setup, now):
    return [each.partition for each in deadlines.missed_rebalances(replace(setup, store=shelf), now, link)]


def test_a_monthly_rebalance_is_missed_an_hour_after_it_was_due(finished, going):
    # 1 September 2013 is a Sunday, the 2nd a holiday: the book rebalances all the same.
    due, before = dt.datetime(2013, 9, 1, 6, 30, tzinfo=NEW_YORK), ["2013-06-01", "2013-07-01"]
    assert missed(Shelf(*before), going, due + HOUR - MINUTE) == []
    assert missed(Shelf(*before), going, due + HOUR) == ["2013-08-01"]
    assert missed(Shelf(*before, "2013-08-01"), going, due + HOUR) == []
    assert missed(Shelf("2013-06-01"), going, due + HOUR) == ["2013-07-01", "2013-08-01"]
    # A desk that opened meanwhile owes only what ends after its first day.
    assert missed(Shelf(since="2013-08-15"), going, due + HOUR) == ["2013-08-01"]
    finite = ending(going, "2013-08")
    assert missed(Shelf(*before), finite, due + HOUR) == []


@pytest.mark.parametrize(
    ("sunday", "utc"),
    [("2013-03-03", 23), ("2013-03-10", 22), ("2013-10-27", 22), ("2013-11-03", 23)],
    ids=["winter", "clocks went forward that day", "summer", "clocks went back that day"],
)
def test_a_weekly_rebalance_is_due_by_the_clock_of_its_zone(finished, going, sunday, utc):
    weekly = Weekly(kind="weekly", weekday="sunday", time=dt.time(18))
    setup = with_cadence(going, weekly)
    day = dt.date.fromisoformat(sunday)
    key, before = f"{day - dt.timedelta(days=7)}", f"{day - dt.timedelta(days=14)}"
    due = dt.datetime(day.year, day.month, day.day, utc, tzinfo=dt.UTC)
    assert missed(Shelf(before), setup, due + HOUR - MINUTE) == []
    assert missed(Shelf(before), setup, due + HOUR) == [key]


def test_a_rebalance_in_the_middle_of_the_month_is_due_then(finished, going):
    setup = with_cadence(going, Monthly(day=15, time=dt.time(6, 30)))
    due = dt.datetime(2013, 9, 15, 6, 30, tzinfo=NEW_YORK)
    assert missed(Shelf("2013-06-01", "2013-07-01"), setup, due) == []
    assert missed(Shelf("2013-06-01", "2013-07-01"), setup, due + HOUR) == ["2013-08-01"]


def unfit(setup, folder, now, keys=None):
    found = deadlines.unfit_live(setup, (str(folder), "dynamodb://t"), now, link, keys)
    return [(each.title, each.value) for each in found]


def test_live_weights_are_stale_after_their_last_instant_and_not_before(finished, going, tmp_path):
    document = live_weights(finished.setup, dt.datetime.now(dt.UTC))
    publish(document, tmp_path)
    last = document.stale_after
    assert unfit(going, tmp_path, last) == []
    version = f"version {document.version}"
    assert unfit(going, tmp_path, last + MINUTE) == [("live weights are stale", version)]
    finite = ending(going, "2013-06")
    assert unfit(finite, tmp_path, last + MINUTE) == []


def test_live_weights_that_nobody_who_may_has_signed_are_told(finished, going, tmp_path):
    document, key = live_weights(finished.setup, dt.datetime.now(dt.UTC)), SigningKey(new_secret())
    publish(document, tmp_path)
    (told,) = unfit(going, tmp_path, document.stale_after, key.keys)
    assert told == (
        "live weights are corrupt",
        f"the document is not signed, expected a signature by key {key.key_id}",
    )
    publish(document, tmp_path, key)
    assert unfit(going, tmp_path, document.stale_after, key.keys) == []


def test_weights_in_force_that_are_not_published_are_told_after_their_hour(finished, going, tmp_path):
    document = live_weights(finished.setup, dt.datetime.now(dt.UTC))
    by = document.recorded_at + deadlines.GRACE
    title = "weights in force are not published"
    assert unfit(going, tmp_path, by - MINUTE) == []
    assert unfit(going, tmp_path, by) == [(title, "nothing")]
    publish(replace(document, version=document.version - 1, max_age=10**6), tmp_path)
    assert unfit(going, tmp_path, by - MINUTE) == []
    assert unfit(going, tmp_path, by) == [(title, f"version {document.version - 1}")]
    (tmp_path / f"{finished.book.name}.json").write_text("{")
    assert [title for title, _ in unfit(going, tmp_path, by)] == ["live weights are corrupt"]


def test_a_deadline_is_told_once_for_as_long_as_it_is_missed(finished, going):
    now, position, told = dt.datetime(2013, 9, 1, 12, tzinfo=dt.UTC), Position(), []
    for hours in range(3):
        found, position, _ = time_alerts(going, finished.settings, position, now + hours * HOUR)
        told.append([each.event for each in found])
    assert told == [[("missed", "2013-07-01"), ("missed", "2013-08-01"), ("stale", *told[0][2][1:])], [], []]


def test_what_cannot_be_found_out_holds_up_nothing_else(finished, going, monkeypatch):
    def unreachable(*_):
        raise UnreachableError("no answer")

    monkeypatch.setattr(sensors, "unfit_live", unreachable)
    now = dt.datetime(2013, 9, 1, 12, tzinfo=dt.UTC)
    found, reached, unknown = time_alerts(going, finished.settings, Position(), now)
    assert [each.event for each in found] == [("missed", "2013-07-01"), ("missed", "2013-08-01")]
    assert unknown == ["live: UnreachableError: no answer"]
    assert list(reached.regimes) == ["calmar_core risk"]


def test_nothing_is_owed_before_there_is_a_store_or_a_version_in_force(finished, going, tmp_path):
    empty = DuckDBStore(tmp_path / "none.duckdb", lock_timeout=1)
    found, _, unknown = time_alerts(replace(going, store=empty), finished.settings, Position(), NOW)
    assert (found, unknown) == ([], [])
    before = dt.datetime(2012, 1, 15, tzinfo=dt.UTC)
    assert unfit(going, tmp_path, before) == []


def test_a_regime_is_told_once_when_it_is_another_one(finished, monkeypatch):
    ensemble = finished.book.model_copy(update={"ensemble": "market_regime"})
    frames = {
        "risk_regime": ["NORMAL", "NORMAL", "STRESS", "STRESS", "NORMAL"],
        "market_regime": ["bull", "bull", "bull", "bear", "bear"],
    }
    monkeypatch.setattr(sensors, "missed_rebalances", lambda *_: [])
    monkeypatch.setattr(sensors, "unfit_live", lambda *_: [])
    told, position = [], Position()
    for days in range(1, 6):
        store = Weather({name: regimes[:days] for name, regimes in frames.items()})
        setup = replace(finished.setup, book=ensemble, store=store)
        found, position, _ = time_alerts(setup, finished.settings, position, NOW)
        told.append([(each.severity.value, each.title) for each in found])
    notices = ["risk regime is STRESS", "market regime is bear", "risk regime is NORMAL"]
    assert told == [[], [], [("NOTICE", notices[0])], [("NOTICE", notices[1])], [("NOTICE", notices[2])]]
    assert deadlines.regimes(finished.setup).keys() == {"risk"}


# --- The command, and the setting


def command(capsys, *arguments) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["alerts", *arguments])
    return ended.value.code, capsys.readouterr().out


def test_the_command_lists_alerts_and_who_has_them(finished, tmp_path, web, capsys, monkeypatch):
    monkeypatch.setenv("WEIGHTS_DATA", str(finished.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path))
    assert command(capsys) == (0, f"No alerts in {tmp_path / 'alerts'}.\n")
    outbox, healthy, down = Outbox(tmp_path / "alerts"), web(), web(503)
    outbox.put("s", "1", [alert(), alert("at_bound", Severity.WARN, title="a\x1b[2J")], NOW)
    deliver(outbox, to(healthy, down), NOW)
    code, text = command(capsys)
    assert code == 0
    assert "delivered to json; json answered 503: failed after 1 attempts" in text
    assert "waits for the digest" in text
    assert "\x1b" not in text
    rows = json.loads(command(capsys, "--json", "--limit", "1")[1])
    assert [(row["severity"], row["state"]) for row in rows] == [("WARN", "waits for the digest")]


def test_the_command_says_which_receivers_a_test_has_reached(finished, tmp_path, web, capsys, monkeypatch):
    healthy, down = web(), web(503)
    monkeypatch.setenv("WEIGHTS_DATA", str(finished.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path))
    monkeypatch.setenv(notify.VARIABLE, f"{healthy.url} {down.url}")
    code, text = command(capsys, "test", "--json")
    assert code == 1
    assert [(row["receiver"], row["arrived"], row["reason"]) for row in json.loads(text)] == [
        ("json", True, ""),
        ("json", False, "answered 503"),
    ]
    assert SECRET not in text
    assert command(capsys, "test")[0] == 0
    assert [each["type"] for each in healthy.accepted] == ["info", "info"]
    monkeypatch.delenv(notify.VARIABLE)
    code, text = command(capsys, "test")
    assert code == 0
    assert "names nobody" in text


def test_the_command_needs_no_orchestrator():
    code = (
        "import sys, weights_pipeline.alerts, weights_pipeline.alerts.delivery, weights_pipeline.cli.commands.alerts\n"
        "print(*sorted({'dagster', 'pandas', 'apprise'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"


def test_the_address_of_the_user_interface_is_checked(small_data):
    def ui(text: str) -> str:
        return Settings.from_environment({"WEIGHTS_DATA": str(small_data), "WEIGHTS_UI": text}).ui

    assert ui("") == "http://127.0.0.1:3000"
    assert ui("https://weights.example.com/desk/") == "https://weights.example.com/desk"
    for unfit in ("weights.example.com", "ftp://x", f"https://u:{SECRET}@x", "https://x?a=b", "https://x y"):
        with pytest.raises(SettingsError, match="WEIGHTS_UI") as refused:
            ui(unfit)
        assert SECRET not in str(refused.value)
