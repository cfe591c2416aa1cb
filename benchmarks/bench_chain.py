"""The full history of the sample book against the same asset graph with empty bodies: Dagster's own floor."""

import statistics
import tempfile
import time
from pathlib import Path

import dagster as dg

from weights_pipeline.orchestration.definitions import build_definitions
from weights_pipeline.settings import Settings
from weights_pipeline.workspace import Workspace

DATA = Path(__file__).resolve().parents[1] / "data"
BOOK, LEDGER = "calmar_core", "sample_ledger"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def floor(definitions: dg.Definitions) -> dg.Definitions:
    """Same keys, partitions, dependencies, checks and jobs; nothing computed, loaded or stored."""
    assets = []
    for index, asset in enumerate(definitions.assets or []):
        if not isinstance(asset, dg.AssetsDefinition):
            assets.append(asset)
            continue

        @dg.multi_asset(
            name=f"empty_{index}",
            specs=list(asset.specs),
            check_specs=list(asset.check_specs),
            backfill_policy=asset.backfill_policy,
            can_subset=True,
        )
        def empty(context: dg.AssetExecutionContext):
            # In the order given, in which they depend on each other.
            for spec in context.assets_def.specs:
                if spec.key in context.selected_asset_keys:
                    yield dg.MaterializeResult(asset_key=spec.key)
            yield from passed(context.selected_asset_check_keys)

        assets.append(empty)
    checks = []
    for index, checked in enumerate(definitions.asset_checks or []):

        @dg.multi_asset_check(name=f"empty_checks_{index}", specs=list(checked.check_specs), can_subset=True)
        def empty_checks(context: dg.AssetCheckExecutionContext):
            yield from passed(context.selected_asset_check_keys)

        checks.append(empty_checks)
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=list(definitions.jobs or []),
        executor=dg.in_process_executor,
        resources=definitions.resources,
    )


def passed(keys):
    """A result of each check."""
    for key in keys:
        yield dg.AssetCheckResult(passed=True, asset_key=key.asset_key, check_name=key.name)


def seconds(definitions: dg.Definitions, home: Path, first: str, last: str, quick: bool) -> float:
    """Wall time of the ledger job and the book job over a range, on an instance on disk; in memory if quick."""
    home.mkdir()
    with dg.DagsterInstance.ephemeral() if quick else dg.DagsterInstance.local_temp(str(home)) as instance:
        started = time.perf_counter()
        for name in (LEDGER, BOOK):
            result = definitions.resolve_job_def(name).execute_in_process(
                instance=instance,
                run_config=QUIET,
                tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
            )
            assert result.success
        return time.perf_counter() - started


def run(quick: bool = False) -> list[dict[str, object]]:
    """Rows of results: medians of the real run, of the floor, and their ratio pair by pair."""
    first, last = "2012-01-01", "2012-01-01" if quick else "2022-12-01"
    rounds = 1 if quick else 3
    real, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            home = Path(folder) / str(turn)
            home.mkdir()
            definitions = build_definitions(Workspace(Settings(data=DATA, home=home / "real")))
            bare.append(seconds(floor(definitions), home / "floor", first, last, quick))
            real.append(seconds(definitions, home / "real", first, last, quick))
    ratios = [r / b for r, b in zip(real, bare, strict=True)]
    return [
        {
            "what": f"full chain, {first[:7]} to {last[:7]}",
            "ours_s": statistics.median(real),
            "floor_s": statistics.median(bare),
            "ratio": statistics.median(ratios),
            "aim": "≤ 1.25",
        }
    ]
