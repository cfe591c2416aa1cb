"""Jobs that are resolved among their own assets.

Scope: what Dagster is asked to look at. Not here: which jobs there are (``definitions``).

Dagster finds the assets of each job among all there are, so that twice the books take four times as long to load.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

_SCHEMA = "schema"


class Job(UnresolvedAssetJobDefinition):
    """A job over assets whose keys begin with its schema, the name of a ledger, book or comparison.

    The schema is metadata: of a copy, such as components make of what they hold, Dagster keeps that and no attribute.
    """

    def resolve(
        self,
        asset_graph: AssetGraph,
        default_executor_def: dg.ExecutorDefinition | None = None,
        resource_defs: Mapping[str, dg.ResourceDefinition] | None = None,
    ) -> dg.JobDefinition:
        """Find its assets among those of its schema and of the schemas that these read."""
        near = _near(asset_graph, str((self.metadata or {})[_SCHEMA]))
        return super().resolve(near, default_executor_def, resource_defs)


def job_over(
    schema: str, name: str, selection: dg.AssetSelection, description: str, tags: Mapping[str, str] | None = None
) -> Job:
    """A job of a ledger, book or comparison."""
    return Job(name, selection, description=description, tags=tags, metadata={_SCHEMA: schema})


def _near(graph: AssetGraph, schema: str) -> AssetGraph:
    by_schema = _by_schema(graph)
    read = {key.path[0] for each in by_schema[schema] for key in each.dependency_keys}
    return AssetGraph.from_assets([each for name in sorted({schema, *read}) for each in by_schema[name]])


@lru_cache(maxsize=1)
def _by_schema(graph: AssetGraph) -> Mapping[str, list[dg.AssetsDefinition]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for each in graph.assets_defs:
        for name in {key.path[0] for key in (*each.keys, *(check.asset_key for check in each.check_keys))}:
            found[name].append(each)
    return found
