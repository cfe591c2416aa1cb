"""Files as they are found: what tells that one has changed, and which version of it was read."""

import hashlib
import os

import pyarrow.fs
import pytest
import yaml

from weights_pipeline.ledger import LedgerError, load_ledger_source, read_ledger
from weights_pipeline.ledger.changes import state
from weights_pipeline.ledger.places import Folder, listed
from weights_pipeline_tests.support.trades import HORIZON, PLAIN, source


def test_a_listing_tells_which_files_are_new_or_have_changed(tmp_path):
    (tmp_path / "desk").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "desk" / name).write_text(PLAIN)
    before = listed(tmp_path, ["desk/*.csv", "none/*.csv"])
    assert [*before] == ["desk/a.csv", "desk/b.csv"]
    assert listed(tmp_path, ["desk/*.csv"]) == before
    seen = (tmp_path / "desk" / "a.csv").stat().st_mtime_ns
    os.utime(tmp_path / "desk" / "a.csv", ns=(seen, seen + 1_000_000_000))
    (tmp_path / "desk" / "c.csv").write_text(PLAIN)
    after = listed(tmp_path, ["desk/*.csv"])
    assert {path for path in after if after[path] != before.get(path)} == {"desk/a.csv", "desk/c.csv"}


def test_a_file_that_is_written_to_while_it_is_read_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "a.csv"
    file.write_text(PLAIN)
    [found] = Folder(tmp_path).find("a.csv")
    assert found.read() == PLAIN.encode()
    opened = pyarrow.fs.SubTreeFileSystem.open_input_file

    def written(self, path):
        stream = opened(self, path)
        file.write_text(PLAIN + PLAIN)
        return stream

    monkeypatch.setattr(
        Folder, "_files", property(lambda _: Late(str(tmp_path), pyarrow.fs.LocalFileSystem())), raising=True
    )
    monkeypatch.setattr(Late, "open_input_file", written, raising=False)
    with pytest.raises(LedgerError, match=r"a\.csv: was written to while the ledger was being read"):
        found.read()


class Late(pyarrow.fs.SubTreeFileSystem):
    """A file system whose files change once they are open."""


def test_every_file_that_a_ledger_names_is_looked_at(tmp_path):
    (tmp_path / "ledgers").mkdir()
    said = {
        "name": "desk",
        "description": "All that a ledger may name.",
        "timezone": "UTC",
        "first_month": "2024-01",
        "calendar": {"custom": {"file": "sessions.csv"}},
        "fills": [{"files": ["desk/*.csv"], "strategy_from": {"table": "whose.csv"}}],
        **{kind: [f"{kind}.csv"] for kind in ("lots", "cash", "openings", "returns")},
        **{name: f"{name}.csv" for name in ("prices", "instruments", "actions", "positions", "fx")},
        "currency": "USD",
        "capital": {"kind": "capital_base", "file": "capital.csv"},
        "benchmark": {"file": "benchmark.csv", "column": "close"},
    }
    (tmp_path / "sessions.csv").write_text("date\n2024-01-02\n2024-01-03\n")
    (tmp_path / "ledgers" / "desk.yaml").write_text(yaml.safe_dump(said))
    of = load_ledger_source(tmp_path / "ledgers" / "desk.yaml")
    named = {"sessions.csv", "desk/a.csv", "whose.csv", "capital.csv", "benchmark.csv"}
    named |= {f"{key}.csv" for key in said if said[key] in (f"{key}.csv", [f"{key}.csv"])}
    assert len(named) == 14
    states = [state(of, tmp_path, {})]
    for path in sorted(named):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        with (tmp_path / path).open("a") as file:
            file.write("2024-01-04\n")
        states.append(state(of, tmp_path, {}))
    assert len({*states}) == len(states)


def test_what_was_read_of_a_file_is_recorded_by_its_content(tmp_path):
    (tmp_path / "fills.csv").write_text(PLAIN)
    files = read_ledger(source(["fills.csv"]), tmp_path, horizon=HORIZON).files
    assert files["version"].tolist() == [hashlib.sha256(PLAIN.encode()).hexdigest()]
