"""The model of a book: one capital-allocation policy.

Scope: keys, their types and defaults, and what they mean together. The parameters of methods, limits and the allocator
are the frozen dataclasses of ``core``, validated here straight from YAML. Not here: formulas, files.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, PrivateAttr, model_validator

from weights_pipeline.books.cadence import Cadence
from weights_pipeline.books.reading import Model
from weights_pipeline.core.allocator.scalar import AllocatorParameters
from weights_pipeline.core.metrics.measures import MetricParameters
from weights_pipeline.core.metrics.starter import StarterMetrics
from weights_pipeline.core.policy import Policy
from weights_pipeline.core.realized.band import Band
from weights_pipeline.core.realized.costs import Costs
from weights_pipeline.core.realized.speed import optimal_speed
from weights_pipeline.core.returns.frequency import DAILY, Frequency
from weights_pipeline.core.targets.methods import METHODS
from weights_pipeline.core.targets.methods.base import Limits
from weights_pipeline.core.targets.normalise import GROSS_TOLERANCE

NAME_PATTERN = r"^[a-z][a-z0-9_]*$"

_OF_DUCKDB = {"information_schema", "main", "memory", "pg_catalog", "store", "system", "temp", "weights"}
_OF_DAGSTER = {
    "arg_dict",
    "bool",
    "conf",
    "config",
    "context",
    "dict",
    "float",
    "input",
    "input_arg_dict",
    "int",
    "meta",
}
_OF_DAGSTER |= {"output", "output_arg_dict", "str", "type"}
_OF_REPORTS = {"all", "index", "report"}


Rate = Annotated[float, Field(gt=0, le=1)]
Turnover = Annotated[float, Field(gt=0)]
Threshold = Annotated[FiniteFloat, Field(ge=0)]


def _as_band(value: Any) -> Any:
    """A number alone is the absolute half width."""
    return {"absolute": value} if isinstance(value, float | int) and not isinstance(value, bool) else value


class Adjustment(Model):
    """How fast realized weights follow their targets: ``w += rate · (target − w)`` each rebalance."""

    kind: Literal["fixed", "optimal"] = Field(
        default="fixed",
        exclude_if=lambda kind: kind == "fixed",
        description="Whether the rate is given, or follows from cost and half_life.",
    )
    rate: Rate | dict[str, Rate] | None = Field(
        default=None,
        exclude_if=lambda rate: rate is None,
        description="Share of the gap closed; one number, or one per risk regime.",
    )
    cost: Threshold | None = Field(
        default=None,
        exclude_if=lambda cost: cost is None,
        description="Of kind optimal: cost of trading a weight once over that of its risk in one rebalance.",
    )
    half_life: Annotated[FiniteFloat, Field(gt=0)] | None = Field(
        default=None,
        exclude_if=lambda half_life: half_life is None,
        description="Of kind optimal: rebalances after which half of what a target differs from base by is gone.",
    )
    turnover_cap: Turnover | dict[str, Turnover] | None = Field(
        default=None, description="Largest one-way turnover of a rebalance, which a longer step is shortened to."
    )
    # Left out of what versions keep while there is none: the same weights are no new version.
    band: Annotated[Band, BeforeValidator(_as_band, json_schema_input_type=float | Band)] | None = Field(
        default=None,
        exclude_if=lambda band: band is None,
        description="No-trade band: how far a weight may be from its target before it is traded; absolute where it is "
        "one number.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Adjustment:
        if self.kind == "fixed" and (self.rate is None or self.cost is not None or self.half_life is not None):
            raise ValueError("rate: expected a share of the gap, and neither cost nor half_life, but of kind optimal")
        if self.kind == "optimal" and (self.rate is not None or self.cost is None):
            raise ValueError("cost: kind optimal expects it, and half_life where targets do not last, but no rate")
        return self

    def pace(self) -> tuple[float | Mapping[str, float], float]:
        """Rate, and the share of the way from base to target that is aimed for."""
        if self.rate is not None:
            return self.rate, 1.0
        speed = optimal_speed(self.cost or 0.0, self.half_life)
        return speed.rate, speed.aim


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is not an IANA time zone such as America/New_York") from error
    return value


def _not_taken(value: str) -> str:
    """A name becomes a schema of the store and a job: what they use themselves would be mixed up with it."""
    if value in _OF_DUCKDB | _OF_DAGSTER | _OF_REPORTS or keyword.iskeyword(value):
        raise ValueError(f"{value!r} is taken by Python, Dagster, the store or reports; choose another name")
    return value


TimeZone = Annotated[str, AfterValidator(_known_zone)]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=63)]
SchemaName = Annotated[Name, AfterValidator(_not_taken)]
Owner = Annotated[str, Field(pattern=r"^(team:[A-Za-z0-9_.\-/]+|[A-Za-z0-9._%+\-]+@[A-Za-z0-9.\-]+\.[A-Za-z]{2,})$")]
Month = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Weight = Annotated[float, Field(ge=0)]
if TYPE_CHECKING:
    from weights_pipeline.core.targets.methods.base import Method
else:
    Method = Annotated[reduce(or_, METHODS), Field(discriminator="kind")]


class Book(Model):
    """One capital-allocation policy over one set of strategies.

    Base weights are inputs: nothing in the pipeline writes them back.
    """

    name: SchemaName
    description: str = Field(min_length=1)
    owner: Owner
    account: str = Field(pattern=r"^[A-Za-z0-9_.\-]{1,63}$")
    ledger: Name = Field(description="Name of the ledger it reads, a file in data/ledgers.")
    cadence: Cadence
    timezone: TimeZone
    starts: Month | None = Field(
        default=None,
        description="Month with which it begins to rebalance, YYYY-MM; the first one of its ledger when left out. "
        "Metrics look back over the ledger before it, and the first rebalance starts from what was published by then.",
    )
    strategies: dict[str, Weight] = Field(min_length=1, description="Base weight of each strategy.")
    gross: float = Field(default=1.0, gt=0, description="What the weights add up to, or at most do.")
    method: Method
    ensemble: Literal["market_regime"] | None = Field(
        default=None, description="Keep one weight set per market regime of the ledger's benchmark."
    )
    metrics: MetricParameters = MetricParameters()
    adjustment: Adjustment
    limits: Limits
    costs: Costs | None = Field(
        default=None,
        description="What trading and borrowing cost: fee, by_strategy, rebalance (each one's fixed cost), financing; "
        "for figures after costs, and for a method that counts them.",
    )
    overlay: AllocatorParameters | None = Field(description="The allocator; null for a book without one.")
    starter_metrics: str | None = Field(default=None, description="JSON file, relative to the data folder.")
    max_turnover: float = Field(default=0.1, gt=0, description="One-way turnover of a rebalance that draws a warning.")
    checks: dict[str, Threshold] = Field(
        default={}, description="Thresholds of checks by name, in place of their defaults; see docs/operate.md."
    )
    max_age: int = Field(gt=0, description="Days after which published weights are stale.")
    since: dict[Month, dict[str, Any]] = Field(
        default={},
        description="Dated changes: by the month YYYY-MM from whose periods on they count, keys of the book with their "
        "new values. A key that is named is replaced whole.",
    )

    # Books before the changes that this one has undergone, each with the month that it ended before.
    _earlier: tuple[tuple[str, Book], ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _hangs_together(self) -> Book:
        total = math.fsum(self.strategies.values())
        if abs(total - self.gross) > GROSS_TOLERANCE * self.gross:
            raise ValueError(f"strategies: base weights sum to {total:.12g}, expected gross {self.gross:.12g}")
        self.policy()
        return self

    def after(self, earlier: Iterable[tuple[str, Book]]) -> Book:
        """The same, as it has become by dated changes of ``earlier`` ones, each with the month that it ended before."""
        changed = self.model_copy()
        changed._earlier = tuple(earlier)
        return changed

    def on(self, key: str) -> Book:
        """The book as it is for one of its partitions."""
        return next((book for until, book in self._earlier if key[:7] < until), self)

    @property
    def changed(self) -> tuple[str, ...]:
        """Months of its dated changes."""
        return tuple(until for until, _ in self._earlier)

    @property
    def every(self) -> tuple[Book, ...]:
        """All that it was before its dated changes, and itself."""
        return (*(book for _, book in self._earlier), self)

    @property
    def max_gross(self) -> float:
        """Most that its final weights may add up to."""
        return self.policy().max_gross

    @property
    def scaled_daily(self) -> bool:
        """Whether its overlay scales weights anew for every session."""
        return self.overlay is not None and self.overlay.enabled and self.overlay.apply == "daily"

    def policy(self, starter: Mapping[str, StarterMetrics] | None = None, frequency: Frequency = DAILY) -> Policy:
        """What the book means to the formulas.

        ``starter`` are the metrics of :func:`load_starter_metrics`, ``frequency`` is the ledger's.
        """
        rate, aim = self.adjustment.pace()
        return Policy(
            base=self.strategies,
            gross=self.gross,
            method=self.method,
            limits=self.limits,
            rate=rate,
            aim=aim,
            turnover_cap=self.adjustment.turnover_cap,
            band=self.adjustment.band,
            metrics=self.metrics,
            overlay=self.overlay,
            ensemble=self.ensemble is not None,
            starter=starter or {},
            frequency=frequency,
            costs=self.costs,
        )
