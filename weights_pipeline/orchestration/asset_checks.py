"""Asset checks: the checklist, as Dagster shows it.

Scope: turning declared checks into asset checks. Not here: their declarations (``checks``), and what they compute
(``core.verify``).
"""

import dagster as dg

from weights_pipeline.checks import Check
from weights_pipeline.core.verify import Finding
from weights_pipeline.orchestration.io_manager import markdown_table
from weights_pipeline.store.base import Store

STORE_POOL = "duckdb"
_ROWS_SHOWN = 20


def asset_check(check: Check, asset: dg.AssetKey) -> dg.AssetChecksDefinition:
    """Asset check of one declaration.

    It looks at the whole history of its table, whatever partitions the run wrote: a rule that held month by month may
    still be broken between months.
    """

    @dg.asset_check(
        asset=asset,
        name=check.name,
        description=check.description,
        blocking=check.blocking,
        pool=STORE_POOL,
        required_resource_keys={"store"},
    )
    def evaluate(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        store: Store = context.resources.store
        with store.view():
            return as_result(check.run(store), error=check.error)

    return evaluate


def as_result(
    finding: Finding, *, error: bool, check_name: str | None = None, asset_key: dg.AssetKey | None = None
) -> dg.AssetCheckResult:
    """Finding as a check result: value, limit, offending rows and their names in the metadata."""
    offending = finding.offending
    metadata: dict[str, dg.MetadataValue] = {
        "value": dg.MetadataValue.float(finding.value),
        "limit": dg.MetadataValue.float(finding.limit),
        "offending_rows": dg.MetadataValue.int(len(offending)),
    }
    if len(offending):
        metadata["offending"] = dg.MetadataValue.md(markdown_table(offending.head(_ROWS_SHOWN)))
        metadata["names"] = dg.MetadataValue.json(list(finding.names[:_ROWS_SHOWN]))
    return dg.AssetCheckResult(
        passed=finding.passed,
        severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
        description=finding.summary,
        metadata=metadata,
        check_name=check_name,
        asset_key=asset_key,
    )
