"""From files to final weights on a small book: what comes later, and the order of rows and files, change no bit."""

import datetime as dt
import random
import shutil

import pandas as pd
import pytest

from benchmarks.support.data import cut_ledger, edit_rows, edit_yaml, open_ended
from weights_pipeline_tests.support.by_library import SMALL_BOOK, small_desk, tables_of

LOTS = "sample/lots/2012_2015.csv"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_desk(tmp_path_factory.mktemp("small_book") / "data")


@pytest.fixture(scope="module")
def tables(small):
    return tables_of(small)


@pytest.fixture
def own(small, tmp_path):
    """A copy of the small desk's data that a test may change."""
    return shutil.copytree(small, tmp_path / "data")


def time_column(table):
    return "as_of" if "as_of" in table else "session"


def before(tables, day):
    return {name: table[table[time_column(table)] < day].reset_index(drop=True) for name, table in tables.items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=True, obj=name)


def rewrite(file, rows):
    header = file.read_text().splitlines()[0]
    file.write_text("\n".join([header, *rows, ""]))


def test_the_small_book_has_what_the_others_speak_of(tables):
    assert set(tables["trade_ledger"]["source"]) == {"lots", "fills"}
    weights = tables["final_weights"]
    assert weights.groupby("as_of").size().tolist() == [len(SMALL_BOOK)] * 5
    assert {"floor: metric <= 0", "clipped at cap", "measured"} <= set(tables["target_weights"]["note"])
    assert set(tables["risk_regime"]["regime"]) >= {"NORMAL", "STRESS"}
    assert (weights["scalar"] < 1).any()
    assert (weights.groupby("strategy")["realized"].nunique() == 5).all()


@pytest.mark.parametrize(("last", "end"), [("2012-02", "2012-03-01"), ("2012-04", "2012-05-01")])
def test_weights_do_not_change_when_the_future_is_taken_away(tables, own, last, end):
    cut_ledger(own, end)
    edit_yaml(own / "ledgers" / "sample.yaml", last_month=last)
    found = tables_of(own)
    assert f"{found['final_weights']['as_of'].max():%Y-%m}" == last
    assert_same(found, before(tables, end))


def test_weights_do_not_change_when_the_future_is_another(tables, own):
    edit_rows(
        own / LOTS,
        lambda row: row | {"pnl": str(float(row["pnl"]) - 5000)} if row["closed_at"] >= "2012-04-01" else row,
    )
    found = tables_of(own)
    assert_same(before(found, "2012-04-01"), before(tables, "2012-04-01"))
    assert not found["final_weights"].equals(tables["final_weights"])


def test_a_correction_changes_weights_from_its_month_on(tables, own):
    changed = []

    def worse(row):
        if row["strategy"] == "rsi2" and row["closed_at"][:7] == "2012-03" and not changed:
            changed.append(row["closed_at"][:10])
            row["pnl"] = str(float(row["pnl"]) - 40_000)
        return row

    edit_rows(own / LOTS, worse)
    found = tables_of(own)
    assert_same(before(found, changed[0]), before(tables, changed[0]))
    weights = found["final_weights"]
    differ = weights["final"] != tables["final_weights"]["final"]
    assert weights.loc[differ, "as_of"].min() == pd.Timestamp("2012-03-30")
    assert differ[weights["as_of"] == "2012-05-31"].all()


@pytest.mark.parametrize("now", ["2012-03-01T10:30", "2012-04-20T10:30", "2012-05-01T10:30"])
def test_what_was_known_at_an_instant_is_what_is_still_said_of_it(tables, own, now):
    open_ended(own)
    found = tables_of(own, dt.datetime.fromisoformat(now).replace(tzinfo=dt.UTC))
    month = f"{now[:7]}-01"
    assert found["final_weights"]["as_of"].max() == tables["final_weights"]["as_of"][lambda days: days < month].max()
    assert_same(before(found, month), before(tables, month))
    returns = found["strategy_returns"]
    assert (returns["session"].max() < pd.Timestamp(now)) & (
        returns["session"].max() > pd.Timestamp(now) - pd.Timedelta(days=3)
    )
    assert_same(
        {"strategy_returns": returns},
        {"strategy_returns": before(tables, returns["session"].max() + pd.Timedelta(days=1))["strategy_returns"]},
    )


def test_neither_the_order_of_rows_nor_the_files_they_are_in_change_anything(tables, own):
    shuffled = random.Random(1)
    for file in own.glob("sample/*/*.csv"):
        _, *rows = file.read_text().splitlines()
        if file.parent.name == "lots":
            shuffled.shuffle(rows)
        rewrite(shutil.copy(file, file.with_stem(f"{file.stem}_rest")), rows[len(rows) // 3 :])
        rewrite(file, rows[: len(rows) // 3])
    found, expected = tables_of(own), dict(tables)
    # A lot matched from fills that have no order is named by another of them.
    content = ["symbol", "session", "open_session", "pnl", "entry_value"]
    lots, same = (
        each.pop("trade_ledger")[content].sort_values(content, ignore_index=True) for each in (found, expected)
    )
    assert_same(found | {"lots": lots}, expected | {"lots": same})
