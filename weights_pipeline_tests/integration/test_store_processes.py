"""Several processes on one DuckDB file: its lock, writers at once, a writer that is killed."""

import datetime as dt
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from weights_pipeline.store.duckdb_store import DuckDBStore, StoreLockedError
from weights_pipeline_tests.support.small_table import WINDOWS, frame, small_table

NOW = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)


def write(store, rows, windows=WINDOWS, table=None, run_id="run"):
    return store.write("book", table or small_table(), rows, windows, run_id=run_id, recorded_at=NOW)


@pytest.fixture
def store(tmp_path):
    return DuckDBStore(tmp_path / "weights.duckdb", lock_timeout=60)


def hold(store, seconds):
    code = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(%s)"
    process = subprocess.Popen([sys.executable, "-c", code % seconds, str(store.path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_waits_for_the_lock_of_another_process(store):
    write(store, frame())
    holder = hold(store, 600)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write, store, frame().assign(value=7.0))
        with pytest.raises(TimeoutError):
            written.result(0.5)
        holder.kill()
        written.result(60)
    assert set(store.read("book", small_table())["value"]) == {7.0}
    holder.wait()


def test_gives_up_on_a_lock_after_the_time_out_and_names_the_holder(store):
    write(store, frame())
    impatient = DuckDBStore(store.path, lock_timeout=0.3)
    holder = hold(store, 30)
    try:
        with pytest.raises(StoreLockedError, match=f"(?s)stayed locked for 0.3 s.*{holder.pid}"):
            write(impatient, frame())
    finally:
        holder.kill()
        holder.wait()


WORKER = textwrap.dedent(
    """
    import sys
    import numpy as np, pandas as pd
    from pathlib import Path
    from weights_pipeline.store.duckdb_store import DuckDBStore
    from weights_pipeline_tests.support.small_table import month, small_table
    from weights_pipeline_tests.integration.test_store_processes import NOW
    number, rounds = int(sys.argv[2]), int(sys.argv[3])
    store = DuckDBStore(Path(sys.argv[1]), lock_timeout=100)
    own = month(f"2020-{number + 1:02d}-01")
    for turn in range(rounds):
        rows = pd.DataFrame({
            "day": pd.to_datetime([own.key] * 4), "name": list("abcd"), "value": float(turn),
            "count": number, "flag": True,
        })
        store.write("book", small_table(), rows, [own], run_id=str(number), recorded_at=NOW)
        back = store.read("book", small_table(), [own.key])
        assert back["value"].tolist() == [float(turn)] * 4, back
        # Whatever else is there is whole: four equal rows per partition, never a mixture.
        whole = store.read("book", small_table()).groupby("count")["value"]
        assert (whole.size() == 4).all() and (whole.nunique() == 1).all()
    """
)


def test_many_processes_on_one_file_neither_fail_nor_lose_rows(store):
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(store.path), str(n), "4"], stderr=subprocess.PIPE)
        for n in range(3)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=100)
        assert worker.returncode == 0, errors.decode()
    rows = store.read("book", small_table())
    assert len(rows) == 12
    assert (rows["value"] == 3.0).all()
    assert sorted(store.partitions("book", "small")) == [f"2020-{n:02d}-01" for n in range(1, 4)]


def test_a_process_killed_inside_a_write_leaves_the_old_rows(store):
    write(store, frame())
    code = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from weights_pipeline.store import duckdb_store
        from weights_pipeline_tests.support.small_table import frame
        from weights_pipeline_tests.integration.test_store_processes import write
        real = duckdb_store._insert
        def dies(connection, name, stored):
            real(connection, name, stored)
            os.kill(os.getpid(), signal.SIGKILL)
        duckdb_store._insert = dies
        write(duckdb_store.DuckDBStore(Path(sys.argv[1])), frame().assign(value=99.0))
        """
    )
    died = subprocess.run([sys.executable, "-c", code, str(store.path)], check=False, capture_output=True)
    assert died.returncode == -9, died.stderr.decode()
    assert np.nanmax(store.read("book", small_table())["value"]) == 2.0
    write(store, frame().assign(value=3.0))
    assert set(store.read("book", small_table())["value"]) == {3.0}
