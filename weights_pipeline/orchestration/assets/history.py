"""A book's history of weights: every materialisation adds the versions that it has made.

Scope: loading, one call that adds them, and metadata. Not here: what a version is (``core.versions``, ``versions``).
"""

from collections.abc import Mapping

import dagster as dg
import pandas as pd

from weights_pipeline.core.ensembles import all_weight_sets
from weights_pipeline.core.versions import Stamp, metrics_read, set_metrics_read, version_rows
from weights_pipeline.orchestration.asset_checks import STORE_POOL
from weights_pipeline.orchestration.assets.common import column_schema, run_windows
from weights_pipeline.orchestration.freshness import book_freshness
from weights_pipeline.orchestration.io_manager import run_instant
from weights_pipeline.orchestration.partitions import SINGLE_RUN, book_partitions, own_input
from weights_pipeline.tables import catalog
from weights_pipeline.versions.history import add_versions
from weights_pipeline.versions.inputs import code_version, inputs_of
from weights_pipeline.workspace import BookSetup

COMMENT_TAG = "weights/comment"
"""Tag of a run that says why it took place, for the history."""


def history_assets(setup: BookSetup) -> list[dg.AssetsDefinition]:
    """The history of one book; it comes after its final weights, in the same partitions."""
    book, source, store, policy = setup.book, setup.source, setup.store, setup.policy
    partitions = book_partitions(book, source)
    table = catalog.WEIGHT_HISTORY
    inputs = ["final_weights", "realized_weights", "target_weights" if policy.ensemble else "metrics"]

    @dg.asset(
        name=table.name,
        key_prefix=book.name,
        group_name=book.name,
        description=table.description,
        owners=[book.owner],
        kinds={"table", "pandas"},
        tags={"account": book.account},
        partitions_def=partitions,
        backfill_policy=SINGLE_RUN,
        metadata={"dagster/column_schema": column_schema(table)},
        freshness_policy=book_freshness(book, source, table),
        ins={name: own_input(setup, name) for name in inputs},
        pool=STORE_POOL,
    )
    def weight_history(context: dg.AssetExecutionContext, **tables: pd.DataFrame) -> None:
        windows, final = run_windows(context), tables["final_weights"]
        as_of = [pd.Timestamp(date) for date in sorted(final["as_of"].unique())]
        rebalances = {window.key: date for window, date in zip(windows, as_of, strict=True)}
        with store.view():
            made = inputs_of(setup, rebalances)
            if policy.ensemble:
                sets = [store.read(book.name, t) for t in (catalog.ENSEMBLE_WEIGHTS, catalog.ENSEMBLE_UPDATES)]
                read = set_metrics_read(tables["target_weights"], all_weight_sets(*sets))
            else:
                read = metrics_read(tables["metrics"], policy.method.reads)
        computed = version_rows(final, tables["realized_weights"], read, made.hashes, rebalances)
        now = run_instant(context.instance, context.run.run_id)
        stamp = Stamp(
            run_id=context.run.run_id,
            recorded_at=pd.Timestamp(now).tz_convert("UTC").tz_localize(None),
            code_version=code_version(),
            comment=context.run.tags.get(COMMENT_TAG, ""),
            reason=_reason(context.run.tags, len(windows)),
            first=partitions.existing(now)[0].key,
        )
        history = add_versions(store, book.name, computed, made.documents, stamp)
        own = history[history["run_id"] == stamp.run_id].drop_duplicates("version")
        for key, version, reason in own[["rebalance", "version", "reason"]].itertuples(index=False):
            context.add_asset_metadata({"version": int(version), "reason": str(reason)}, partition_key=str(key))
        context.add_output_metadata(
            {
                "versions_added": len(own),
                "unchanged": len(windows) - len(own),
                "newest_version": int(history["version"].max()),
            }
        )

    return [weight_history]


def _reason(tags: Mapping[str, str], partitions: int) -> str:
    """Why a run took place, as far as Dagster tells."""
    if "dagster/schedule_name" in tags:
        return "scheduled"
    return "backfill" if "dagster/backfill" in tags or partitions > 1 else "manual"
