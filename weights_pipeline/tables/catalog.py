"""Every table of the chain, in the order the chain computes them.

Scope: the definitions. Not here: what a definition is (``definition``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weights_pipeline.core.metrics.label import of_label
from weights_pipeline.core.verify import weight_violations
from weights_pipeline.tables.definition import Column, Table, Type

if TYPE_CHECKING:
    import pandas as pd

TEXT, FLOAT, INTEGER, BOOLEAN, DATE, TIMESTAMP = (
    Type.TEXT,
    Type.FLOAT,
    Type.INTEGER,
    Type.BOOLEAN,
    Type.DATE,
    Type.TIMESTAMP,
)

_STRATEGY = Column("strategy", TEXT, "Strategy, as the ledger and the books name it.")
_SESSION = Column("session", DATE, "Trading session.")
_AS_OF = Column("as_of", DATE, "Last session of the partition; nothing after it was used.")
_EFFECTIVE = Column("effective_from", DATE, "First session on which the weight is in force.")
_CURRENCY = Column(
    "currency", TEXT, "What prices, entry value and margin are in; null in account currency.", nullable=True, later=True
)

TRADE_LEDGER = Table(
    name="trade_ledger",
    description="Closed lots: one row is one exit, booked on the session of the exit.",
    columns=(
        Column("lot_id", TEXT, "Unique identification of the exit."),
        _STRATEGY,
        Column("symbol", TEXT, "Instrument."),
        Column("side", TEXT, "long or short."),
        Column("quantity", FLOAT, "Units closed, positive."),
        Column("opened_at", TIMESTAMP, "Opening instant, UTC."),
        Column("closed_at", TIMESTAMP, "Closing instant, UTC."),
        Column("open_price", FLOAT, "Entry price per unit."),
        Column("close_price", FLOAT, "Exit price per unit."),
        Column("fees", FLOAT, "Fees of entry and exit, account currency."),
        Column("pnl", FLOAT, "Realized profit or loss net of fees, account currency."),
        Column("margin_used", FLOAT, "Margin the lot tied up, where the ledger says so.", nullable=True),
        Column("parent_lot_id", TEXT, "Lot that this exit is a part of, where it is one.", nullable=True),
        Column("entry_value", FLOAT, "|quantity × open price|."),
        Column("open_session", DATE, "Session of the opening."),
        Column("session", DATE, "Session of the exit."),
        Column("source", TEXT, "lots or fills: the kind of input the row came from."),
        _CURRENCY,
    ),
    key=("session", "strategy", "lot_id"),
    time_column="session",
    may_be_empty=True,
    kept=True,
)

OPEN_LOTS = Table(
    name="open_lots",
    description="What fills had opened and not yet closed at the end of each month: the open remainder, never lost.",
    columns=(
        Column("lot_id", TEXT, "Identification of the opening fill."),
        _STRATEGY,
        Column("symbol", TEXT, "Instrument."),
        Column("side", TEXT, "long or short."),
        Column("quantity", FLOAT, "Units still open, positive."),
        Column("opened_at", TIMESTAMP, "Opening instant, UTC."),
        Column("open_price", FLOAT, "Entry price per unit."),
        Column("fees", FLOAT, "Opening fees of the units still open, in the currency of its price."),
        Column("entry_value", FLOAT, "|quantity × open price|."),
        Column("open_session", DATE, "Session of the opening."),
        Column("snapshot", DATE, "Last session of the month or, where the position became unknown, the last known."),
        _CURRENCY,
    ),
    key=("snapshot", "strategy", "lot_id"),
    time_column="snapshot",
    may_be_empty=True,
    kept=True,
)

REJECTED_LOTS = Table(
    name="rejected_lots",
    description="Quarantine: every row of the source files that is not in the ledger, with every reason.",
    columns=(
        Column("source_file", TEXT, "File, relative to the data folder."),
        Column("line", INTEGER, "Line in a CSV file, row number in a Parquet file; both from 1."),
        Column("kind", TEXT, "lots, fills, cash, openings or returns."),
        Column("reasons", TEXT, "Reason codes, separated by ';'."),
        Column("details", TEXT, "The same in words, with the offending values."),
        Column("content", TEXT, "The row as read, JSON."),
    ),
    key=("source_file", "line"),
    time_column=None,
    may_be_empty=True,
)

LEDGER_FILES = Table(
    name="ledger_files",
    description="The source files, with how many of their rows were read, accepted and rejected.",
    columns=(
        Column("source_file", TEXT, "File, relative to the data folder."),
        Column("kind", TEXT, "lots, fills, cash, openings or returns."),
        Column("read", INTEGER, "Rows in the file."),
        Column("accepted", INTEGER, "Rows that are in the ledger."),
        Column("rejected", INTEGER, "Rows in quarantine."),
        Column("duplicates", INTEGER, "Those of the rejected that merely repeat an accepted row."),
        Column("ignored_columns", TEXT, "Columns that no rule reads."),
        Column("unhurt", INTEGER, "Those of the rejected that are held back or taken back, not wrong.", nullable=True),
        Column("left_out", INTEGER, "Rows that the source says are none of its: footer, and where.", nullable=True),
        Column(
            "version", TEXT, "ETag of an object in S3, otherwise SHA-256 of the file; null of a query.", nullable=True
        ),
    ),
    key=("source_file",),
    time_column=None,
)

LEDGER_FINDINGS = Table(
    name="ledger_findings",
    description="What the ledger's owner has to know or to decide, the gravest first.",
    columns=(
        Column("number", INTEGER, "Place in the list, from 1."),
        Column("code", TEXT, "What it is, in a word."),
        Column("severity", TEXT, "ERROR where numbers are wrong or missing, WARN where somebody has to look, INFO."),
        Column("strategy", TEXT, "Of whom; empty where it is of more than one."),
        Column("symbol", TEXT, "Of which instrument; empty where it is of more than one."),
        Column("since", DATE, "First session that it touches; null where there is none.", nullable=True),
        Column("until", DATE, "Session from which it does no more; null where it still does.", nullable=True),
        Column("source_file", TEXT, "File that it comes from; empty where it is of none."),
        Column("line", INTEGER, "Line or row of that file; 0 where it is of a whole file."),
        Column("message", TEXT, "What was found, with its figures."),
        Column("figures", TEXT, "The figures by name, JSON."),
        Column("setting", TEXT, "What resolves it."),
    ),
    key=("number",),
    time_column=None,
    may_be_empty=True,
)

UNKNOWN_POSITIONS = Table(
    name="unknown_positions",
    description="Sessions in which a position of a strategy is not known, so that its return is not either.",
    columns=(_SESSION, _STRATEGY, Column("symbols", TEXT, "Instruments whose position is not known.")),
    key=("session", "strategy"),
    time_column="session",
    may_be_empty=True,
    kept=True,
)

STRATEGY_LIQUIDITY = Table(
    name="strategy_liquidity",
    description="The trade of a session that is largest against the usual volume of its symbol, by strategy.",
    columns=(
        _SESSION,
        _STRATEGY,
        Column("symbol", TEXT, "Instrument traded."),
        Column("quantity", FLOAT, "Units that entered or left in one session, as far as they have left by this one."),
        Column("usual_volume", FLOAT, "Mean volume of the 21 sessions before; null if unknown.", nullable=True),
        Column("unknown", TEXT, "Instrument traded whose volumes are not known; null where all are.", nullable=True),
    ),
    key=("session", "strategy"),
    time_column="session",
    may_be_empty=True,
    kept=True,
)

CASH = Table(
    name="cash",
    description="Cash that is part of a session's profit: dividends, funding, interest, fees.",
    columns=(
        _SESSION,
        _STRATEGY,
        Column("cash_id", TEXT, "Unique identification of the movement within its strategy."),
        Column("symbol", TEXT, "Instrument, where it is of one.", nullable=True),
        Column("kind", TEXT, "dividend, funding, interest, fee, rebate or adjustment."),
        Column("ts", TIMESTAMP, "Instant, UTC."),
        Column("amount", FLOAT, "Received, account currency; negative where it was paid."),
    ),
    key=("session", "strategy", "cash_id"),
    time_column="session",
    may_be_empty=True,
    kept=True,
)

GIVEN_RETURNS = Table(
    name="given_returns",
    description="Daily returns delivered in place of a ledger.",
    columns=(_SESSION, _STRATEGY, Column("daily_return", FLOAT, "Return of the session, a fraction.", percent=True)),
    key=("session", "strategy"),
    time_column="session",
    may_be_empty=True,
    kept=True,
)

STRATEGY_RETURNS = Table(
    name="strategy_returns",
    description="Daily return per strategy, from its first activity on; fixed on its session, never revised.",
    columns=(
        _SESSION,
        _STRATEGY,
        Column("daily_return", FLOAT, "P&L of the session over capital, a fraction.", percent=True),
        Column("pnl", FLOAT, "P&L of the lots exited in the session, account currency.", nullable=True),
        Column("capital", FLOAT, "Capital the return is measured on, account currency.", nullable=True),
        Column("closed_lots", INTEGER, "Lots exited; null where returns came in place of a ledger.", nullable=True),
        Column("winning_lots", INTEGER, "Those of them with a profit.", nullable=True),
        Column("active", BOOLEAN, "Whether any lot known by then was open, or used margin, in the session."),
    ),
    key=("session", "strategy"),
    time_column="session",
    may_be_empty=True,
)

MARKET_REGIME = Table(
    name="market_regime",
    description="Market regime per session, from the ledger's benchmark: bull, bear, range or neutral.",
    columns=(
        _SESSION,
        Column("price", FLOAT, "Close of the benchmark."),
        Column("fast_mean", FLOAT, "Mean of the last 50 closes.", nullable=True),
        Column("slow_mean", FLOAT, "Mean of the last 200 closes.", nullable=True),
        Column("signal", TEXT, "What the session by itself would say."),
        Column("regime", TEXT, "Regime, changed only by five sessions of the same signal."),
        Column("sessions_in_regime", INTEGER, "Sessions in the regime so far, the first counting as one."),
    ),
    key=("session",),
    time_column="session",
    may_be_empty=True,
    kept=True,
)

_LABELLED = ("metric", "lookback")
_METRICS_KEY = ("as_of", "strategy", *_LABELLED)


def _metric_and_lookback(rows: pd.DataFrame) -> pd.DataFrame:
    """Take apart what was one column, ``calmar_12m``, where rows have no lookback yet."""
    old = rows["lookback"].isna()
    if not old.any():
        return rows
    parts = rows.loc[old, "metric"].map(of_label)
    named = {name: rows[name].mask(old, parts.str[place]).astype("str") for place, name in enumerate(_LABELLED)}
    return rows.assign(**named).sort_values(list(_METRICS_KEY), ignore_index=True)


METRICS = Table(
    name="metrics",
    description="Metrics per strategy over the book's lookback, null with a reason where they cannot be measured.",
    columns=(
        _AS_OF,
        _STRATEGY,
        Column("metric", TEXT, "Metric, such as calmar."),
        Column("lookback", TEXT, "Its window, such as 12m; null in rows of earlier releases.", nullable=True),
        Column("value", FLOAT, "Fractions, ratios or counts; null where not measurable.", nullable=True),
        Column("reason", TEXT, "Why the value is null; empty when measured."),
        Column("source", TEXT, "live, build_up (live blended with starter metrics), starter, manual, or none."),
    ),
    key=_METRICS_KEY,
    time_column="as_of",
    earlier=_metric_and_lookback,
)

_BOUNDS = (
    Column("lower", FLOAT, "Floor of the weight: floor multiple of base.", percent=True),
    Column("upper", FLOAT, "Cap of the weight: cap multiple of base.", percent=True),
    Column(
        "slack", FLOAT, "How far below gross the weights of the date may stay; 0 where they add up to it.", percent=True
    ),
)
_BASE = Column("base", FLOAT, "Base weight, from the book.", percent=True)

_TARGET_COLUMNS = (
    _BASE,
    Column("metric", TEXT, "The metric shown, with its window; empty for a method that reads none."),
    Column("metric_value", FLOAT, "Its value; null where not measurable.", nullable=True),
    Column("reason", TEXT, "Why the metric is null; empty when measured."),
    Column("score", FLOAT, "The number that the multiplier is a function of.", nullable=True),
    Column("formula", TEXT, "From score to raw multiplier, with the figures of the date."),
    Column("raw_multiplier", FLOAT, "Multiplier before clipping.", nullable=True),
    Column("multiplier", FLOAT, "Multiplier after clipping to floor and cap."),
    Column("note", TEXT, "How the multiplier came about, in words."),
    Column(
        "scale",
        FLOAT,
        "The one factor c that brings the sum to gross; that of its group where a limit of the group holds.",
    ),
    Column("target", FLOAT, "Target weight.", percent=True),
    *_BOUNDS,
    Column(
        "bound",
        TEXT,
        "floor or cap where that limit holds the target, cap of GROUP where that of a group does; otherwise empty.",
    ),
)

TARGET_WEIGHTS = Table(
    name="target_weights",
    description="Where each weight should go: base weight, multiplier, scale and the bound that holds it.",
    columns=(
        _AS_OF,
        _STRATEGY,
        *_TARGET_COLUMNS,
        Column("weight_set", TEXT, "Of an ensemble, the weight set that was read, and why; otherwise empty."),
    ),
    key=("as_of", "strategy"),
    time_column="as_of",
    gate=lambda frame: weight_violations(frame, "target"),
)

_WEIGHT_SET_COLUMNS = (
    _AS_OF,
    Column("weight_set", TEXT, "bull, bear, range, neutral, or all: the sessions the set was made on."),
    _STRATEGY,
    Column("is_active", BOOLEAN, "Whether any strategy is measured, so that the set may be read."),
    Column("sessions", INTEGER, "Sessions of the set in the lookback."),
    Column("metrics", TEXT, "What the method read, JSON."),
    *_TARGET_COLUMNS,
)

ENSEMBLE_WEIGHTS = Table(
    name="ensemble_weights",
    description="One weight set per market regime and one on all sessions, made at each rebalance.",
    columns=_WEIGHT_SET_COLUMNS,
    key=("as_of", "weight_set", "strategy"),
    time_column="as_of",
    gate=lambda frame: weight_violations(frame, "target", by=("as_of", "weight_set")),
    kept=True,
)

ENSEMBLE_UPDATES = Table(
    name="ensemble_updates",
    description="Weight sets made by hand; of equally dated sets these are read first.",
    columns=(*_WEIGHT_SET_COLUMNS, Column("policy", TEXT, "Method and metrics parameters behind the set, JSON.")),
    key=("as_of", "weight_set", "strategy"),
    time_column=None,
    may_be_empty=True,
    gate=lambda frame: weight_violations(frame, "target", by=("as_of", "weight_set")),
    kept=True,
    made_again=False,
)

REALIZED_WEIGHTS = Table(
    name="realized_weights",
    description="Weights after partial adjustment towards the target; the history the recursion continues from.",
    columns=(
        _AS_OF,
        _EFFECTIVE,
        _STRATEGY,
        _BASE,
        Column("previous", FLOAT, "Weight before the step: that of the preceding partition, or base.", percent=True),
        Column("target", FLOAT, "Target weight, or the part of it that an optimal speed aims for.", percent=True),
        Column(
            "rate",
            FLOAT,
            "Share of the gap closed in one rebalance (λ), after any turnover cap and no-trade band.",
            percent=True,
        ),
        Column("regime", TEXT, "Risk regime whose rate and turnover cap were used; empty where there is one for all."),
        Column("realized", FLOAT, "Weight after the step.", percent=True),
        Column("entered", BOOLEAN, "Whether the strategy is new and starts from its base weight."),
        *_BOUNDS,
    ),
    key=("as_of", "strategy"),
    time_column="as_of",
    gate=lambda frame: weight_violations(frame, "realized"),
)

ALLOCATOR_STATE = Table(
    name="allocator_state",
    description="Daily state of the unscaled reference portfolio, from its sixtieth session on.",
    columns=(
        _SESSION,
        Column("portfolio_return", FLOAT, "Return of the reference portfolio (unscaled).", percent=True),
        Column("equity", FLOAT, "Its wealth, 1.0 before the first session."),
        Column("port_rvol_20d", FLOAT, "Annualised volatility over 20 sessions.", percent=True),
        Column("port_rvol_60d", FLOAT, "Annualised volatility over 60 sessions.", percent=True),
        Column("vol_accel", FLOAT, "Ratio of the two; 1 where the portfolio did not move over 60 sessions."),
        Column("dd_level", FLOAT, "Equity over running maximum − 1.", percent=True),
        Column("dd_slope_10d", FLOAT, "Change of the drawdown level over 10 sessions.", percent=True),
        Column(
            "corr_20d",
            FLOAT,
            "Mean pairwise correlation of components over 20 sessions; null where fewer than two move.",
            nullable=True,
        ),
        Column("corr_60d", FLOAT, "The same over 60 sessions.", nullable=True),
        Column("corr_shock", FLOAT, "Difference of the two; 0 where either is null."),
        Column("trend_breadth_20d", FLOAT, "Share of components with a gain over 20 sessions.", nullable=True),
        Column("sleeve_concentration_60d", FLOAT, "Herfindahl of absolute 60-session contributions.", nullable=True),
    ),
    key=("session",),
    time_column="session",
    may_be_empty=True,
)

RISK_REGIME = Table(
    name="risk_regime",
    description="Sticky risk regime per session, with the signals that put it there.",
    columns=(
        _SESSION,
        Column("regime", TEXT, "NORMAL, ELEVATED, STRESS or CRISIS."),
        Column("score", INTEGER, "Number of signals past their entry threshold."),
        Column("exit_score", INTEGER, "Number of signals past their exit threshold."),
        Column("vol_fast", BOOLEAN, "Volatility accelerates."),
        Column("corr_spike", BOOLEAN, "Correlation jumps."),
        Column("dd_deep", BOOLEAN, "Drawdown is deep."),
        Column("dd_worsening", BOOLEAN, "Drawdown deepens fast."),
        Column("sessions_in_regime", INTEGER, "Sessions in the regime so far, the entry counting as one."),
        Column("changed", BOOLEAN, "Whether the regime differs from the session before."),
    ),
    key=("session",),
    time_column="session",
    may_be_empty=True,
)

_TARGETED = (
    Column(
        "volatility",
        FLOAT,
        "Annualised volatility of the unscaled book over the window of the volatility target; null where sessions are "
        "too few.",
        nullable=True,
        later=True,
        percent=True,
    ),
    Column(
        "volatility_scalar",
        FLOAT,
        "Scalar of the volatility target, for the whole book; null without one.",
        nullable=True,
        later=True,
    ),
)

RISK_SCALAR = Table(
    name="risk_scalar",
    description="Smoothed scalar that the overlay multiplies weights with, lagged.",
    columns=(
        _SESSION,
        Column("sleeve", TEXT, "Sleeve with a map of its own; empty for the scalar of the whole book."),
        Column("regime", TEXT, "Regime the target is for."),
        Column("target", FLOAT, "Scalar of the regime by the profile's or the sleeve's map."),
        Column("scalar", FLOAT, "Exponentially smoothed target, inside the profile's bounds."),
        *_TARGETED,
    ),
    key=("session", "sleeve"),
    time_column="session",
    may_be_empty=True,
)

_FINAL_COLUMNS = (
    _AS_OF,
    _EFFECTIVE,
    _STRATEGY,
    Column("realized", FLOAT, "Unscaled weight.", percent=True),
    Column("scalar", FLOAT, "Risk scalar used; null where none was to be had.", nullable=True),
    Column("scalar_session", DATE, "Session of that scalar; null before the first one.", nullable=True),
    Column("regime", TEXT, "Risk regime on that session; empty before the first one."),
    *_TARGETED,
    Column("funding", FLOAT, "Factor that hedges leave of the weight; null without.", nullable=True, later=True),
    Column("hedge", FLOAT, "Weight as a hedge; null without.", nullable=True, later=True, percent=True),
    Column(
        "scaled",
        FLOAT,
        "realized × scalar × volatility_scalar × funding + hedge, as far as there are any.",
        nullable=True,
        percent=True,
    ),
    Column("applied", BOOLEAN, "Whether the overlay is enabled, so that final is the scaled weight."),
    Column("final", FLOAT, "Weight to trade.", percent=True),
)

FINAL_WEIGHTS = Table(
    name="final_weights",
    description="Weights to trade: realized, scaled by the lagged scalars where the overlay is enabled.",
    columns=(
        *_FINAL_COLUMNS,
        Column("next_rebalance", TEXT, "When the book is due again, ISO 8601 in the book's zone."),
    ),
    key=("as_of", "strategy"),
    time_column="as_of",
)

DAILY_WEIGHTS = Table(
    name="daily_weights",
    description="Weights to trade on the session after each session, for a book that scales every day.",
    columns=_FINAL_COLUMNS,
    key=("as_of", "strategy"),
    time_column="as_of",
    may_be_empty=True,
)

ALLOCATOR_SUMMARY = Table(
    name="allocator_summary",
    description="What there is to say of state, regimes and scalars up to each rebalance, one JSON document each.",
    columns=(
        _AS_OF,
        Column("document", TEXT, "state, regime or scalar."),
        Column("content", TEXT, "JSON: version, thresholds, profile, parameters' hash, counts, statistics."),
    ),
    key=("as_of", "document"),
    time_column="as_of",
    may_be_empty=True,  # by a policy without an overlay, which a book had before
)

ALLOCATOR_AUDIT = Table(
    name="allocator_audit",
    description="Scaled against unscaled portfolio over the whole history up to each rebalance.",
    columns=(
        _AS_OF,
        Column("window", TEXT, "all, or a named window of stress."),
        Column("portfolio", TEXT, "unscaled or scaled."),
        Column("metric", TEXT, "cagr, sharpe, max_drawdown, …"),
        Column("value", FLOAT, "Its value; null where it cannot be measured.", nullable=True),
        Column("reason", TEXT, "Why the value is null; empty when measured."),
    ),
    key=("as_of", "window", "portfolio", "metric"),
    time_column="as_of",
    may_be_empty=True,  # by a policy without an overlay, which a book had before
)

WEIGHT_HISTORY = Table(
    name="weight_history",
    description="Every version of every rebalance's weights: what was in force when, and since when that was known.",
    columns=(
        Column("version", INTEGER, "Number of the version, from 1 without a gap."),
        Column("rebalance", TEXT, "Partition of the book that the version is of; init where a desk opened with it."),
        _AS_OF,
        _EFFECTIVE,
        Column("recorded_at", TIMESTAMP, "Instant of the run that added the version, UTC."),
        Column("reason", TEXT, "initial, scheduled, manual, backfill or correction."),
        Column("comment", TEXT, "What whoever started the run had to say."),
        Column("run_id", TEXT, "The run that added the version."),
        _STRATEGY,
        _BASE,
        Column("previous", FLOAT, "Weight that the step started from.", percent=True),
        Column("target", FLOAT, "Target weight.", percent=True),
        Column("realized", FLOAT, "Weight after the step.", percent=True),
        Column("final", FLOAT, "Weight to trade.", percent=True),
        Column("metrics", TEXT, "What the method read of the strategy, JSON."),
        Column("parameters_hash", TEXT, "Of everything without a date that determines weights; a document."),
        Column("ledger_hash", TEXT, "Of everything in the ledger that is dated up to the as-of session."),
        Column("state_hash", TEXT, "Of the contents that the store held of the ledger; the last document of a chain."),
        Column("code_version", TEXT, "Release, and a hash of the science."),
    ),
    key=("version", "strategy"),
    time_column=None,
    made_again=False,
)

WEIGHT_DOCUMENTS = Table(
    name="weight_documents",
    description="What versions of weights refer to by hash: parameters, capital, prices, contents of the ledger.",
    columns=(
        Column("hash", TEXT, "SHA-256 of the document."),
        Column("document", TEXT, "JSON in one spelling."),
    ),
    key=("hash",),
    time_column=None,
    made_again=False,
)

_METHOD = Column("method", TEXT, "Name of the method in the comparison.")
_WINDOW = Column("window", INTEGER, "Number of the window, from 0.")

COMPARISON = Table(
    name="comparison",
    description="What methods earned out of sample, on the same sessions and after fees.",
    columns=(
        _METHOD,
        Column("sessions", INTEGER, "Sessions out of sample."),
        Column("first", DATE, "First of them."),
        Column("last", DATE, "Last of them."),
        Column("cagr", FLOAT, "Annual return.", nullable=True, percent=True),
        Column("volatility", FLOAT, "Annual volatility.", nullable=True, percent=True),
        Column("sharpe", FLOAT, "Sharpe ratio.", nullable=True),
        Column("max_drawdown", FLOAT, "Maximum drawdown, positive.", nullable=True, percent=True),
        Column("calmar", FLOAT, "Annual return over maximum drawdown.", nullable=True),
        Column(
            "cagr_before_fees", FLOAT, "Annual return of the same weights without fees.", nullable=True, percent=True
        ),
        Column("worst_month", FLOAT, "Smallest return of a calendar month.", percent=True),
        Column("mean_gross", FLOAT, "Mean sum of the weights in force.", percent=True),
        Column("turnover_per_year", FLOAT, "One-way turnover a year.", nullable=True, percent=True),
        Column("fees_per_year", FLOAT, "Fees a year, a fraction of capital.", nullable=True, percent=True),
        Column("nulls", TEXT, "What is null, and why."),
    ),
    key=("method",),
    time_column=None,
)

WALK_FORWARD_WINDOWS = Table(
    name="walk_forward_windows",
    description="Windows split by date: what weights were chosen on, and what they were judged on.",
    columns=(
        _WINDOW,
        Column("train_first", DATE, "First session in sample."),
        Column("train_last", DATE, "Last session in sample; nothing after it was used."),
        Column("test_first", DATE, "First session out of sample."),
        Column("test_last", DATE, "Last session out of sample."),
        Column("sessions", INTEGER, "Sessions out of sample."),
    ),
    key=("window",),
    time_column=None,
)

WALK_FORWARD_WEIGHTS = Table(
    name="walk_forward_weights",
    description="Weights of every method in every window.",
    columns=(
        _METHOD,
        _WINDOW,
        _AS_OF,
        _EFFECTIVE,
        _STRATEGY,
        Column("weight", FLOAT, "Weight in force.", percent=True),
    ),
    key=("method", "window", "strategy"),
    time_column=None,
)

WALK_FORWARD_RETURNS = Table(
    name="walk_forward_returns",
    description="Daily returns of every method out of sample, after fees.",
    columns=(
        _SESSION,
        _METHOD,
        Column("daily_return", FLOAT, "Return of the session, a fraction.", nullable=True, percent=True),
    ),
    key=("session", "method"),
    time_column=None,
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        TRADE_LEDGER,
        OPEN_LOTS,
        REJECTED_LOTS,
        LEDGER_FILES,
        LEDGER_FINDINGS,
        UNKNOWN_POSITIONS,
        STRATEGY_LIQUIDITY,
        CASH,
        GIVEN_RETURNS,
        STRATEGY_RETURNS,
        MARKET_REGIME,
        METRICS,
        ENSEMBLE_WEIGHTS,
        ENSEMBLE_UPDATES,
        TARGET_WEIGHTS,
        REALIZED_WEIGHTS,
        ALLOCATOR_STATE,
        RISK_REGIME,
        RISK_SCALAR,
        FINAL_WEIGHTS,
        DAILY_WEIGHTS,
        ALLOCATOR_SUMMARY,
        ALLOCATOR_AUDIT,
        WEIGHT_HISTORY,
        WEIGHT_DOCUMENTS,
        COMPARISON,
        WALK_FORWARD_WINDOWS,
        WALK_FORWARD_WEIGHTS,
        WALK_FORWARD_RETURNS,
    )
}
"""All tables by name."""

DERIVED_FROM: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {
    "strategy_returns": {
        "daily_return": (("trade_ledger", "pnl"),),
        "pnl": (("trade_ledger", "pnl"),),
        "closed_lots": (("trade_ledger", "lot_id"),),
    },
    "metrics": {"value": (("strategy_returns", "daily_return"),)},
    "target_weights": {
        "metric_value": (("metrics", "value"), ("ensemble_weights", "metric_value")),
        "target": (("metrics", "value"), ("ensemble_weights", "target")),
        "weight_set": (("market_regime", "regime"), ("ensemble_weights", "weight_set")),
    },
    "ensemble_weights": {
        "metric_value": (("strategy_returns", "daily_return"), ("market_regime", "regime")),
        "target": (("strategy_returns", "daily_return"), ("market_regime", "regime")),
    },
    "realized_weights": {
        "target": (("target_weights", "target"),),
        "realized": (("target_weights", "target"),),
    },
    "allocator_state": {
        "portfolio_return": (("strategy_returns", "daily_return"), ("realized_weights", "realized")),
    },
    "risk_regime": {
        "regime": tuple(("allocator_state", n) for n in ("vol_accel", "corr_shock", "dd_level", "dd_slope_10d")),
    },
    "risk_scalar": {
        "scalar": (("risk_regime", "regime"),),
        "volatility": (("strategy_returns", "daily_return"), ("realized_weights", "realized")),
        "volatility_scalar": (("strategy_returns", "daily_return"), ("realized_weights", "realized")),
    },
    "daily_weights": {
        "realized": (("realized_weights", "realized"),),
        "scalar": (("strategy_returns", "daily_return"), ("realized_weights", "realized")),
        "final": (("realized_weights", "realized"), ("strategy_returns", "daily_return")),
    },
    "allocator_audit": {
        "value": (("strategy_returns", "daily_return"), ("realized_weights", "realized"), ("risk_scalar", "scalar")),
    },
    "final_weights": {
        "realized": (("realized_weights", "realized"),),
        "scalar": (("risk_scalar", "scalar"),),
        "volatility": (("risk_scalar", "volatility"),),
        "volatility_scalar": (("risk_scalar", "volatility_scalar"),),
        "funding": (("realized_weights", "realized"), ("risk_scalar", "regime")),
        "hedge": (("realized_weights", "realized"), ("risk_scalar", "regime")),
        "final": (
            ("realized_weights", "realized"),
            ("risk_scalar", "scalar"),
            ("risk_scalar", "volatility_scalar"),
        ),
    },
}
"""Columns that follow from columns of the tables before, for the lineage a person clicks through."""
