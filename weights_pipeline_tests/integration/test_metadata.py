"""What a materialisation of a real run carries: figures, previews, column lineage, charts."""

import base64
import io

import dagster as dg
from PIL import Image

from benchmarks.support.data import BOOK
from weights_pipeline.charts import style, weights
from weights_pipeline.tables import catalog
from weights_pipeline_tests.support.desk import DRAWN


def picture(markdown: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(markdown.rpartition("base64,")[2].rstrip(")"))))


def test_newest_partition_carries_figures_preview_and_column_lineage(finished):
    event = finished.instance.get_latest_materialization_event(dg.AssetKey([BOOK, "realized_weights"]))
    metadata = event.asset_materialization.metadata
    assert event.asset_materialization.partition == "2013-06-01"
    assert metadata["dagster/row_count"].value == 16
    for name in ("gross", "turnover", "max_weight", "effective_strategies"):
        assert isinstance(metadata[name].value, float)
    stored = finished.store.read(BOOK, catalog.REALIZED_WEIGHTS, ["2013-06-01"]).set_index("strategy")
    weight = float(stored.at["trend_long", "realized"])
    for form, shown in (("preview", f"{weight:.2%}"), ("exact", repr(weight))):
        (line,) = (line for line in metadata[form].md_str.splitlines() if " trend_long " in line)
        cells = [cell.strip() for cell in line.split("|")]
        assert shown in cells
        assert cells[1] == f"{stored.at['trend_long', 'as_of']:%Y-%m-%d}".replace("-", "\N{NON-BREAKING HYPHEN}")
    assert f"turnover {metadata['turnover'].value:.2%}" in metadata["at a glance"].value
    deps = metadata["dagster/column_lineage"].value.deps_by_column["realized"]
    assert deps == [dg.TableColumnDep(dg.AssetKey([BOOK, "target_weights"]), "target")]
    assert metadata["dagster/table_name"].value == "calmar_core.realized_weights"


def test_figures_belong_to_their_own_partition(finished):
    records = finished.instance.get_event_records(
        dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION, asset_key=dg.AssetKey([BOOK, "risk_scalar"]))
    )
    rows = {r.asset_materialization.partition: r.asset_materialization.metadata for r in records}
    assert rows["2012-01-01"]["dagster/row_count"].value == 0
    assert rows["2013-03-01"]["dagster/row_count"].value == 20
    assert 0.25 <= rows["2013-03-01"]["scalar"].value <= 1


def test_materialisations_carry_charts_and_few_figures(finished):
    newest = {}
    for table, keys in {
        catalog.METRICS: {"best_metric", "median_metric", "worst_metric", "measured_strategies"},
        catalog.TARGET_WEIGHTS: {"max_target", "at_cap", "at_floor", "distance_from_base"},
        catalog.REALIZED_WEIGHTS: {
            *("gross", "max_weight", "effective_strategies", "turnover", "distance_to_target", "at_cap", "at_floor")
        },
        catalog.FINAL_WEIGHTS: {"gross", "max_weight", "scalar"},
        catalog.ALLOCATOR_STATE: {"equity", "drawdown", "volatility_20d", "correlation_20d"},
        catalog.RISK_REGIME: {"regime_level", "highest_regime_level", "sessions_in_regime", "transitions"},
        catalog.RISK_SCALAR: {"scalar", "target_scalar", "lowest_scalar"},
        catalog.ALLOCATOR_SUMMARY: set(),
    }.items():
        records = finished.instance.get_event_records(
            dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION, asset_key=dg.AssetKey([BOOK, table.name]))
        )
        metadata = {r.asset_materialization.partition: r.asset_materialization.metadata for r in records}
        assert sorted(key for key in metadata if "chart" in metadata[key]) == sorted(metadata)[-DRAWN:]
        newest[table.name] = metadata["2013-06-01"]
        image = picture(newest[table.name]["chart"].md_str)
        assert image.size[0] == 520
        assert len(newest[table.name]["chart"].md_str) < 30_000
        numbers = {
            name
            for name, value in newest[table.name].items()
            if isinstance(value, dg.FloatMetadataValue | dg.IntMetadataValue) and not name.startswith("dagster/")
        }
        assert numbers == keys
    assert [name for name, metadata in newest.items() if "history" in metadata] == ["metrics", "realized_weights"]
    stored = finished.store.read(BOOK, catalog.REALIZED_WEIGHTS, ["2013-06-01"])
    shown = style.markdown(weights.realized(stored), "chart of 2013-06-01")
    assert newest["realized_weights"]["chart"].md_str == shown
