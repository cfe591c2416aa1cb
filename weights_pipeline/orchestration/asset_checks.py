"""Asset checks: the checks of a ledger, book or comparison, as Dagster shows them.

Scope: turning declarations and findings into Dagster's. Not here: the checks (``checks``), nor what they compute
(``core.verify``).

Checks that block are run by the step that makes their table (``steps``). All others of one schema are a step of their
own, which reads every table once and writes nothing, so that it takes no turn at the store.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from weights_pipeline.checks import Check, Declaration, Verified
from weights_pipeline.core.verify import Finding
from weights_pipeline.orchestration.metadata import markdown_table
from weights_pipeline.store.base import Store
from weights_pipeline.store.once import ReadOnce

_ROWS_SHOWN = 20


def check_step(checks: Sequence[Check], store: Store, folder: Path) -> dg.AssetChecksDefinition:
    """Checks of one schema as one step, each with a result of its own.

    They look at the whole history of a table, whatever partitions the run wrote: a rule that held month by month may
    still be broken between months. What was verified before is remembered in a file of ``folder``.
    """
    (schema,) = {check.schema for check in checks}

    @dg.multi_asset_check(
        name=f"{schema}_checks",
        specs=[check_spec(check, schema) for check in checks],
        can_subset=True,
    )
    def evaluate(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        once, verified = ReadOnce(store), Verified.of(folder, schema)
        keys = {check: dg.AssetKey([schema, check.table.name]) for check in checks}
        chosen = [
            check
            for check, key in keys.items()
            if dg.AssetCheckKey(key, check.name) in context.selected_asset_check_keys
        ]
        with once.view():
            findings = [check.run(once, verified) for check in chosen]
        verified.keep()
        for check, finding in zip(chosen, findings, strict=True):
            yield as_result(finding, error=check.error, check_name=check.name, asset_key=keys[check])

    return evaluate


def check_spec(said: Declaration, schema: str) -> dg.AssetCheckSpec:
    """One check."""
    return dg.AssetCheckSpec(
        said.name, asset=[schema, said.table.name], description=said.description, blocking=said.blocking
    )


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
