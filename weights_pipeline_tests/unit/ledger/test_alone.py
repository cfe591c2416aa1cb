"""A file by itself: which importers and settings read most of its rows."""

import pytest

from weights_pipeline.ledger import LedgerError
from weights_pipeline.ledger.alone import attempts, ledger_of_file, local_place
from weights_pipeline_tests.support.trades import FILLS, PLAIN
from weights_pipeline_tests.unit.ledger.importers.test_importers import SAMPLES


def found(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return attempts(name, folder, folder / "ledgers")


@pytest.mark.parametrize("name", ["ibkr_flex_trades", "lean_trades", "alpaca_cash", "ibkr_flex_open_positions_xml"])
def test_an_export_is_recognised(tmp_path, name):
    best = found(tmp_path, SAMPLES[name].name, SAMPLES[name].read_bytes())[0]
    assert (best.importer, best.settings) == (name, {})


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        (PLAIN, {}),
        (PLAIN.replace(",", ";"), {"delimiter": ";"}),
        (PLAIN.encode("utf-16"), {"encoding": "utf-16"}),
        (FILLS.assign(fees="-" + FILLS["fees"]).to_csv(index=False), {"fees_sign": "negative_is_cost"}),
        (PLAIN.replace(",", ";").replace(".", ","), {"delimiter": ";", "decimal": ","}),
        (PLAIN.replace(",34.", ",$34."), {"currency_signs": ["$"]}),
    ],
    ids=lambda value: "" if isinstance(value, str | bytes) else ",".join(value),
)
def test_settings_that_read_the_ledgers_own_form(tmp_path, content, settings):
    best = found(tmp_path, "fills.csv", content)[0]
    assert (best.importer, best.kind, dict(best.settings)) == ("", "fills", settings)
    assert (best.accepted, best.read) == (len(FILLS), len(FILLS))


def test_a_file_of_nothing_that_is_known_has_no_suggestion(tmp_path):
    assert found(tmp_path, "notes.csv", "a,b\n1,2\n") == []
    assert found(tmp_path, "notes.csv", b"") == []
    with pytest.raises(LedgerError, match=r"none\.csv: cannot be read"):
        attempts("none.csv", tmp_path, tmp_path)


def test_rows_of_nobody_are_those_of_the_file(tmp_path):
    (tmp_path / "carry.csv").write_text(FILLS.drop(columns="strategy").to_csv(index=False))
    [files] = ledger_of_file("carry.csv", tmp_path, tmp_path, kind="fills").fills
    assert files.constants == {"strategy": "carry"}
    (tmp_path / "own.csv").write_text(PLAIN)
    [files] = ledger_of_file("own.csv", tmp_path, tmp_path, kind="fills").fills
    assert files.constants == {}


def test_a_file_of_the_data_folder_keeps_its_path_there(tmp_path):
    (tmp_path / "data" / "desk").mkdir(parents=True)
    for file in (inside := tmp_path / "data" / "desk" / "a.csv", outside := tmp_path / "b.csv"):
        file.write_text(PLAIN)
    assert local_place(str(inside), tmp_path / "data") == (tmp_path / "data", "desk/a.csv")
    assert local_place(str(outside), tmp_path / "data") == (tmp_path, "b.csv")
    assert local_place("s3://desk/a.csv", tmp_path) == (tmp_path, "s3://desk/a.csv")
