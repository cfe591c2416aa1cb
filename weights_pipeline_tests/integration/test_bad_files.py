"""One bad file stops one book: the others load, run and are checked, and who is to mend it is told."""

import json
import shutil

import dagster as dg
import pytest

from benchmarks.support.data import BOOK, DATA
from weights_pipeline.alerts import Outbox
from weights_pipeline.alerts.deadlines import left_out
from weights_pipeline.books.reading import BookError
from weights_pipeline.cli.app import main
from weights_pipeline.ledger import LedgerError
from weights_pipeline.orchestration.definitions import build_definitions, definitions
from weights_pipeline.settings import Settings
from weights_pipeline.workspace import Workspace

OTHER = "sharpe_weekly"


@pytest.fixture
def data(own_data):
    """Two books, of which tests spoil one."""
    shutil.copy(DATA / "books" / f"{OTHER}.yaml", own_data / "books")
    return own_data


@pytest.fixture
def environment(data, tmp_path, monkeypatch):
    for name, folder in {"WEIGHTS_DATA": data, "WEIGHTS_HOME": tmp_path / "home"}.items():
        monkeypatch.setenv(name, str(folder))


def spoil_book(data):
    file = data / "books" / f"{OTHER}.yaml"
    file.write_text(file.read_text().replace("kind: weekly", "kind: hourly"))
    return f"{OTHER}.yaml: cadence"


def spoil_ledger(data):
    file = data / "books" / f"{OTHER}.yaml"
    file.write_text(file.read_text().replace("ledger: sample", "ledger: nowhere"))
    return f"book {OTHER}: ledger: there is no"


def name_a_strategy_that_was_removed(data):
    figures = {"twelve_month_return": 0.2, "twelve_month_max_drawdown": 0.1, "calmar_ratio": 2, "months_of_data": 12}
    (data / "starter.json").write_text(json.dumps({"gone": figures}))
    file = data / "books" / f"{OTHER}.yaml"
    file.write_text(file.read_text() + "starter_metrics: starter.json\n")
    return "strategies ['gone'] are not in book sharpe_weekly"


@pytest.mark.parametrize("spoil", [spoil_book, spoil_ledger, name_a_strategy_that_was_removed])
def test_one_bad_file_stops_one_book(data, tmp_path, spoil):
    said = spoil(data)
    workspace = Workspace(Settings(data=data, home=tmp_path / "home"))
    jobs = {job.name for job in build_definitions(workspace).jobs}
    assert BOOK in jobs
    assert OTHER not in jobs
    with pytest.raises((BookError, LedgerError)) as caught:
        workspace.setup(OTHER)
    assert said in str(caught.value)
    [alert] = left_out(workspace, lambda *path: "/".join(path))
    assert (alert.book, alert.title) == (OTHER, "is not valid and left out")
    assert said in alert.detail


def test_a_file_spoiled_after_loading_is_told_of_before_anybody_reloads(data, tmp_path):
    workspace = Workspace(Settings(data=data, home=tmp_path / "home"))
    build_definitions(workspace)
    assert left_out(workspace, lambda *_: "") == []
    said = spoil_book(data)
    [alert] = left_out(workspace, lambda *_: "")
    assert said in alert.detail


def test_what_cannot_be_built_takes_nothing_down_with_it(data, tmp_path, monkeypatch):
    def broken(setup, checks):
        if setup.name == OTHER:
            raise ZeroDivisionError("no such day")
        return []

    monkeypatch.setattr("weights_pipeline.orchestration.definitions.weight_assets", broken)
    workspace = Workspace(Settings(data=data, home=tmp_path / "home"))
    jobs = {job.name for job in build_definitions(workspace).jobs}
    assert BOOK in jobs
    assert OTHER not in jobs
    assert "ZeroDivisionError: no such day" in str(workspace.dropped[OTHER])


def test_the_code_location_loads_where_no_book_is_valid_and_tells_of_it(data, tmp_path, monkeypatch, environment):
    shutil.rmtree(data / "books")
    loaded = definitions()
    assert {each.name for each in loaded.sensors} == {"alerts_of_runs", "alerts_of_time"}
    [of_time] = [each for each in loaded.sensors if each.name == "alerts_of_time"]
    monkeypatch.delenv("WEIGHTS_ALERTS", raising=False)
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance=instance, resources=dict(loaded.resources)) as context,
    ):
        of_time.evaluate_tick(context)
    told = Outbox(tmp_path / "home" / "alerts").folder / "alerts.log"
    assert "no books" in told.read_text()


def test_commands_go_on_with_the_others_and_say_so(data, environment, capsys):
    said = spoil_book(data)
    with pytest.raises(SystemExit) as ended:
        main(["books", "--json"])
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert [each["book"] for each in json.loads(out)] == [BOOK]
    assert f"weights: {OTHER} is left out: " in err
    assert said in err
    with pytest.raises(SystemExit) as ended:
        main(["run", "--book", OTHER, "--partition", "2013-01"])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
