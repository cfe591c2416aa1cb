"""What was verified is not verified again; whatever is not what it was is found all the same."""

import duckdb
import pytest

from benchmarks.support.data import BOOK, LEDGER
from weights_pipeline.checks import Verified, book_checks, look_ahead
from weights_pipeline.core import shards
from weights_pipeline.store import integrity
from weights_pipeline.store.once import ReadOnce


@pytest.fixture
def counted(monkeypatch):
    """Partitions compared and dates recomputed."""
    done = {"compared": 0, "recomputed": 0}

    def counting(module, name, what, many=lambda *arguments: 1):
        real = getattr(module, name)

        def call(*arguments):
            done[what] += many(*arguments)
            return real(*arguments)

        monkeypatch.setattr(module, name, call)

    counting(integrity, "content_hashes", "compared", lambda stored, table, keys: len(keys))
    counting(look_ahead, "recomputed", "recomputed")
    return done


def verify(desk, file):
    """Findings of the checks that remember, by name, and what they remember from now on."""
    verified, once = Verified(file), ReadOnce(desk.store)
    checks = [c for c in book_checks(desk.setup) if c.name in ("no_look_ahead", "stored_as_written")]
    with once.view():
        findings = {check.name: check.run(once, verified) for check in checks}
    verified.keep()
    return findings


def change(desk, statement):
    with duckdb.connect(str(desk.store.path)) as connection:
        connection.execute(statement).fetchall()


def test_what_was_verified_is_not_verified_again_and_says_the_same(finished, tmp_path, counted):
    file = tmp_path / "verified" / "book.json"
    first = verify(finished, file)
    assert counted["compared"] > 100
    # The ledger's tables are compared once somebody relies on them.
    verify(finished, file)
    done = dict(counted)
    again = verify(finished, file)
    assert counted == done
    assert done["recomputed"] == 3
    for name, finding in first.items():
        assert finding.passed
        assert (again[name].passed, again[name].value, again[name].summary) == (True, finding.value, finding.summary)


@pytest.mark.parametrize(("table", "at_once"), [("final_weights", 10**6), ("metrics", 200)])
def test_a_row_changed_by_hand_is_found_whatever_was_verified(
    finished, desk, tmp_path, counted, table, at_once, monkeypatch
):
    monkeypatch.setattr(shards, "AT_ONCE", at_once)
    own, file = desk(finished.settings.data, like=finished), tmp_path / "book.json"
    assert all(finding.passed for finding in verify(own, file).values())
    remembered, done = file.read_text(), counted["recomputed"]
    column = "final" if table == "final_weights" else "value"
    change(own, f"UPDATE {BOOK}.{table} SET {column} = 0.9 WHERE as_of = '2012-03-30' AND strategy = 'rsi2'")
    finding = verify(own, file)["stored_as_written"]
    assert finding.offending.to_dict("records") == [{"table": table, "partition": "2012-03-01"}]
    # Nothing that depends on altered rows is taken for verified.
    assert counted["recomputed"] == done + 3
    assert file.read_text() != remembered


@pytest.mark.parametrize("at_once", [10**6, 200])
def test_a_ledger_that_is_altered_is_not_taken_for_verified(finished, desk, tmp_path, at_once, monkeypatch):
    monkeypatch.setattr(shards, "AT_ONCE", at_once)
    own, file = desk(finished.settings.data, like=finished), tmp_path / "book.json"
    assert all(finding.passed for finding in verify(own, file).values())
    change(own, f"UPDATE {LEDGER}.trade_ledger SET pnl = pnl * 2 WHERE session < '2012-06-01'")
    assert not verify(own, file)["no_look_ahead"].passed


def test_a_record_changed_by_hand_is_found(finished, desk, tmp_path):
    own, file = desk(finished.settings.data, like=finished), tmp_path / "book.json"
    verify(own, file)
    change(
        own,
        "UPDATE store.partitions SET content_hash = 'of something else' "
        f"WHERE table_schema = '{BOOK}' AND table_name = 'risk_scalar' AND partition_key = '2012-03-01'",
    )
    assert not verify(own, file)["stored_as_written"].passed


def test_another_policy_or_file_is_verified_anew(finished, desk, own_data, tmp_path, counted):
    own, file = desk(own_data, like=finished), tmp_path / "book.json"
    verify(own, file)
    capital = own_data / "sample" / "capital.csv"
    capital.write_text(capital.read_text() + "\n")
    before = counted["recomputed"]
    verify(own, file)
    assert counted["recomputed"] == before + 3


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}', "\ud800"])
def test_a_file_that_nobody_can_read_remembers_nothing(tmp_path, content):
    file = tmp_path / "book.json"
    file.write_bytes(content.encode("utf-8", "surrogatepass"))
    unread = Verified(file)
    assert unread.before("a", "final_weights") == ""
    unread.passed("a", "final_weights", "of these rows")
    unread.keep()
    assert Verified(file).before("a", "final_weights") == "of these rows"
