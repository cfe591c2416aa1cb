#!/usr/bin/env python3
"""Pictures of the UI for README and docs: `make screenshots` takes them again, of the store that `make demo` has made.

Works on a copy of that store, in which weights are changed behind the pipeline's back, so that a check turns red.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
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
MONTH = "2022-12-01"
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
        report = Path(folder) / "report.html"
        subprocess.run(  # noqa: S603
            [str(Path(sys.executable).with_name("weights")), "report", "--book", BOOK, "--out", str(report)],
            env=os.environ | {"WEIGHTS_HOME": str(copy), "WEIGHTS_DATA": str(data)},
            check=True,
        )
        ui.configure(copy)
        with ui.serving(copy, data) as served:
            served.ready()
            with ui.browsing(served.url) as browser:
                take_report(browser, report)
                take_all(browser, DuckDBStore(copy / "weights.duckdb", lock_timeout=60.0))
    return 0


def take_all(browser: BrowserContext, store: DuckDBStore) -> None:
    """Every picture of the UI, in the order in which the pages come to look as they should."""
    page = browser.new_page()
    # The ledger and one book, wide enough for every name to be read.
    page.set_viewport_size({"width": 3000, "height": 1250})
    groups = quote(f'group:"{LEDGER}" or group:"{BOOK}"')
    page.goto(f"/asset-groups~{groups}/?expanded=global@global:{LEDGER},global@global:{BOOK}")
    expect(page.get_by_text("live_weights", exact=True)).to_be_visible()
    # What has become of each asset is shown a while after the assets are.
    page.wait_for_timeout(8000)
    take(page, "lineage", left=540, right=60, top=180, height=1010)
    page.set_viewport_size(SIZE)

    ui.open_partition(page, f"{BOOK}/final_weights", MONTH)
    chart = page.get_by_role("row", name=re.compile("^chart "))
    chart.get_by_text("[Show Markdown]").click()
    expect(page.get_by_role("dialog").get_by_role("img", name=f"chart of {MONTH}")).to_be_visible()
    take(page, "img/chart")

    ui.open_check(page, f"{BOOK}/realized_weights", "hard_limits")
    ui.move_weight(store, BOOK, MONTH, 0.08, "trend_long", "rsi2")
    ui.execute_check(page)
    ui.expect_red(page)
    page.get_by_role("row", name="offending").get_by_text("[Show Markdown]").click()
    expect(page.get_by_role("dialog").get_by_role("row", name="rsi2")).to_be_visible()
    take(page, "img/check_red")


def take_report(browser: BrowserContext, file: Path) -> None:
    """What has changed and why, of the report of the book."""
    page = browser.new_page()
    page.set_viewport_size({"width": 1000, "height": 1400})
    page.goto(file.as_uri())
    heading = page.get_by_role("heading", name="What has changed, and why").bounding_box()
    assert heading is not None  # noqa: S101
    page.evaluate("top => window.scrollTo(0, top)", heading["y"] - 10)
    take(page, "img/report", left=0, height=950)


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
