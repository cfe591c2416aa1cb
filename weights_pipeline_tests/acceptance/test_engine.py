"""Shards on a Dask cluster of processes on loopback: the bits of one process, or one clear error."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks.support.dask_cluster import cluster
from benchmarks.support.data import BOOK, LEDGER
from benchmarks.support.s3_servers import certify, moto
from weights_pipeline.core import shards
from weights_pipeline.core.chain import metric_rows
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.targets.methods.power_tilt import CalmarTilt
from weights_pipeline.engine import EngineError, OtherVersionError, open_engine
from weights_pipeline.engine import cluster as dask
from weights_pipeline.ledger import tables
from weights_pipeline.orchestration import runs
from weights_pipeline.settings import Settings
from weights_pipeline.store import open_store
from weights_pipeline.tables import catalog
from weights_pipeline.workspace import Workspace
from weights_pipeline_tests.support.commands import Result
from weights_pipeline_tests.support.desk import drawing
from weights_pipeline_tests.support.on_workers import dies, dies_once, power, refused
from weights_pipeline_tests.unit.core.study.test_simulate import BASE, MONTHS, history_of, random_returns

pytest.importorskip("distributed", reason="an extra: pip install -e '.[dask]'")
pytestmark = pytest.mark.xdist_group("engine")


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("dask"), 2) as made:
        yield made.address


@pytest.fixture(scope="module")
def engine(two_workers):
    with open_engine(two_workers) as made:
        yield made


def test_results_come_in_the_order_of_the_shards(engine):
    assert list(engine.map(partial(power, 3), range(40))) == [3**n for n in range(40)]
    assert list(engine.map(partial(power, 3), [])) == []


def test_processes_of_this_machine_work_while_they_are_asked():
    with open_engine("local", lambda: "") as own:
        assert own.width == len(os.sched_getaffinity(0))
        assert list(own.map(partial(power, 3), range(9))) == [3**n for n in range(9)]


def test_shards_are_taken_as_they_are_worked_on(engine):
    taken = []
    results = engine.map(partial(power, 2), (taken.append(n) or n for n in range(100)))
    assert next(results) == 1
    assert len(taken) < 20


def test_what_a_function_says_of_its_shard_is_said_here_with_the_name_of_the_shard(engine, two_workers):
    with pytest.raises(ValueError, match="alpha: has no capital") as error:
        list(engine.map(refused, [shards.Shard(("alpha", "beta"))]))
    assert error.value.__notes__ == [f"in shard the 2 strategies alpha to beta, worked on at {two_workers}"]


def test_a_worker_that_dies_loses_nothing(tmp_path):
    with cluster(tmp_path, 2) as made, open_engine(made.address) as own:
        assert list(own.map(partial(dies_once, str(tmp_path)), range(12))) == [2 * n for n in range(12)]
    assert (tmp_path / "died").exists()


def test_a_shard_that_takes_every_worker_along_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with (
        cluster(tmp_path, 2) as made,
        open_engine(made.address) as own,
        pytest.raises(EngineError, match=r"strategy alpha: every worker of tcp://.* that took it has died"),
    ):
        list(own.map(dies, [shards.Shard(("alpha",))]))


def test_somebody_of_another_version_is_refused_by_name(two_workers):
    with (
        pytest.raises(OtherVersionError, match=r"the scheduler runs \d+, worker tcp://.* runs \d+.*install the same"),
        open_engine(two_workers, lambda: str(os.getpid())),
    ):
        pass


def test_a_worker_of_another_version_that_comes_later_is_refused_too(two_workers, tmp_path):
    version = tmp_path / "version"
    version.write_text("1")

    def version_of():
        return version.read_text()

    with open_engine(two_workers, version_of) as own:
        assert list(own.map(partial(power, 2), [1])) == [2]
        version.write_text("2")
        with pytest.raises(OtherVersionError, match="a worker runs 2, this process 1"):
            list(own.map(partial(power, 2), [1]))


def test_a_scheduler_that_is_not_there_and_one_without_workers_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(dask, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(dask, "WORKERS_SECONDS", 1.0)
    with (
        pytest.raises(
            EngineError, match=r"WEIGHTS_ENGINE: no Dask scheduler answers at tcp://127\.0\.0\.1:9; start it"
        ),
        open_engine("tcp://127.0.0.1:9"),
    ):
        pass
    with (
        cluster(tmp_path, 0) as made,
        pytest.raises(EngineError, match="has no worker; start one with `dask worker tcp://"),
        open_engine(made.address),
    ):
        pass


CONNECTING = """
import sys
from functools import partial
from weights_pipeline.engine import EngineError, open_engine
from weights_pipeline.engine import cluster
from weights_pipeline_tests.support.on_workers import power

cluster.CONNECT_SECONDS = float(sys.argv[1])
for address in sys.argv[2:]:
    try:
        with open_engine(address, lambda: "") as engine:
            print(list(engine.map(partial(power, 2), range(5))))
    except EngineError as error:
        print(error)
"""


def test_a_scheduler_that_asks_for_certificates_is_reached_with_them_alone(tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certify(certificate, key)
    tls = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(certificate)}
    for part in ("SCHEDULER", "WORKER", "CLIENT"):
        tls[f"DASK_DISTRIBUTED__COMM__TLS__{part}__CERT"] = str(certificate)
        tls[f"DASK_DISTRIBUTED__COMM__TLS__{part}__KEY"] = str(key)
    only = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true", "DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME": "tls"}

    def told(seconds, *addresses, **variables):
        command = [sys.executable, "-c", CONNECTING, seconds, *addresses]
        found = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | variables)
        return found.stdout.splitlines()

    with cluster(tmp_path, 1, **tls, **only) as made:
        assert made.address.startswith("tls://")
        assert told("60", made.address, **tls)[-1] == "[1, 2, 4, 8, 16]"
        *_, bare, plain = told("2", made.address, made.address.replace("tls:", "tcp:"))
        assert "asks for certificates; set DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in bare
        assert "no Dask scheduler answers" in plain


@pytest.mark.parametrize("size", [1, 4, 64])
def test_metrics_are_the_same_bits_in_any_number_of_shards(engine, size, monkeypatch):
    history, policy = history_of(random_returns(3)), Policy(base=BASE, method=CalmarTilt())
    whole = metric_rows(history, MONTHS, policy)
    monkeypatch.setattr(shards, "SIZE", size)
    for over in (map, engine.map):
        pd.testing.assert_frame_equal(metric_rows(history, MONTHS, policy, over), whole, check_exact=True)


def test_a_grid_gives_the_same_bytes(two_workers, tmp_path, monkeypatch, small_data):
    monkeypatch.setenv("WEIGHTS_DATA", str(small_data))
    book = small_data / "books" / f"{BOOK}.yaml"
    names = list(Workspace(Settings(data=small_data, home=tmp_path)).books[BOOK].strategies)
    days = pd.bdate_range("2012-01-03", "2013-06-28", name="date")
    days = days[days.isin(pd.DatetimeIndex(_sessions()))]
    values = np.random.default_rng(5).normal(4e-4, 0.01, (len(days), len(names))).round(8)
    pd.DataFrame(values, index=days, columns=names).to_csv(tmp_path / "returns.csv")
    given = ("--book", str(book), "--returns", str(tmp_path / "returns.csv"), "--grid", "adjustment.rate=0.1,0.5,1")
    monkeypatch.setattr("weights_pipeline.operations.policy_grid.BATCH", 1)
    made = {}
    for address in ("", two_workers):
        monkeypatch.setenv("WEIGHTS_ENGINE", address)
        output = tmp_path / "grid.parquet"
        result = Result("simulate", *given, "--output", str(output))
        assert result.exit_code == 0, result.errors
        made[address] = output.read_bytes()
        output.unlink()
    assert made[two_workers] == made[""]


def _sessions():
    from weights_pipeline.ledger import calendar_sessions

    return calendar_sessions("XNYS", pd.Timestamp("2012-01-01").date(), pd.Timestamp("2013-06-30").date())


def test_a_run_through_dagster_on_s3_stores_what_one_process_stores(
    two_workers, finished, small_data, tmp_path, monkeypatch, instance
):
    moto().environment(monkeypatch)
    monkeypatch.setattr(shards, "SIZE", 3)
    monkeypatch.setitem(tables.stored_return_rows.__kwdefaults__, "at_once", 50)
    monkeypatch.setattr(shards, "AT_ONCE", 50)
    settings = Settings(data=small_data, home=tmp_path, store=moto().store().location, engine=two_workers)
    with drawing(0):
        report = runs.materialise(Workspace(settings), BOOK, "2012-01", "2012-02", instance=instance)
    assert report.success, report.errors

    def hashes(store):
        return {
            (schema, table.name, key): kept.content_hash
            for schema in (LEDGER, BOOK)
            for table in catalog.TABLES.values()
            for key, kept in store.partitions(schema, table.name).items()
            if key[:7] in ("2012-01", "2012-02")
        }

    made = hashes(open_store(settings))
    assert len(made) >= 20
    assert made == hashes(finished.store)
    [first] = {run.run_id for run in instance.get_runs() if run.job_name == LEDGER}
    told = [entry.user_message for entry in instance.all_logs(first)]
    assert any(f"shards done at {two_workers}" in message for message in told)
