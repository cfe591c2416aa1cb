"""A book's history of weights: every materialisation adds the versions that it has made.

Scope: one call that adds them, and what is said of them. Not here: what a version is (``core.versions``), nor how they
are kept (``versions.history``).
"""

from collections.abc import Mapping
from itertools import islice

import dagster as dg
import pandas as pd

from weights_pipeline.core.ensembles import all_weight_sets
from weights_pipeline.core.versions import Stamp, metrics_read, set_metrics_read, version_rows
from weights_pipeline.ledger.periods import only_windows
from weights_pipeline.orchestration.assets.common import by_stored, parts_of
from weights_pipeline.orchestration.data_versions import of_content
from weights_pipeline.orchestration.freshness import book_freshness
from weights_pipeline.orchestration.io_manager import KEY
from weights_pipeline.orchestration.metadata import column_schema
from weights_pipeline.orchestration.partitions import SINGLE_RUN, book_partitions, own_input
from weights_pipeline.orchestration.steps import Run
from weights_pipeline.tables import catalog
from weights_pipeline.versions.history import add_versions
from weights_pipeline.versions.inputs import code_version, inputs_of
from weights_pipeline.versions.policies import Kept
from weights_pipeline.versions.recompute import require_one_origin
from weights_pipeline.workspace import BookSetup

COMMENT_TAG = "weights/comment"
"""Tag of a run that says why it took place, for the history."""


def history_asset(setup: BookSetup) -> dg.AssetsDefinition:
    """The history of one book; it comes after its final weights, in the same partitions."""
    book, source, store, policy = setup.book, setup.source, setup.store, setup.policy
    partitions = book_partitions(book, source)
    table = catalog.WEIGHT_HISTORY
    read = catalog.TARGET_WEIGHTS if policy.ensemble else catalog.METRICS
    ins = {each.name: own_input(setup, each) for each in (catalog.FINAL_WEIGHTS, catalog.REALIZED_WEIGHTS, read)}

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
        code_version=code_version(),
        deps=[each.dep for each in ins.values()],
        io_manager_key=KEY,
        pool=store.queue(book.name),
    )
    def weight_history(context: dg.AssetExecutionContext) -> None:
        run = Run(context, store)
        with run.store.view():
            tables = {name: run.load(each) for name, each in ins.items()}
            final = tables["final_weights"]
            as_of = [pd.Timestamp(date) for date in sorted(final["as_of"].unique())]
            rebalances = {window.key: date for window, date in zip(run.windows, as_of, strict=True)}
            parts, dates = parts_of(setup, run), iter(rebalances.items())
            by_policy = [(part.policy, dict(islice(dates, len(part.windows)))) for part in parts]
            require_one_origin(setup, run.store, final, by_policy)
            stored = Kept(setup, run.store).parameters(rebalances) if by_stored(run) else {}
            made = inputs_of(setup, run.store, rebalances, stored)
            if policy.ensemble:
                sets = [store.read(book.name, t) for t in (catalog.ENSEMBLE_WEIGHTS, catalog.ENSEMBLE_UPDATES)]
                seen = set_metrics_read(tables["target_weights"], all_weight_sets(*sets))
            else:
                seen = pd.concat(
                    metrics_read(only_windows(tables["metrics"], "as_of", part.windows), part.policy.method.reads)
                    for part in parts
                )
        computed = version_rows(final, tables["realized_weights"], seen, made.hashes, rebalances)
        stamp = Stamp(
            run_id=context.run.run_id,
            recorded_at=pd.Timestamp(run.now).tz_convert("UTC").tz_localize(None),
            code_version=code_version(),
            comment=context.run.tags.get(COMMENT_TAG, ""),
            reason=_reason(context.run.tags, len(run.windows)),
            first=partitions.existing(run.now)[0].key,
        )
        history = add_versions(store, book.name, computed, made.documents, stamp)
        own = history[history["run_id"] == stamp.run_id].drop_duplicates("version")
        for key, version, reason in own[["rebalance", "version", "reason"]].itertuples(index=False):
            context.add_asset_metadata({"version": int(version), "reason": str(reason)}, partition_key=str(key))
        newest = history[history["rebalance"].isin(list(rebalances))].groupby("rebalance")["version"].max()
        context.set_data_version(context.asset_key, of_content(newest.to_dict()))
        context.add_output_metadata(
            {
                "versions_added": len(own),
                "unchanged": len(run.windows) - len(own),
                "newest_version": int(history["version"].max()),
            }
        )

    return weight_history


def _reason(tags: Mapping[str, str], partitions: int) -> str:
    """Why a run took place, as far as Dagster tells."""
    if {"dagster/schedule_name", "dagster/sensor_name"} & tags.keys():
        return "scheduled"
    return "backfill" if "dagster/backfill" in tags or partitions > 1 else "manual"
