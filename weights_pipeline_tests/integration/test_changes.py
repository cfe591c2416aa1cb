"""A new or changed file, object or row starts the ledger's refresh once it is quiet, and no rebalance."""

import datetime as dt
import sqlite3

import dagster as dg
import pandas as pd
import pytest
import yaml

from benchmarks.support.s3_servers import BUCKET, moto
from weights_pipeline.ledger import LedgerError
from weights_pipeline.ledger.changes import state
from weights_pipeline.ledger.sources.mongodb import MongoDb
from weights_pipeline.ledger.sources.sql import Sql
from weights_pipeline.orchestration import sensors
from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.tables import catalog
from weights_pipeline_tests.integration.test_foreign_ledger import BOOK, LEDGER
from weights_pipeline_tests.support.desk import Desk
from weights_pipeline_tests.support.mongo_server import MongoServer
from weights_pipeline_tests.support.trades import PLAIN, source

HEADER = "strategy,symbol,ts,amount,price\n"


@pytest.fixture
def desk(tmp_path):
    """A ledger that began last month and goes on, with a book on it."""
    begun = (pd.Timestamp(dt.datetime.now(dt.UTC).date()).to_period("M") - 1).start_time
    said = {name: value for name, value in LEDGER.items() if name != "last_month"}
    said |= {"first_month": f"{begun:%Y-%m}", "fills": ["fills/*.csv"]}
    for name, content in (("ledgers/desk", said), ("books/desk_book", BOOK)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    (tmp_path / "fills").mkdir()
    day = begun + pd.Timedelta(days=9)
    for number, name in enumerate(("carry", "fade")):
        rows = f"{name},A,{day:%Y-%m-%d}T15:00Z,1,10\n{name},A,{day:%Y-%m-%d}T16:00Z,-1,{11 + number}\n"
        (tmp_path / "fills" / f"{name}.csv").write_text(HEADER + rows)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Desk(tmp_path, tmp_path / "home", instance)


def test_a_changed_file_is_read_again_once_it_is_quiet_and_no_book_rebalances(desk, monkeypatch):
    sensor = build_definitions(desk.workspace).resolve_sensor_def("desk_ledger_changes")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED

    def tick(cursor):
        with dg.build_sensor_context(instance=desk.instance, cursor=cursor) as context:
            return sensor.evaluate_tick(context)

    begun = tick(None)
    assert (begun.skip_message, begun.run_requests) == ("Nothing has changed.", [])
    fills = desk.settings.data / "fills"
    (fills / "late.csv").write_text((fills / "carry.csv").read_text().replace("carry", "late"))
    changed = tick(begun.cursor)
    assert "read once it is quiet for 2 minutes" in changed.skip_message
    assert "not quiet yet" in tick(changed.cursor).skip_message
    (fills / "late.csv").unlink()
    assert tick(changed.cursor).cursor == begun.cursor
    (fills / "late.csv").write_text((fills / "carry.csv").read_text().replace("carry", "late"))
    again = tick(tick(begun.cursor).cursor)
    assert not again.run_requests
    monkeypatch.setattr(sensors, "QUIET", dt.timedelta())
    ready = tick(again.cursor)
    [request] = ready.run_requests
    assert sensor.job_name == "desk_ledger"
    edges = [request.tags[f"dagster/asset_partition_range_{edge}"] for edge in ("start", "end")]
    desk.job("desk_ledger", *edges)
    lots = desk.store.read("desk_ledger", catalog.TRADE_LEDGER)
    assert sorted(lots["pnl"]) == [1, 1, 2]
    assert {schema for schema, _ in desk.store.tables()} == {"desk_ledger"}
    assert tick(ready.cursor).skip_message == "Nothing has changed."
    assert tick("not a cursor").skip_message == "Nothing has changed."


def test_a_finished_ledger_is_not_read_again(desk, monkeypatch):
    monkeypatch.setattr(sensors, "QUIET", dt.timedelta())
    file = desk.settings.data / "ledgers" / "desk.yaml"
    said = yaml.safe_load(file.read_text()) | {"first_month": "2024-01", "last_month": "2024-02"}
    file.write_text(yaml.safe_dump(said))
    sensor = build_definitions(desk.workspace).resolve_sensor_def("desk_ledger_changes")
    waiting = sensors.Watched(read="before", waiting=state(desk.workspace.sources["desk"], desk.settings.data, {}))
    cursor = str(sensors.replace(waiting, since="2024-03-01T00:00:00+00:00"))
    with dg.build_sensor_context(instance=desk.instance, cursor=cursor) as context:
        assert "finished history" in sensor.evaluate_tick(context).skip_message


# --------------------------------------------------------------------------- what tells of a change


def test_rows_of_a_database_are_asked_whether_they_have_changed(tmp_path):
    address = {"DESK": f"sqlite:///{tmp_path}/desk.db"}
    with sqlite3.connect(tmp_path / "desk.db") as database:
        database.execute("CREATE TABLE fills (id INTEGER, at TEXT)")
        database.execute("INSERT INTO fills VALUES (1, '2024-03-04')")
        database.commit()
        query = {"url_env": "DESK", "query": "SELECT * FROM fills ORDER BY id"}
        watch = "SELECT count(*), max(at) FROM fills"
        of = source([{"sql": {**query, "watch": watch}}])
        before = state(of, tmp_path, address)
        assert state(of, tmp_path, address) == before
        database.execute("UPDATE fills SET at = '2024-03-05'")
        database.commit()
        assert state(of, tmp_path, address) != before
        assert Sql.model_validate(query).changed(address) is None
        assert Sql.model_validate(query).name == Sql.model_validate({**query, "watch": watch}).name
        with pytest.raises(LedgerError, match="watch: expected one row, got none"):
            Sql.model_validate({**query, "watch": "SELECT 1 FROM fills WHERE id = 2"}).changed(address)
    database.close()
    with pytest.raises(LedgerError, match=r"sql:DESK/\w{8}: the environment variable DESK is not set"):
        state(of, tmp_path, {})


def test_documents_are_asked_whether_they_have_changed(tmp_path):
    server = MongoServer()
    address, fills = {"DESK": server.url}, server.data["desk"]["fills"]
    fills.insert_one({"_id": 1, "at": {"of": 5}})
    of = MongoDb(url_env="DESK", collection="fills", watch="at.of")
    before = of.changed(address)
    assert before == of.changed(address)
    fills.insert_one({"_id": 2, "at": {"of": 4}})
    more = of.changed(address)
    fills.update_one({"_id": 2}, {"$set": {"at.of": 6}})
    assert len({before, more, of.changed(address)}) == 3
    assert MongoDb(url_env="DESK", collection="fills").changed(address) is None
    server.fault = lambda command: "reset"
    with pytest.raises(LedgerError, match="cannot be asked whether its rows have changed"):
        state(source([{"mongodb": {"url_env": "DESK", "collection": "fills", "watch": "at"}}]), tmp_path, address)
    server.close()


def test_objects_and_the_files_beside_a_ledger_are_asked_whether_they_have_changed(tmp_path, monkeypatch):
    server = moto()
    server.environment(monkeypatch)
    (tmp_path / "prices.csv").write_text("date,symbol,close\n")
    of = source([f"s3://{BUCKET}/changes/*.csv"], prices="prices.csv")
    states = [state(of, tmp_path, {})]
    for body in (PLAIN, PLAIN + PLAIN):
        server.objects.client.put_object(Bucket=BUCKET, Key="changes/a.csv", Body=body.encode())
        states.append(state(of, tmp_path, {}))
    (tmp_path / "prices.csv").write_text("date,symbol,close\n2024-03-04,A,1\n")
    states.append(state(of, tmp_path, {}))
    assert len({*states}) == 4
    assert state(of, tmp_path, {}) == states[-1]
