"""How a report says what is known: sentences, and figures as a reader writes them.

Scope: words made of facts, free of HTML. Not here: what is known (``facts``), how it looks (``render``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from weights_pipeline.core.metrics.label import in_words
from weights_pipeline.core.study.book_comparison import FEE
from weights_pipeline.core.targets.rules import Rule
from weights_pipeline.report.earnings import BOOKED_ON_EXIT
from weights_pipeline.report.facts import SMALLEST, BookReport, Move, Outcome, Report


def day(date: pd.Timestamp) -> str:
    """A day as every page and message writes it."""
    return f"{date:%Y-%m-%d}"


def instant(text: str) -> str:
    """An instant of ISO 8601 as a person writes it, with the zone's offset."""
    when = pd.Timestamp(text)
    return f"{day(when)}, {when:%H:%M} UTC{when:%z}" if when.tz else f"{day(when)}, {when:%H:%M}"


def points(change: float) -> str:
    """A change of a weight in points of capital, with its sign; 0.00 where it is too small for one."""
    shown = f"{change * 100:+.2f}".replace("-", "\N{MINUS SIGN}")
    return "0.00" if shown[1:] == "0.00" else shown


def signed(value: float, digits: int = 2) -> str:
    """A number with a minus that is one."""
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def rounded(formula: str) -> str:
    """A formula with its long numbers to four digits."""
    return re.sub(r"\d+\.\d{5,}", lambda found: f"{float(found[0]):.4g}", formula)


def cause(move: Move) -> str:
    """What the method read, against what it read before; of a method that reads nothing, how it decided."""
    if not move.label:
        return f"{move.note}, {rounded(move.formula)}" if move.formula else move.note
    name = in_words(move.label)
    if math.isnan(move.metric):
        return f"{name} not measured ({move.metric_reason.replace('_', ' ')}), so its base weight counts"
    shown, before = signed(move.metric), signed(move.metric_before)
    if math.isnan(move.metric_before):
        return f"{name} is {shown}"
    if shown == before:
        return f"{name} stayed at {shown}"
    return f"{name} {'rose' if move.metric > move.metric_before else 'fell'} from {before} to {shown}"


def why(move: Move) -> str:
    """How the weight followed from what was read: multiplier, bound, and what the overlay did."""
    said = [Rule.of(move.note).said if move.label else ""]
    if move.bound:
        said.append(f"target held at its {move.bound}")
    if move.entered:
        said.append("new in the book")
    if abs(move.by_scalar) >= SMALLEST:
        said.append(f"overlay {points(move.by_scalar)}")
    return "; ".join(each for each in said if each)


def driver(move: Move) -> str:
    """What moved a weight: the overlay, what the method read, or a target that it had not reached."""
    if move.by_risk:
        return f"overlay {points(move.by_scalar)}, tilt {points(move.by_tilt)}"
    if not math.isnan(move.metric) and (move.multiplier - move.multiplier_before) * move.change <= 0.0:
        return f"to a target of {move.target:.2%}, though {cause(move)}"
    return cause(move)


def headline(book: BookReport) -> str:
    """In force since when, on which data and what of it is not known, under which regime and scalar."""
    since_when = f"Weights in force from {day(book.effective_from)}, on data to {day(book.as_of)}."
    for place in book.published:
        if place.state != "in_force":
            since_when += f" {place.says}"
    if book.course and book.course.says:
        since_when += f" {book.course.says}"
    if book.reconciled is not None:
        since_when += f" Ledger reconciled to {day(book.reconciled)}."
    for row in book.unknown.to_dict("records"):
        since_when += (
            f" {row['strategy']}: position in {row['symbol']} unknown since {day(row['since'])}, {row['source_file']} "
            f"line {row['line']}."
        )
    if book.book.overlay is None:
        return f"{since_when} The book has no risk overlay."
    effect = "applied" if book.applied else "computed, not applied"
    scalar = "one risk scalar per sleeve" if math.isnan(book.scalar) else f"risk scalar {book.scalar:.2f}"
    scalar += "" if math.isnan(book.volatility_scalar) else f", volatility target {book.volatility_scalar:.2f}"
    scalar += "" if math.isnan(book.hedged) else f", hedges {book.hedged:.2%}"
    return f"{since_when} Regime {book.regime or 'not known yet'}, {scalar}, {effect}."


def hedges(book: BookReport) -> str:
    """Which hedges there are and when, what they weigh now and who pays, what they have given and cost."""
    of = book.book.overlay.hedges if book.book.overlay else None
    if of is None:
        return ""
    said = f"Hedges: {', '.join(of.strategies)}, in {', '.join(of.regimes)} up to {of.weight:.2%} together"
    if not book.hedged > 0:
        said += "; they weigh nothing now."
    elif of.funded == "pro_rata":
        said += (
            f"; they weigh {book.hedged:.2%} now, for which all others keep {book.funding:.2%} of their scaled weights."
        )
    else:
        said += f"; they weigh {book.hedged:.2%} now, paid by cash."
    audited = book.audit[book.audit["portfolio"] == "hedges"]
    return said if audited.empty else f"{said} {carried_by_hedges(audited.set_index('metric')['value'])}"


def carried_by_hedges(audited: Mapping[str, float] | pd.Series) -> str:
    """What hedges have given and cost a year, by the metrics of their audit."""
    if not audited["share_on"] > 0:
        return "Hedges were never on."
    return (
        f"Hedges were on in {audited['share_on']:.1%} of the sessions, with a mean weight of "
        f"{audited['mean_weight']:.2%} together. They earned {audited['earned']:+.2%} a year, and what paid for them "
        f"would have earned {audited['given_up']:+.2%}: a carry of {audited['carry']:+.2%}."
    )


def basis(book: BookReport) -> str:
    """What every figure of returns rests on: fees, and how profit is booked."""
    said = f"after fees of {FEE * 1e4:g} basis points of the weight traded, {book.booking}"
    if book.booking != BOOKED_ON_EXIT:
        return said
    return f"{said}, so that losses of open positions are not in it: volatility and drawdowns are understated"


def figures(book: BookReport) -> str:
    """What the book has earned, in a sentence with everything that a Sharpe ratio depends on."""
    earned = book.earned
    if earned is None:
        return "The book has not earned anything yet: its weights have not been in force on any session."
    found, first, last = earned.figures, earned.returns.index[0], earned.returns.index[-1]
    span = f"From {day(first)} to {day(last)}"
    if math.isnan(found["cagr"]):
        return f"{span}: {signed(100 * earned.total)}% in all, too short for annual figures; {basis(book)}."
    ratios = " and ".join(
        f"{'undefined' if math.isnan(ratio) else signed(ratio)} over {rate:.1%}"
        for ratio, rate in ((found["sharpe"], 0.0), (earned.sharpe_over_rate, earned.rate))
    )
    return (
        f"{span} it earned {signed(100 * found['cagr'])}% a year at {found['volatility']:.2%} volatility; largest "
        f"drawdown {found['max_drawdown']:.2%}. Sharpe ratio {ratios}, the risk-free rate of its "
        f"metrics. All {basis(book)}."
    )


def since(book: BookReport) -> str:
    """What moves are held against."""
    return "base weights" if book.before is None else f"the rebalance of {day(book.before)}"


def in_short(book: BookReport) -> str:
    """A book in a few lines: in force since when, regime and scalar, the biggest moves and why."""
    named = "; ".join(f"{move.strategy} {points(move.change)} ({driver(move)})" for move in book.movers)
    if not named:
        return f"{headline(book)} No weight has moved since {since(book)}."
    return f"{headline(book)} Biggest moves since {since(book)}, in points of capital: {named}."


def verdict(report: Report) -> str:
    """Whether all checks passed, in a sentence."""
    missed = [each for each in report.outcomes if not each.finding.passed]
    every = f"{len(report.outcomes)} checks"
    if not missed:
        return f"All {every} passed."
    wrong, warned = ([each for each in missed if each.check.error is error] for error in (True, False))
    return (
        f"{len(report.outcomes) - len(missed)} of {every} passed: "
        + (f"errors from {_names(wrong)}" if wrong else "no errors")
        + (f"; warnings from {_names(warned)}." if warned else ".")
    )


def summary(report: Report) -> str:
    """A report in a paragraph."""
    lead = f"As of {day(pd.Timestamp(report.day))}. " if report.day else ""
    missing = f" Nothing is stored yet of {', '.join(report.missing)}." if report.missing else ""
    said = " ".join(f"{each.book.name}: {in_short(each)}" for each in report.books)
    return f"{lead}{said} {verdict(report)}{missing}"


def _names(outcomes: Sequence[Outcome]) -> str:
    return ", ".join(dict.fromkeys(each.check.name for each in outcomes))
