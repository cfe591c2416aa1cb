"""One signal, from weights in memory: what a trading service waits for between a signal and its order."""

import datetime as dt
import statistics
import tempfile
import time
from collections.abc import Callable

from weights_pipeline.core.decide import decide
from weights_pipeline.live import LiveWeights, Reader, publish

NOW = dt.datetime(2024, 3, 8, 15, 30, tzinfo=dt.UTC)
AIM = "≤ 20"


def weights(strategies: int) -> LiveWeights:
    """Live weights of equal parts of all equity."""
    equal = {f"strategy_{i:03d}": 1 / strategies for i in range(strategies)}
    return LiveWeights(
        book="bench",
        account="main",
        version=1,
        effective_from=dt.date(2024, 3, 1),
        as_of=dt.date(2024, 2, 29),
        recorded_at=NOW,
        reason="initial",
        run_id="bench",
        max_age=35,
        gross=1.0,
        base=equal,
        target=equal,
        realized=equal,
        final=equal,
        regime=None,
        scalar=None,
        parameters_hash="-",
        ledger_hash="-",
        code_version="-",
    )


def microseconds(function: Callable[[], object], rounds: int, calls: int = 1_000) -> float:
    """Median over rounds of the mean time of a call."""
    timed = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        for _ in range(calls):
            function()
        timed.append((time.perf_counter_ns() - started) / calls / 1_000)
    return statistics.median(timed)


def cases(strategies: int) -> dict[str, Callable[[], object]]:
    """What is timed: each strategy has half of its allocation in use."""
    document = weights(strategies)
    mandate, base = document.in_force, document.base
    in_use = {name: weight / 2 for name, weight in base.items()}
    name = next(iter(in_use))
    with tempfile.TemporaryDirectory() as folder:
        publish(document, folder)
        reader = Reader(folder, book="bench", base=base, max_leverage=1.0)
    return {
        "enter": lambda: decide(mandate, name, 1e6, "enter", now=NOW, in_use=in_use),
        "enter, unknown strategy": lambda: decide(mandate, "unknown", 1e6, "enter", now=NOW, in_use=in_use),
        "exit": lambda: decide(mandate, name, 1e6, "exit", now=NOW, in_use=in_use),
        "enter, asking the reader": lambda: decide(reader.current(NOW), name, 1e6, "enter", now=NOW, in_use=in_use),
    }


def run(quick: bool = False) -> list[dict[str, object]]:
    """Rows of results: medians of a decision, and of one on what a reader holds."""
    rounds = 5 if quick else 50
    return [
        {"what": what, "strategies in use": strategies, "median_us": microseconds(case, rounds), "aim": AIM}
        for strategies in (9, 100)
        for what, case in cases(strategies).items()
    ]
