#!/usr/bin/env python3
"""Pictures of the UI for README and docs: `make screenshots` takes them again, of the store that `make demo` has made.

Works on a copy of that store: three months of it are materialised once more from the UI, and weights are changed behind
the pipeline's back, so that a check turns red.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.support import ui  # noqa: E402
from weights_pipeline.store.duckdb_store import DuckDBStore  # noqa: E402

BOOK, LEDGER = "calmar_core", "sample_ledger"
MONTH, MONTHS = "2022-12-01", "[2022-10-01...2022-12-01]"
SIZE: ViewportSize = {"width": 1240, "height": 800}
NAVIGATION = 240
"""Width of the navigation of every page, which no picture shows."""

_COLOURS = 128


def main() -> int:
    """Take all pictures; 2 where there is no store to take them of."""
    home = Path(os.environ.get("WEIGHTS_HOME") or ROOT / ".home")
    data = Path(os.environ.get("WEIGHTS_DATA") or ROOT / "data")
    if not (home / "weights.duckdb").exists():
        sys.stderr.write(f"screenshots: no store in {home}; run `make demo` first\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="weights-ui-") as folder:
        copy = Path(shutil.copytree(home, Path(folder) / "home"))
        ui.configure(copy)
        with ui.serving(copy, data) as served:
            served.ready()
            with ui.browsing(served.url) as browser:
                take_all(browser, DuckDBStore(copy / "weights.duckdb", lock_timeout=60.0))
    return 0


def take_all(browser: BrowserContext, store: DuckDBStore) -> None:
    """Every picture, in the order in which the pages come to look as they should."""
    page = browser.new_page()
    page.set_viewport_size(SIZE)
    backfill = ui.launch_range(page, BOOK, MONTHS)

    page.goto(f"{ui.LOCATION}/schedules/{BOOK}_rebalance")
    page.get_by_role("row", name="Running").get_by_role("img").click()
    expect(page.get_by_role("row", name="Next tick")).to_be_visible()
    take(page, "img/schedule", height=420)

    page.goto(f"/runs/b/{backfill}?tab=runs")
    if ui.outcome(page) != "Success":
        raise RuntimeError(f"backfill {backfill} has failed: {page.url}")
    expect(page.get_by_text("Succeeded", exact=True)).to_be_visible(timeout=ui.RUN)
    take(page, "img/backfill", height=430)

    # The ledger and one book, wide enough for every name to be read.
    page.set_viewport_size({"width": 3000, "height": 1250})
    groups = quote(f'group:"{LEDGER}" or group:"{BOOK}"')
    page.goto(f"/asset-groups~{groups}/?expanded=global@global:{LEDGER},global@global:{BOOK}")
    expect(page.get_by_text("live_weights", exact=True)).to_be_visible()
    take(page, "lineage", left=540, right=60, top=110, height=1110)
    page.set_viewport_size(SIZE)

    ui.open_partition(page, f"{BOOK}/final_weights", MONTH)
    chart = page.get_by_role("row", name=re.compile("^chart "))
    expect(chart).to_be_visible()
    take(page, "img/partition")
    chart.get_by_text("[Show Markdown]").click()
    expect(page.get_by_role("dialog").get_by_role("img", name=f"chart of {MONTH}")).to_be_visible()
    take(page, "img/chart")

    page.goto(f"/assets/{BOOK}/realized_weights?view=overview")
    page.get_by_role("button", name="Plots").click()
    first = page.get_by_text("distance_to_target", exact=True)
    expect(first).to_be_visible()
    first.evaluate("element => element.scrollIntoView({block: 'start'})")
    take(page, "img/plots")

    ui.open_check(page, f"{BOOK}/realized_weights", "hard_limits")
    expect(page.get_by_text("Passed")).to_be_visible()
    take(page, "img/check")

    ui.move_weight(store, BOOK, MONTH, 0.08, "trend_long", "rsi2")
    ui.execute_check(page)
    page.get_by_role("row", name="offending").get_by_text("[Show Markdown]").click()
    expect(page.get_by_role("dialog").get_by_role("row", name="rsi2")).to_be_visible()
    take(page, "img/check_red")


def take(page: Page, name: str, left: int = NAVIGATION, right: int = 0, top: int = 0, height: int = 0) -> None:
    """Picture of a page down to a height as a small PNG file, without its navigation and what else is at its edges."""
    page.wait_for_load_state("networkidle")
    size = page.viewport_size
    assert size is not None  # noqa: S101
    clip = {"x": left, "y": top, "width": size["width"] - left - right, "height": (height or size["height"]) - top}
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip, animations="disabled"))).convert("RGB")
    file = ROOT / "docs" / f"{name}.png"
    file.parent.mkdir(exist_ok=True)
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    sys.stdout.write(
        f"{file.relative_to(ROOT)}: {picture.width} x {picture.height}, {file.stat().st_size // 1000} kB\n"
    )


if __name__ == "__main__":
    sys.exit(main())
