"""A ledger in PostgreSQL: streamed from one snapshot by a transaction that can only read, and never in part."""

from urllib.parse import quote

import psycopg2
import pytest

from weights_pipeline.ledger.errors import LedgerError
from weights_pipeline.ledger.sources import sql as adapter
from weights_pipeline.ledger.sources.reading import read_rows
from weights_pipeline.ledger.sources.sql import Sql
from weights_pipeline_tests.acceptance.test_deploy import PASSWORD, postgres

__all__ = ["postgres"]
ROWS = 500
CREATE = """
CREATE TABLE fills AS
SELECT 'f' || i AS fill_id, timestamptz '2024-01-02 15:00Z' + i * interval '1 second' AS ts,
       (i % 2 * 2 - 1) * 10.50::numeric(18, 4) AS amount, i % 3 = 0 AS maker, NULL::text AS note
FROM generate_series(1, 500) AS i
"""
QUERY = "SELECT * FROM fills ORDER BY ts, fill_id"


@pytest.fixture
def desk(postgres, monkeypatch):
    """A table of fills, its address as the environment has it, and a connection that may do anything."""
    port = postgres["WEIGHTS_PG_PORT"]
    owner = psycopg2.connect(host="127.0.0.1", port=port, user="weights", password=PASSWORD, dbname="postgres")
    owner.autocommit = True
    owner.cursor().execute(CREATE)
    monkeypatch.setattr(adapter, "PAGE", 50)
    yield (
        {"DESK": f"postgresql+psycopg2://weights:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"},
        owner.cursor(),
    )
    owner.close()


def test_rows_of_postgresql(desk, monkeypatch):
    environment, owner = desk
    table = read_rows(Sql(url_env="DESK", query=QUERY), environment)
    assert table.num_rows == ROWS
    assert table.slice(0, 1).to_pylist() == [
        {"fill_id": "f1", "ts": "2024-01-02T15:00:01+00:00", "amount": "10.5000", "maker": "false", "note": None}
    ]

    # What others write meanwhile belongs to the next read, and a connection that is lost begins it.
    page, pages, pauses = adapter.batch, [], []

    def meanwhile(names, rows):
        pages.append(len(rows))
        if len(pages) == 3:
            owner.execute("DELETE FROM fills WHERE fill_id IN ('f499', 'f500')")
        if len(pages) == 20:
            owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        return page(names, rows)

    monkeypatch.setattr(adapter, "batch", meanwhile)
    assert read_rows(Sql(url_env="DESK", query=QUERY), environment).num_rows == ROWS
    assert read_rows(Sql(url_env="DESK", query=QUERY), environment, pause=pauses.append).num_rows == ROWS - 2
    assert len(pauses) == 1

    for query, says in (
        ("WITH gone AS (DELETE FROM fills RETURNING 1) SELECT 1 ORDER BY 1", "must not contain data-modifying"),
        ("SELECT setval('counter', 1) ORDER BY 1", 'relation "counter" does not exist'),
        ("SELECT colour FROM fills ORDER BY 1", 'column "colour" does not exist'),
    ):
        with pytest.raises(LedgerError, match=says):
            read_rows(Sql(url_env="DESK", query=query), environment, pause=pauses.append)
    wrong = {"DESK": environment["DESK"].replace(quote(PASSWORD, safe=""), "CANARY")}
    with pytest.raises(LedgerError, match="password authentication failed") as refused:
        read_rows(Sql(url_env="DESK", query=QUERY), wrong, pause=pauses.append)
    assert "CANARY" not in str(refused.value)
    assert len(pauses) == 1
    owner.execute("SELECT count(*) FROM fills")
    assert owner.fetchone() == (ROWS - 2,)
