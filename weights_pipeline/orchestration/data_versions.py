"""Data versions: what tells Dagster whether a partition holds what it held before.

Scope: one version for what a run writes of a table, and which partitions keep theirs. Not here: hashing rows
(``tables.contract``), and which version of weights is in force (``versions``).

Dagster has one data version for all partitions that a run writes of an asset. Those that a run writes among others and
that hold what they held before are recorded once more, under the version that they had: otherwise whatever is made of
them would look out of date each time that a newer month is read beside them.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG, extract_data_version_from_entry
from dagster._core.execution.plan.execute_step import _build_data_version_tags, _get_input_provenance_data

from weights_pipeline.core.versions import canonical, digest
from weights_pipeline.versions.inputs import code_version


def of_content(content: object) -> dg.DataVersion:
    """Version of what JSON can hold: equal for what is equal."""
    return dg.DataVersion(digest(canonical(content)))


def of_partitions(
    instance: dg.DagsterInstance, key: dg.AssetKey, contents: Mapping[str, str], before: Mapping[str, str]
) -> tuple[dg.DataVersion, Mapping[str, dg.DataVersion]]:
    """Version of what a run writes of an asset, and those of partitions that keep another one.

    Parameters
    ----------
    instance
        What was recorded before.
    key
        The asset.
    contents, before
        Content hash by partition: of what is written, and of what was stored.
    """
    same = [name for name, content in contents.items() if before.get(name) == content]
    kept = _recorded(instance, key, same) if same else {}
    if len(kept) == len(contents) and len(set(kept.values())) == 1:
        return next(iter(kept.values())), {}
    return of_content(contents), kept


def _recorded(instance: dg.DagsterInstance, key: dg.AssetKey, partitions: list[str]) -> dict[str, dg.DataVersion]:
    """Versions that partitions have, as far as any is recorded; the key of an asset without partitions is empty."""
    if partitions == [""]:
        event = instance.get_latest_materialization_event(key)
        version = extract_data_version_from_entry(event) if event else None
        return {"": version} if version else {}
    kind, names = dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    found = instance.event_log_storage.get_latest_tags_by_partition(key, kind, names, partitions)
    return {name: dg.DataVersion(tags[DATA_VERSION_TAG]) for name, tags in found.items() if tags}


def tags_of(context: dg.AssetExecutionContext, key: dg.AssetKey, version: dg.DataVersion) -> dict[str, str]:
    """Tags by which Dagster knows a version, what wrote it and what it was made of; once its inputs are recorded."""
    inputs = _get_input_provenance_data(key, context.op_execution_context.get_step_execution_context())
    return _build_data_version_tags(version, code_version(), inputs, True)
