"""The UI for tests and pictures: ``weights ui`` over a store of its own, a browser, and what a person does there."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from benchmarks.support.processes import Together, free_port
from weights_pipeline.store.duckdb_store import DuckDBStore

ROOT = Path(__file__).resolve().parents[2]
LOCATION = "/locations/weights_pipeline"
START, ELEMENT, RUN = 180.0, 30_000.0, 240_000.0
"""How long a start (seconds), an element and a run (milliseconds) may take on a slow machine; none takes that long."""

# The project's own configuration, and a queue that is looked at every second in place of every five.
_QUEUE = """
run_coordinator:
  module: dagster._core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1
"""
# The daemon looks for backfills twice a minute, which is no setting. Python runs this when a process begins.
_EAGER = """
import sys
if "dagster._daemon" in sys.orig_argv:
    import dagster._daemon.controller
    dagster._daemon.controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
"""
_SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Served:
    """``weights ui`` and what it starts: ``running``, on a free loopback port; ``log`` is what it has said."""

    def __init__(self, home: Path, data: Path) -> None:
        self.port = free_port()
        self.url, self.log = f"http://127.0.0.1:{self.port}", home / "ui.log"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("WEIGHTS_", "DAGSTER_", "AWS_"))}
        startup = home / "startup"
        startup.mkdir()
        (startup / "sitecustomize.py").write_text(_EAGER)
        paths = os.pathsep.join(filter(None, [str(startup), os.environ.get("PYTHONPATH", "")]))
        own = {"WEIGHTS_HOME": str(home), "DAGSTER_HOME": str(home), "WEIGHTS_DATA": str(data), "PYTHONPATH": paths}
        with self.log.open("w") as log:
            self.running = Together(
                [sys.executable, "-c", f"from weights_pipeline.cli import main; main(['ui', '--port', '{self.port}'])"],
                cwd=ROOT,
                env=kept | own,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # As a shell starts what ends in `&`.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
            )

    def ready(self) -> None:
        """Return once it answers.

        Raises
        ------
        RuntimeError
            It has ended, or has not answered in time; the message holds the end of its log.
        """
        deadline = time.monotonic() + START
        while not self._answers():
            if self.running.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"weights ui does not answer on {self.url}:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End it and everything it has started, at once: its home is thrown away."""
        self.running.kill()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/server_info")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def configure(home: Path) -> None:
    """Give a home the project's instance configuration."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text() + _QUEUE)


@contextmanager
def serving(home: Path, data: Path) -> Iterator[Served]:
    """``weights ui`` over a home and a data folder, while the context lasts; it is not ``ready`` at once."""
    served = Served(home, data)
    try:
        yield served
    finally:
        served.stop()


@contextmanager
def browsing(url: str, width: int = 1500, height: int = 950, scale: float = 1.0) -> Iterator[BrowserContext]:
    """Headless Chromium over a served UI; its pages share a cache."""
    with sync_playwright() as playwright:
        executable = chromium(playwright.chromium.executable_path)
        with playwright.chromium.launch(executable_path=executable, args=_SWITCHES) as browser:
            context = browser.new_context(
                base_url=url,
                viewport={"width": width, "height": height},
                device_scale_factor=scale,
                locale="en-US",
                timezone_id="UTC",
                reduced_motion="reduce",
            )
            context.set_default_timeout(ELEMENT)
            expect.set_options(timeout=ELEMENT)
            yield context


def chromium(own: str) -> str:
    """Where Chromium is: Playwright's own if it is installed, else one on the path.

    Raises
    ------
    RuntimeError
        There is none; the message says how to get one.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    found = own if Path(own).exists() else next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise RuntimeError(
            f"no Chromium: neither Playwright's ({own}) nor any of {', '.join(names)} on PATH. Install one: "
            "`apt-get install chromium` or `.venv/bin/playwright install chromium`"
        )
    return found


def choose(page: Page, partitions: str) -> None:
    """Open the launch dialog of a page, and choose partitions: a key, or ``[first...last]``."""
    page.get_by_role("button", name=re.compile("Materialize( all)?…")).click()
    chosen = page.get_by_role("dialog").get_by_role("textbox")
    chosen.fill(partitions)
    chosen.press("Enter")


def move_weight(store: DuckDBStore, book: str, month: str, weight: float, source: str, target: str) -> None:
    """Change realized weights behind the pipeline's back: what one strategy loses another gains."""
    with store.writing() as connection:
        for strategy, change in ((source, -weight), (target, weight)):
            connection.execute(
                f"UPDATE {book}.realized_weights SET realized = realized + ? WHERE strategy = ? AND partition_key = ?",
                [change, strategy, month],
            ).fetchall()


def launch_month(page: Page, asset: str, month: str) -> str:
    """Launch one month of an asset from its page; returns where its run is shown."""
    page.goto(f"/assets/{asset}")
    choose(page, month)
    page.get_by_role("button", name="Launch 1 run").click()
    page.get_by_role("region", name="Notifications").get_by_text("View").click()
    page.wait_for_url("**/runs/*")
    return page.url


def launch_range(page: Page, book: str, partitions: str) -> str:
    """Launch a range of a book from the page of its job; returns the name of the backfill."""
    page.goto(f"{LOCATION}/jobs/{book}")
    choose(page, partitions)
    page.get_by_role("button", name="Launch backfill").click()
    said = page.get_by_text("Created backfill").text_content()
    assert said is not None
    return said.split()[-1]


def open_check(page: Page, asset: str, check: str) -> None:
    """Show one check of an asset."""
    page.goto(f"/assets/{asset}?view=checks&checkDetail={check}")
    expect(page.get_by_text("Latest execution")).to_be_visible()


def outcome(page: Page) -> str | None:
    """How a run that is shown has ended, once it has."""
    ended = page.get_by_text(re.compile("^(Success|Failure|Canceled)$")).first
    expect(ended).to_be_visible(timeout=RUN)
    return ended.text_content()


def execute_check(page: Page) -> None:
    """Launch the check that is shown."""
    page.get_by_role("button", name=re.compile("Execute$")).click()
    expect(page.get_by_role("region", name="Notifications").get_by_text("View")).to_be_visible()


def expect_red(page: Page) -> None:
    """Wait until the check that is shown has failed."""
    expect(page.get_by_text("Failed", exact=True).first).to_be_visible(timeout=RUN)


def open_partition(page: Page, asset: str, partition: str) -> None:
    """Show one partition of an asset."""
    page.goto(f"/assets/{asset}?view=partitions&partition={partition}")
    expect(page.get_by_text("Latest materialization")).to_be_visible()
