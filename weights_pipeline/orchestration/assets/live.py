"""A book's live weights: the newest version whose day has come, published for consumers.

Scope: one call that makes the document, one that publishes it, and metadata. Not here: which version is in force
(``versions.publication``), and the places (``live``).
"""

import dagster as dg

from weights_pipeline.orchestration.freshness import live_freshness
from weights_pipeline.orchestration.partitions import SINGLE_RUN
from weights_pipeline.orchestration.resources import LiveTargets
from weights_pipeline.orchestration.steps import run_instant
from weights_pipeline.versions.inputs import code_version
from weights_pipeline.versions.publication import course_of, live_weights
from weights_pipeline.workspace import BookSetup


def live_asset(setup: BookSetup) -> dg.AssetsDefinition:
    """Live weights of one book; unpartitioned, as there is one set in force at a time."""
    book = setup.book

    @dg.asset(
        name="live_weights",
        key_prefix=book.name,
        group_name=book.name,
        description="Weights in force now, published for consumers: the newest version whose day has come.",
        owners=[book.owner],
        kinds={"json"},
        tags={"account": book.account},
        deps=[dg.AssetKey([book.name, "weight_history"])],
        freshness_policy=live_freshness(book, setup.source),
        code_version=code_version(),
        backfill_policy=SINGLE_RUN,
    )
    def live(context: dg.AssetExecutionContext, weights_live: LiveTargets) -> None:
        now = run_instant(context.instance, context.run.run_id)
        with setup.store.view():
            document, course = live_weights(setup, now), course_of(setup, setup.store, now)
        key, published = weights_live.signing_key, weights_live.publish(document)
        context.log.info(f"version {document.version} of {book.name} is published")
        if course and course.says:
            context.log.warning(f"{book.name}: {course.says}")
        context.set_data_version(context.asset_key, dg.DataVersion(document.checksum))
        context.add_output_metadata(
            {
                "version": document.version,
                "effective_from": str(document.effective_from),
                "stale_after": document.stale_after.isoformat(),
                "reason": document.reason,
                "gross": float(sum(document.final.values())),
                "checksum": document.checksum,
                "signed by key": key.key_id if key else "none",
                "targets": dg.MetadataValue.json(published),
                **({"course": course.says or "on time"} if course else {}),
            }
        )

    return live
