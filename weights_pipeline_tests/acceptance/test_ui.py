"""What a person at the desk sees and does in the UI: ``dagster dev`` over a small store, in a real browser."""

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Page, expect

from benchmarks.support import ui
from benchmarks.support.data import BOOK, LEDGER
from weights_pipeline_tests.support.desk import Desk

# One server and one browser for all of them, so all of them on one worker.
pytestmark = pytest.mark.xdist_group("ui")

CHAIN = (
    "trade_ledger",
    "strategy_returns",
    "metrics",
    "target_weights",
    "realized_weights",
    "risk_scalar",
    "final_weights",
    "live_weights",
)


@pytest.fixture(scope="module")
def store(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """An empty store, and an instance that the UI can read."""
    home = tmp_path_factory.mktemp("ui") / "home"
    data = Path(shutil.copytree(small_data, home.parent / "data"))
    ui.configure(home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Desk(data, home, instance, draws=1)


@pytest.fixture(scope="module")
def browser(store: Desk) -> Iterator[BrowserContext]:
    """A browser on the UI, which starts while three months of ledger and one of weights are stored."""
    with ui.serving(store.settings.home, store.settings.data) as served:
        store.job(LEDGER, "2012-01-01", "2012-03-01")
        store.job(BOOK, "2012-01-01")
        served.ready()
        with ui.browsing(served.url) as browser:
            yield browser


@pytest.fixture(scope="module")
def tab(browser: BrowserContext) -> Page:
    """One tab for all tests: a new one would read and compile the whole UI anew."""
    return browser.new_page()


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """The tab, on whose console nothing may go wrong."""
    wrong: list[str] = []

    def listen(said: ConsoleMessage) -> None:
        if said.type == "error":
            wrong.append(said.text)

    def catch(error: Error) -> None:
        wrong.append(str(error))

    tab.on("console", listen)
    tab.on("pageerror", catch)
    yield tab
    tab.remove_listener("console", listen)
    tab.remove_listener("pageerror", catch)
    assert not wrong


@pytest.fixture(scope="module")
def launched(tab: Page) -> tuple[str, str]:
    """Where the run of a month is shown, and the name of the backfill of a range of weights.

    Both are launched before a page is looked at and are looked at last, while they run.
    """
    run = ui.launch_month(tab, f"{LEDGER}/market_regime", "2012-04-01")
    backfill = ui.launch_range(tab, BOOK, "[2012-02-01...2012-03-01]")
    return run, backfill


def test_range_of_weights_is_launched_as_one_backfill(page: Page, launched: tuple[str, str]):
    page.goto("/runs?view=backfills")
    expect(page.get_by_role("link", name=launched[1]).first).to_be_visible()
    expect(page.get_by_text("2 partitions")).to_be_visible()


def test_lineage_reads_from_the_ledger_on_the_left_to_live_weights_on_the_right(page: Page):
    page.goto(f"/asset-groups/?expanded=global@global:{LEDGER},global@global:{BOOK}")
    nodes = [page.get_by_text(name, exact=True) for name in CHAIN]
    for node in nodes:
        expect(node).to_be_visible()
    middles = [box["x"] + box["width"] / 2 for node in nodes if (box := node.bounding_box())]
    assert len(middles) == len(CHAIN)
    assert all(left < right for left, right in pairwise(middles)), middles


def test_schedule_says_when_it_rebalances_next_and_in_which_zone(page: Page):
    page.goto(f"{ui.LOCATION}/schedules/{BOOK}_rebalance")
    expect(page.get_by_role("row", name="Description")).to_contain_text("monthly on day 1 at 06:30")
    expect(page.get_by_role("row", name="Execution timezone")).to_contain_text("America/New_York")
    page.get_by_role("row", name="Running").get_by_role("img").click()
    expect(page.get_by_role("row", name="Next tick")).to_contain_text(re.compile(r" 1, 6:30.* AM E[SD]T"))


def test_partition_shows_its_figures_and_its_chart(page: Page):
    ui.open_partition(page, f"{BOOK}/final_weights", "2012-01-01")
    expect(page.get_by_role("row", name=re.compile(r"^gross 1"))).to_be_visible()
    page.get_by_role("row", name=re.compile(r"^chart ")).get_by_text("[Show Markdown]").click()
    chart = page.get_by_role("dialog").get_by_role("img", name="chart of 2012-01-01")
    expect(chart).to_be_visible()
    assert chart.evaluate("image => image.naturalWidth") > 300


def test_month_is_materialised_by_its_run(page: Page, launched: tuple[str, str]):
    page.goto(launched[0])
    assert ui.outcome(page) == "Success"
    ui.open_partition(page, f"{LEDGER}/market_regime", "2012-04-01")
    expect(page.get_by_text("Materialized", exact=True)).to_be_visible()


def test_range_of_weights_is_materialised_in_one_run(page: Page, launched: tuple[str, str]):
    page.goto(f"/runs/b/{launched[1]}?tab=runs")
    assert ui.outcome(page) == "Success"
    expect(page.get_by_role("link", name=BOOK, exact=True)).to_have_count(1)
    for month in ("2012-02-01", "2012-03-01"):
        ui.open_partition(page, f"{BOOK}/final_weights", month)
        expect(page.get_by_text("Materialized", exact=True)).to_be_visible()


def test_check_shows_its_value_and_its_limit(page: Page):
    ui.open_check(page, f"{BOOK}/realized_weights", "hard_limits")
    expect(page.get_by_text("Passed")).to_be_visible()
    expect(page.get_by_text("weights that break a limit: 0")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile(r"^limit 1e-9$"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile(r"^value \d"))).to_be_visible()
    expect(page.get_by_role("row", name="offending_rows 0")).to_be_visible()


def test_broken_cap_turns_its_check_red_and_names_the_strategies(page: Page, store: Desk):
    ui.move_weight(store.store, BOOK, "2012-01-01", 0.09, "trend_long", "rsi2")
    ui.open_check(page, f"{BOOK}/realized_weights", "hard_limits")
    ui.execute_check(page)
    expect(page.get_by_text("weights that break a limit: 2")).to_be_visible()
    page.get_by_role("row", name=re.compile("^offending ")).get_by_text("[Show Markdown]").click()
    named = page.get_by_role("dialog")
    expect(named.get_by_role("row", name="rsi2")).to_contain_text("above its cap")
    expect(named.get_by_role("row", name="trend_long")).to_contain_text("below its floor")


def test_without_chromium_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"`apt-get install chromium` or `\.venv/bin/playwright install chromium`"):
        ui.chromium(str(tmp_path / "chrome"))
