"""What a person at the desk sees and does in the UI: ``weights ui`` over a small store, in a real browser."""

import http.server
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Page, expect

from benchmarks.support import ui
from benchmarks.support.data import BOOK, LEDGER
from weights_pipeline_tests.support.desk import Desk
from weights_pipeline_tests.support.waiting import until

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
def served(store: Desk) -> Iterator[ui.Served]:
    """The UI, which starts while three months of ledger and one of weights are stored."""
    with ui.serving(store.settings.home, store.settings.data) as served:
        store.job(LEDGER, "2012-01-01", "2012-03-01", checks=False)
        store.job(BOOK, "2012-01-01")
        served.ready()
        yield served


@pytest.fixture(scope="module")
def browser(served: ui.Served) -> Iterator[BrowserContext]:
    """A browser on the UI."""
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


def ended(store: Desk, page: Page, chosen: Callable[[dg.DagsterRun], object]) -> None:
    """Wait until a run that was launched has ended; a page that shows it would ask for it all the time."""
    page.goto("about:blank")
    until(lambda: any(run.is_finished and chosen(run) for run in store.instance.get_runs()), ui.RUN / 1000)


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
    # Of another year the page names it.
    expect(page.get_by_role("row", name="Next tick")).to_contain_text(re.compile(r" 1, (\d{4}, )?6:30.* AM E[SD]T"))


def test_partition_shows_its_figures_and_its_chart(page: Page):
    ui.open_partition(page, f"{BOOK}/final_weights", "2012-01-01")
    expect(page.get_by_role("row", name=re.compile(r"^gross 1"))).to_be_visible()
    page.get_by_role("row", name=re.compile(r"^chart ")).get_by_text("[Show Markdown]").click()
    chart = page.get_by_role("dialog").get_by_role("img", name="chart of 2012-01-01")
    expect(chart).to_be_visible()
    assert chart.evaluate("image => image.naturalWidth") > 300


def test_month_is_materialised_by_its_run(page: Page, store: Desk, launched: tuple[str, str]):
    ended(store, page, lambda run: launched[0].endswith(run.run_id))
    page.goto(launched[0])
    assert ui.outcome(page) == "Success"
    ui.open_partition(page, f"{LEDGER}/market_regime", "2012-04-01")
    expect(page.get_by_text("Materialized", exact=True)).to_be_visible()


def test_range_of_weights_is_materialised_in_one_run(page: Page, store: Desk, launched: tuple[str, str]):
    ended(store, page, lambda run: run.tags.get("dagster/backfill") == launched[1])
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
    ended(store, page, lambda run: run.asset_check_selection and not run.asset_selection)
    ui.open_check(page, f"{BOOK}/realized_weights", "hard_limits")
    ui.expect_red(page)
    expect(page.get_by_text("weights that break a limit: 2")).to_be_visible()
    page.get_by_role("row", name=re.compile("^offending ")).get_by_text("[Show Markdown]").click()
    named = page.get_by_role("dialog")
    expect(named.get_by_role("row", name="rsi2")).to_contain_text("above its cap")
    expect(named.get_by_role("row", name="trend_long")).to_contain_text("below its floor")


# What a page on the web can try without the user's doing: requests it may send unasked, and what shows their answers.
HOSTILE = """<!doctype html><title>hostile</title><script>
const graphql = "SERVER/graphql", mutation = `MUTATION`, body = JSON.stringify({query: mutation});
const get = graphql + "?query=" + encodeURIComponent(mutation);
const asked = (address, how) => fetch(address, {credentials: "include", ...how})
  .then(answer => answer.type + answer.status, () => "failed");
const image = new Promise(done => { const i = new Image(); i.onload = i.onerror = e => done(e.type); i.src = get; });
const socket = new Promise(done => { const s = new WebSocket(graphql.replace("http", "ws"), "graphql-ws");
  s.onopen = () => done("open"); s.onerror = () => done("refused"); });
addEventListener("load", () => {
  const form = document.createElement("form");
  Object.assign(form, {method: "post", action: get, target: "frame", enctype: "text/plain"});
  document.body.append(form, Object.assign(document.createElement("iframe"), {name: "frame"}));
  form.submit();
  Promise.all([asked(get, {mode: "no-cors"}), asked(graphql, {method: "POST", mode: "no-cors", body}),
    asked(graphql, {method: "POST", body, headers: {"content-type": "application/json"}}), asked("SERVER/server_info"),
    image, socket]).then(all => { document.title = "done " + all.join(" "); });
});
</script><body></body>"""


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_hostile_page_changes_nothing_and_reads_nothing(name: str, browser: BrowserContext, store: Desk):
    """One of another port of this machine, which browsers take for the same site, and one of another site."""
    answered: dict[str, int] = {}
    page, pools = browser.new_page(), store.instance.event_log_storage.get_concurrency_keys
    own = page.request.get("/server_info")
    server = own.url.removesuffix("/server_info")
    mutation = f'mutation {{ setConcurrencyLimit(concurrencyKey: "{name}", limit: 1) }}'
    page.on("response", lambda each: answered.update({f"{each.request.method} {each.url}": each.status}))
    with pages_of_others(HOSTILE.replace("SERVER", server).replace("MUTATION", mutation)) as port:
        page.goto(f"http://{name}:{port}/")
        expect(page).to_have_title(re.compile("^done"))
    simple, posted, cross, info, image, socket = page.title().removeprefix("done ").split()
    assert {simple, posted} <= {"opaque0", "failed"}
    assert (cross, info, image, socket) == ("failed", "failed", "error", "refused")
    refused = [status for asked, status in answered.items() if asked.partition(" ")[2].startswith(server)]
    assert {*refused} == {403}
    assert name not in pools()
    page.request.post("/graphql", data={"query": mutation})
    assert name in pools(), "what was tried does something"
    page.close()


def test_a_name_of_others_that_leads_to_this_machine_is_not_answered(browser: BrowserContext):
    server = browser.request.get("/server_info").url.removesuffix("/server_info")
    rebound = browser.request.get("/server_info", headers={"host": f"hostile.example:{server.rpartition(':')[2]}"})
    assert rebound.status == 421


@contextmanager
def pages_of_others(content: str) -> Iterator[int]:
    """A web server on another port whose every page is the content given."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served.server_address[1]
        served.shutdown()


def test_when_a_part_of_it_ends_it_says_so_and_leaves_nothing_running(served: ui.Served):
    """The last of those that need it. It tells itself to end as a service manager would."""
    running = served.running
    assert len(running.members()) >= 3
    [daemon] = [pid for pid, command in running.members().items() if "dagster._daemon" in command]
    os.kill(daemon, signal.SIGKILL)
    assert running.process.wait(120) == 1
    assert "a process of the interface has ended; see the end of" in served.log.read_text()
    until(lambda: not running.members())


def test_without_chromium_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"`apt-get install chromium` or `\.venv/bin/playwright install chromium`"):
        ui.chromium(str(tmp_path / "chrome"))
