"""The report: one file that needs nothing else, says what the store says, and says it again to the byte."""

import dataclasses
import datetime as dt
import email
import email.policy
import itertools
import json
import math
import re
import shutil
import socket
import zlib
from html.parser import HTMLParser
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from aiosmtpd.controller import Controller

from benchmarks.support.data import BOOK, LEDGER, edit_yaml
from weights_pipeline.alerts import Outbox
from weights_pipeline.alerts.delivery import Remote, deliver
from weights_pipeline.checks import book_checks, ledger_checks
from weights_pipeline.cli import main
from weights_pipeline.core.allocator.hedges import Hedges
from weights_pipeline.core.allocator.overlay import performance
from weights_pipeline.core.returns.daily import wide
from weights_pipeline.core.returns.frequency import DAILY, MONTHLY
from weights_pipeline.core.returns.marking import booked_on_exit
from weights_pipeline.core.study.book_comparison import FEE, Contender, compare
from weights_pipeline.core.study.overfitting import of_returns
from weights_pipeline.core.study.sharpe_inference import probabilistic_sharpe, sharpe_estimate
from weights_pipeline.extras import MissingExtraError, missing
from weights_pipeline.live.standing import Standing
from weights_pipeline.orchestration.assets.report import report_asset
from weights_pipeline.report import words
from weights_pipeline.report.facts import Outcome, gather
from weights_pipeline.report.mail import FRESH, mail
from weights_pipeline.report.pdf import render_pdf
from weights_pipeline.report.render import render, render_markdown
from weights_pipeline.store.duckdb_store import DuckDBStore
from weights_pipeline.store.queries import NothingInForceError
from weights_pipeline.tables import catalog
from weights_pipeline.text import markdown
from weights_pipeline.workspace import Workspace
from weights_pipeline_tests.support.commands import loaded_by

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
"""Long after the sample has ended; what is said of it is the same at any later instant."""
PAST = dt.date(2012, 12, 14)
HOSTILE = '<img src=x onerror="alert(1)">--></svg><script>alert(2)</script>'
CHROMIUM = Path("/usr/bin/chromium")


class Page(HTMLParser):
    """Tags with their attributes, and the texts of table cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self._cell = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = ""

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None:
            self.rows[-1].append(self._cell.strip())
            self._cell = None

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if attrs.get(name) is not None]


def reports(settings, chosen, as_of=None, now=None):
    return gather(Workspace(settings), chosen, as_of, now=now)


@pytest.fixture(scope="module")
def report(finished):
    return reports(finished.settings, [[BOOK]])[0]


@pytest.fixture(scope="module")
def page(report):
    return render(report)


@pytest.fixture(scope="module")
def later(finished):
    """The report as commands and runs tell it now."""
    return reports(finished.settings, [[BOOK]], now=NOW)[0]


@pytest.fixture(scope="module")
def page_later(later):
    return render(later)


@pytest.fixture
def undrawn(monkeypatch):
    """Pages without their figures, which take most of the time of one."""
    monkeypatch.setattr("weights_pipeline.charts.report.inline", lambda *_: "")


def test_the_file_needs_nothing_else(page):
    parsed = Page(page)
    assert not {tag for tag, _ in parsed.tags} & {"script", "link", "img", "iframe", "object", "base", "form", "image"}
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r'(?:href|src)="([^"]*)"', page))
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)\)", page))
    assert not [name for _, attrs in parsed.tags for name in attrs if name.startswith("on")]


def test_the_page_is_semantic_and_its_figures_speak(page):
    parsed = Page(page)
    assert ("html", {"lang": "en"}) in parsed.tags
    tags = [tag for tag, _ in parsed.tags]
    assert tags.count("h1") == tags.count("title") == tags.count("main") == 1
    assert tags.count("figure") == tags.count("figcaption") == tags.count("svg") == 10
    assert (
        len([1 for tag, attrs in parsed.tags if tag == "svg" and attrs["aria-label"] and attrs["role"] == "img"]) == 10
    )
    identities = parsed.attributes("id")
    assert len(identities) == len(set(identities))
    used = {name[1:] for name in parsed.attributes("href")} | set(re.findall(r"url\(#([^)]*)\)", page))
    assert used <= set(identities)


def test_the_figures_are_those_of_the_store(finished, page):
    rows = {row[0]: row for row in reversed(Page(page).rows) if len(row) == 9}  # the table of changes comes first
    final, realized, targets = (
        finished.store.read(BOOK, table)
        for table in (catalog.FINAL_WEIGHTS, catalog.REALIZED_WEIGHTS, catalog.TARGET_WEIGHTS)
    )
    dates = sorted(final["as_of"].unique())
    now = final[final["as_of"] == dates[-1]].set_index("strategy")
    before = final[final["as_of"] == dates[-2]].set_index("strategy")["final"]
    target = targets[targets["as_of"] == dates[-1]].set_index("strategy")
    base = realized[realized["as_of"] == dates[-1]].set_index("strategy")["base"]
    assert set(now.index) == set(rows) - {"Strategy"}
    for name, weight in now["final"].items():
        shown = rows[name]
        assert shown[1] == f"{base[name]:.2%}"
        assert shown[2] == f"{before[name]:.2%}"
        assert shown[3] == f"{weight:.2%}"
        assert float(shown[4].replace("−", "-")) == pytest.approx((weight - before[name]) * 100, abs=0.00501)
        assert shown[5] == f"{target.at[name, 'target']:.2%}"
        assert shown[7].split("→")[-1].strip() == f"{target.at[name, 'multiplier']:.2f}"


def test_one_set_of_figures_goes_through_the_page_with_what_it_rests_on(report, page):
    book = report.books[0]
    own = next(each for each in report.comparison.standings if each.name == BOOK)
    assert dict(book.earned.figures) == dict(own.figures)
    assert book.earned.returns.tolist() == report.comparison.returns[BOOK].tolist()
    assert performance(book.earned.overlay[1])["sharpe"][0] == book.earned.figures["sharpe"]
    cells = book.attribution.whole.to_numpy().ravel().tolist()
    assert math.fsum(cells) == pytest.approx(book.earned.total, abs=1e-14)
    said = words.figures(book)
    assert page.count(said.replace("&", "&amp;")) == 2
    for part in (
        f"{own.figures['sharpe']:.2f} over 0.0%",
        "over 4.5%",
        "fees of 10 basis points",
        "P&L booked on exit",
    ):
        assert part in said


def test_the_book_is_held_against_the_benchmark_of_its_ledger(finished, report, page):
    found = report.books[0].earned.benchmark
    closes = finished.store.read(LEDGER, catalog.MARKET_REGIME).set_index("session")["price"]
    own = report.books[0].earned.returns
    market = (closes / closes.shift(1) - 1).reindex(own.index)
    assert found.observations == len(own) - 1
    assert found.correlation == pytest.approx(np.corrcoef(own.iloc[1:], market.iloc[1:])[0, 1], rel=1e-9)
    assert f"beta is {words.signed(found.beta)} and correlation {words.signed(found.correlation)} to the ledger" in page
    assert report.document["books"][BOOK]["earned"]["benchmark"]["beta"] == found.beta


def test_profit_booked_on_exit_is_what_a_ledger_without_prices_has(finished, report):
    rows, lots, cash = (
        finished.store.read(LEDGER, table) for table in (catalog.STRATEGY_RETURNS, catalog.TRADE_LEDGER, catalog.CASH)
    )
    booked = booked_on_exit(rows, lots, cash[["session", "strategy", "amount"]])
    pd.testing.assert_frame_equal(booked, wide(rows), check_names=False, check_freq=False, rtol=1e-9, atol=1e-15)
    assert report.books[0].earned.booked is None


@pytest.mark.usefixtures("undrawn")
def test_marked_figures_stand_beside_booked_ones(report):
    earned = report.books[0].earned
    beside = dataclasses.replace(earned, booked=dict(earned.figures) | {"sharpe": 9.87})
    text = render(dataclasses.replace(report, books=(dataclasses.replace(report.books[0], earned=beside),)))
    rows = {row[0]: row for row in Page(text).rows if row and row[0] in ("Marked to market", "Booked on exit")}
    assert rows["Marked to market"][3] == words.signed(earned.figures["sharpe"])
    assert rows["Booked on exit"][3] == "9.87"


@pytest.mark.usefixtures("undrawn")
def test_a_book_with_costs_has_figures_before_and_after_them(finished, own_data, report):
    assert report.books[0].earned.document["costs"] is None
    assert "Before costs" not in render_markdown(report)
    edit_yaml(own_data / "books" / f"{BOOK}.yaml", costs={"fee": FEE})
    (own,) = reports(dataclasses.replace(finished.settings, data=own_data), [[BOOK]])
    earned, costs = own.books[0].earned, own.document["books"][BOOK]["earned"]["costs"]
    # Its own fee is that of every book here.
    assert costs["after"] == pytest.approx(dict(earned.figures), rel=1e-9)
    assert earned.figures == report.books[0].earned.figures
    assert costs["before"]["sharpe"] > costs["after"]["sharpe"]
    rows = {row[0]: row for row in Page(render(own)).rows if row and row[0] in ("Before costs", "After costs")}
    assert [rows[side][3] for side in ("Before costs", "After costs")] == [
        words.signed(costs[side]["sharpe"]) for side in ("before", "after")
    ]
    assert "| After costs |" in render_markdown(own)


@pytest.mark.usefixtures("undrawn")
def test_hedges_are_named_with_their_weight_who_pays_and_what_they_cost(report):
    plain = report.books[0]
    assert math.isnan(plain.hedged)
    assert "Hedges" not in render(report)
    hedges = Hedges(strategies=("rsi2",), regimes=("STRESS",), weight=0.1, ramp=0.5)
    book = plain.book.model_copy(update={"overlay": dataclasses.replace(plain.book.overlay, hedges=hedges)})
    figures = {"share_on": 0.25, "mean_weight": 0.04, "earned": 0.01, "given_up": 0.03, "carry": -0.02}
    audit = pd.DataFrame({"window": "all", "portfolio": "hedges", "metric": [*figures], "value": [*figures.values()]})
    audit = pd.concat([plain.audit, audit.assign(as_of=plain.as_of, reason="")], ignore_index=True)
    own = dataclasses.replace(plain, book=book, audit=audit, hedged=0.05, funding=0.95)
    text = render(dataclasses.replace(report, books=(own,)))
    assert "Hedges: rsi2, in STRESS up to 10.00% together; they weigh 5.00% now" in text
    assert "for which all others keep 95.00% of their scaled weights." in text
    assert "on in 25.0% of the sessions, with a mean weight of 4.00% together" in text
    assert "a carry of -2.00%." in text
    assert "hedges 5.00%" in words.headline(own)
    assert "they weigh nothing now" in words.hedges(dataclasses.replace(own, hedged=0.0))
    by_cash = dataclasses.replace(book.overlay, hedges=dataclasses.replace(hedges, funded="cash"))
    cash = book.model_copy(update={"overlay": by_cash})
    assert "5.00% now, paid by cash." in words.hedges(dataclasses.replace(own, book=cash))


def test_the_choice_among_weightings_is_doubted_in_every_form(report, page):
    found = report.comparison.overfitting
    assert found.trials == len(report.comparison.standings) == 3
    assert found.sentence in page
    assert markdown(found.sentence) in render_markdown(report)
    assert report.document["overfitting"]["probability"] == found.probability


def test_the_page_goes_from_changes_to_trust_and_begins_with_its_caveats(report, page, undrawn):
    titles = (
        "What has changed, and why",
        "What it has earned, and who earned it",
        "What could go wrong",
        "Can I trust it?",
    )
    places = [page.index(f"<h2>{title}</h2>") for title in titles]
    assert places == sorted(places)
    assert page.index("Sample data: trades are simulated") < places[0]
    assert "these weights have expired" not in page
    late = Standing(target="file", state="expired", says="Not used after 35 days.")
    expired = dataclasses.replace(report.books[0], published=(late,))
    banner = render(dataclasses.replace(report, books=(expired,)))
    assert f"{BOOK}: these weights have expired.</strong> Not used after 35 days." in banner
    assert len(page.encode()) <= 600_000


def test_several_books_begin_with_a_row_for_each_and_one_that_earned_nothing_says_so(report):
    book = report.books[0]
    new = book.book.model_copy(update={"name": "new"})
    bare = dataclasses.replace(book, book=new, earned=None, attribution=None, risk=None)
    text = render(dataclasses.replace(report, books=(book, bare)))
    rows = [row for row in Page(text).rows if row and row[0].endswith(f" {book.booking}")]
    assert [row[0].split()[0] for row in rows] == [BOOK, "new"]
    assert rows[0][5:7] == [f"{book.earned.figures['volatility']:.2%}", f"{book.earned.figures['sharpe']:.2f}"]
    assert rows[1][3] == "nothing earned yet"
    assert "The book has not earned anything yet" in text
    identities = Page(text).attributes("id")
    assert len(identities) == len(set(identities))


def test_changes_are_told_apart_by_tilt_and_scalar(report):
    for move in report.books[0].moves:
        assert move.by_tilt + move.by_scalar == pytest.approx(move.change, abs=1e-15)
        assert move.steps[-1].value == move.final
    changes = [abs(move.change) for move in report.books[0].moves]
    assert changes == sorted(changes, reverse=True)


def test_a_move_is_told_by_what_made_it(report):
    told = {"base": 0.05, "target": 0.09, "final": 0.06, "before": 0.05}
    told |= {"metric": 2.0, "metric_before": 1.0, "multiplier": 1.5, "multiplier_before": 1.2}
    move, rose = dataclasses.replace(report.books[0].moves[0], **told), "Calmar over 12 months rose from 1.00 to 2.00"
    assert words.driver(dataclasses.replace(move, by_tilt=0.012, by_scalar=-0.002)) == rose
    held = dataclasses.replace(move, by_tilt=0.01, by_scalar=0.0, multiplier=1.2)
    assert words.driver(held) == f"to a target of 9.00%, though {rose}"
    cut = dataclasses.replace(move, final=0.04, by_tilt=0.002, by_scalar=-0.012)
    assert words.driver(cut) == "overlay −1.20, tilt +0.20"


def test_the_checks_are_those_of_the_command(finished, report):
    setup = finished.setup
    listed = [*ledger_checks(setup.source, [setup]), *book_checks(setup)]
    assert [(o.check.table.name, o.check.name) for o in report.outcomes] == [(c.table.name, c.name) for c in listed]
    assert all(each.finding.passed for each in report.outcomes if each.check.error)
    warned = {each.check.name for each in report.outcomes if not each.finding.passed}
    assert warned
    assert all(name in words.verdict(report) for name in warned)
    assert words.verdict(report) in words.summary(report)


@pytest.mark.usefixtures("undrawn")
def test_an_error_is_said_first_and_loudly(report):
    wrong = [
        Outcome(
            each.check, dataclasses.replace(each.finding, passed=False, offending=pd.DataFrame({"row": [HOSTILE] * 9}))
        )
        if each.check.name == "recurrence"
        else each
        for each in report.books[0].outcomes
    ]
    book = dataclasses.replace(report.books[0], outcomes=tuple(wrong))
    found = dataclasses.replace(report, books=(book,))
    assert "errors from recurrence" in words.verdict(found)
    text = render(found)
    assert 'class="verdict ERROR"' in text
    assert "the first 5 of 9 rows" in text
    assert "<img" not in text


def test_names_of_strategies_are_text_and_nothing_else(report, page):
    book = report.books[0]
    named = {book.moves[0].strategy: HOSTILE}
    moves = tuple(dataclasses.replace(move, strategy=named.get(move.strategy, move.strategy)) for move in book.moves)
    hostile = dataclasses.replace(
        book, moves=moves, final=book.final.rename(columns=named), targets=book.targets.rename(columns=named)
    )
    text = render(dataclasses.replace(report, books=(hostile,), missing=(HOSTILE,), title=HOSTILE))
    parsed = Page(text)
    assert not {tag for tag, _ in parsed.tags} & {"script", "img"}
    assert {tag for tag, _ in parsed.tags} == {tag for tag, _ in Page(page).tags} | {"strong"}
    assert HOSTILE in [row[0] for row in parsed.rows]


def test_a_past_day_is_told_from_what_there_was_on_it(finished, tmp_path):
    """All that is dated later is taken away, and the page is the same to the byte."""
    then = reports(finished.settings, [[BOOK]], PAST)[0]
    book = then.books[0]
    assert book.effective_from <= pd.Timestamp(PAST) < pd.Timestamp("2013-01-01")
    assert book.final.index.max() == book.effective_from
    assert book.scalars.index.max() <= pd.Timestamp(PAST)
    assert then.comparison.last <= pd.Timestamp(PAST)
    assert {"no_look_ahead", "no_version_gap", "stored_as_written"} <= set(book.left_out)

    shutil.copy(finished.store.path, tmp_path / "weights.duckdb")
    cut = DuckDBStore(tmp_path / "weights.duckdb", lock_timeout=30)
    with cut.writing() as connection:
        for schema, name in finished.store.tables():
            columns = catalog.TABLES[name].column_names()
            for column in ("effective_from", "session", "snapshot", "as_of"):
                if column in columns:
                    condition = f"{column} > '{book.as_of if column == 'as_of' else PAST}'"
                    connection.execute(f"DELETE FROM {schema}.{name} WHERE {condition}").fetchall()
                    break
    assert len(cut.read(LEDGER, catalog.STRATEGY_RETURNS)) < len(finished.store.read(LEDGER, catalog.STRATEGY_RETURNS))
    shown = render(then).replace(str(finished.store.path), str(cut.path))
    assert render(reports(dataclasses.replace(finished.settings, home=tmp_path), [[BOOK]], PAST)[0]) == shown


def test_the_very_first_day_has_a_report(finished):
    found = reports(finished.settings, [[BOOK]], dt.date(2012, 2, 1))[0]
    assert found.books[0].before is None
    assert found.comparison.sessions == 1
    text = render(found)
    for said in ("No scalar yet", "This is the first rebalance", "too short to say whether weighting helped"):
        assert said in text


def test_a_day_before_everything_has_no_report(finished):
    with pytest.raises(NothingInForceError, match="no weights in force on 2011-01-03"):
        reports(finished.settings, [[BOOK]], dt.date(2011, 1, 3))


def test_a_book_without_weights_is_named_among_all_and_refused_alone(finished, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(finished.settings.data, data)
    text = (data / "books" / f"{BOOK}.yaml").read_text()
    (data / "books" / "young.yaml").write_text(text.replace(f"name: {BOOK}", "name: young"))
    settings = dataclasses.replace(finished.settings, data=data)
    found = reports(settings, [[BOOK, "young"]], PAST)[0]
    assert found.missing == ("young",)
    assert "Nothing is stored yet of young." in words.summary(found)
    with pytest.raises(NothingInForceError, match="weights run --book young"):
        reports(settings, [["young"]])


def test_the_command_writes_the_page_to_the_byte_and_what_is_published(
    finished, page, later, page_later, tmp_path, monkeypatch, capsys
):
    assert page_later != page
    monkeypatch.setenv("WEIGHTS_DATA", str(finished.settings.data))
    monkeypatch.setenv("WEIGHTS_HOME", str(finished.settings.home))
    file = tmp_path / "deep" / "report.html"
    with pytest.raises(SystemExit, match="0"):
        main(["report", "--json", "--out", str(file)])
    said = json.loads(capsys.readouterr().out)
    assert file.read_text() == page_later
    assert said["path"] == str(file)
    assert said["bytes"] == len(page_later.encode())
    assert said["summary"].startswith(f"{BOOK}: Weights in force from")
    assert sum(said["books"][BOOK]["weights"].values()) == pytest.approx(
        finished.store.read(BOOK, catalog.FINAL_WEIGHTS).groupby("as_of")["final"].sum().iloc[-1]
    )
    for arguments, code in ((["--book", "nothing"], 2), (["--as-of", "2011-01-03"], 3)):
        with pytest.raises(SystemExit, match=str(code)):
            main(["report", *arguments])
    # What the command gathers has just been seen to be this.
    with monkeypatch.context() as patch:
        patch.setattr("weights_pipeline.report.facts.gather", lambda *_, **__: (later,))
        written = {form: tmp_path / f"report.{form}" for form in ("md", "json", "pdf")}
        for form, other in written.items():
            with pytest.raises(SystemExit, match="0"):
                main(["report", "--format", form, "--out", str(other)])
    assert written["pdf"].read_bytes() == render_pdf(later)
    found = json.loads(written["json"].read_text())["books"][BOOK]
    cells = [value for row in found["attribution"]["since_inception"].values() for value in row.values()]
    assert math.fsum(cells) == pytest.approx(found["earned"]["periods"]["Since inception"]["return"], abs=1e-14)
    lines = written["md"].read_text().splitlines()
    cells = [line.replace(r"\|", "").count("|") if line.startswith("|") else 0 for line in lines]
    assert all(here == after for here, after in itertools.pairwise(cells) if here and after)
    assert any(line.startswith("| **The book** |") for line in lines)
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path / "empty"))
    with pytest.raises(SystemExit, match="3"):
        main(["report", "--all"])


def test_a_pdf_is_the_page_on_paper_with_its_own_fonts_and_the_instant_of_its_weights(report):
    if missing("plutoprint"):
        # There is no wheel for this machine.
        with pytest.raises(MissingExtraError, match=r"a PDF needs the package plutoprint.*\[pdf\]"):
            render_pdf(report)
        return
    printed = render_pdf(report)
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", printed, re.DOTALL)
    unpacked = printed + b"".join(zlib.decompressobj().decompress(each) for each in streams if each[:1] == b"x")
    assert printed.startswith(b"%PDF-")
    assert {name.rpartition(b"+")[2] for name in re.findall(rb"/BaseFont\s*/(\S+)", unpacked)} == {
        b"DejaVuSans",
        b"DejaVuSans-Bold",
        b"DejaVuSansMono",
    }
    assert 6 <= len(re.findall(rb"/Type\s*/Page\b", unpacked)) <= 12
    known = report.books[0].version.recorded_at
    assert re.findall(rb"/CreationDate\s*\(D?:?(\d{14})", unpacked) == [f"{known:%Y%m%d%H%M%S}".encode()]


def test_the_command_loads_no_orchestrator():
    statement = (
        "import weights_pipeline.cli.commands.report, weights_pipeline.report.facts, weights_pipeline.report.render"
    )
    assert "dagster" not in loaded_by(statement)[0]


def test_the_asset_writes_every_book_and_all_of_them_and_mails_where_it_is_asked_to(
    finished, page_later, tmp_path, monkeypatch
):
    monkeypatch.setattr("weights_pipeline.report.mail.FRESH", dt.timedelta(days=100_000))
    shutil.copy(finished.store.path, tmp_path)
    settings = dataclasses.replace(finished.settings, home=tmp_path, mail_reports=True)
    asset = report_asset(Workspace(settings))
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([asset], instance=instance).success
    assert sorted(file.name for file in (tmp_path / "reports").iterdir()) == [f"{BOOK}.html", "index.html"]
    written = (tmp_path / "reports" / f"{BOOK}.html").read_text()
    assert written == page_later.replace(str(finished.store.path), str(settings.store_path))
    assert "services go by base weights" in written
    ((alert, _),) = Outbox(settings.alerts).contents().alerts.values()
    assert Path(alert.attachment).read_text() == written
    assert {key.path[-1] for key in asset.asset_deps[asset.key]} == {"final_weights", "weight_history", "live_weights"}


def test_a_report_is_mailed_once_a_rebalance_again_until_it_arrives_and_never_late(finished, tmp_path, page, report):
    mails, answers = [], ["451 come back later", "250 OK"]

    class Inbox:
        async def handle_DATA(self, server, session, envelope):
            mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
            return answers.pop(0)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    outbox, first = Outbox(tmp_path / "alerts"), report.books[0].effective_from.tz_localize("UTC").to_pydatetime()
    told = {BOOK: (report, page)}
    controller = Controller(Inbox(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        box = [Remote(f"mailto://127.0.0.1:{port}/?from=a@example.com&to=b@example.com&mode=insecure")]
        assert mail(outbox, told, "http://ui", first + FRESH) == []
        assert mail(outbox, told, "http://ui", first) == [BOOK]
        assert deliver(outbox, box, first) == [("mailto", "could not be reached")]
        (kept,) = (tmp_path / "alerts" / "pages").iterdir()
        assert kept.read_text() == page
        assert mail(outbox, told, "http://ui", first + dt.timedelta(days=1)) == []
        for days in (1, 2):
            assert deliver(outbox, box, first + dt.timedelta(days=days)) == []
    finally:
        controller.stop()
    assert len(mails) == 2
    assert not kept.exists()
    arrived = mails[1]
    assert f"NOTICE: {BOOK}: weights in force from" in arrived["Subject"]
    said = arrived.get_body(("plain",)).get_content()
    assert words.points(report.books[0].movers[0].change) in said
    (attached,) = arrived.iter_attachments()
    assert attached.get_filename() == kept.name
    assert attached.get_content_type() == "text/html"
    assert attached.get_payload(decode=True).decode() == page


# --- The comparison -----------------------------------------------------------------------------------------------


def sessions(count, start="2020-01-01"):
    return pd.bdate_range(start, periods=count)


def contender(name, weights, returns, first=0, **others):
    held = pd.DataFrame([weights], index=returns.index[first : first + 1], columns=returns.columns)
    return Contender(name=name, weights=held, returns=returns, **others)


def market(count=600, edge=0.0, seed=1):
    """One strategy with an edge over another, beside common noise."""
    generator = np.random.default_rng(seed)
    common, own = generator.normal(0.0004, 0.01, (count, 1)), generator.normal(0.0, 0.002, (count, 2))
    return pd.DataFrame(common + own + [edge, 0.0], index=sessions(count), columns=["a", "b"])


def test_returns_are_weights_times_returns_less_fees():
    returns = pd.DataFrame(0.01, index=sessions(4), columns=["a", "b"])
    weights = pd.DataFrame([[0.5, 0.5], [1.0, 0.0]], index=returns.index[[0, 2]], columns=["a", "b"])
    found = compare([Contender(name="book", weights=weights, returns=returns)])
    assert found.returns["book"].tolist() == pytest.approx([0.01 - FEE, 0.01, 0.01 - FEE, 0.01])
    assert found.standings[0].mean_gross == 1.0
    assert np.isnan(found.standings[0].turnover_per_year)
    assert "too short" in found.sentence()


def test_books_are_compared_on_the_sessions_they_share():
    long, short = market(200), market(150).set_axis(sessions(150, "2020-03-02"), axis=0)
    found = compare([contender("long", [0.5, 0.5], long), contender("short", [1.0, 0.0], short, first=20)])
    assert found.first == short.index[20]
    assert found.last == short.index[-1]
    assert found.sessions == len(long.index.intersection(short.index[20:]))
    assert (
        compare([contender("one", [0.5, 0.5], long), contender("other", [1.0, 0.0], market(9).shift(3000, "D"))])
        is None
    )


def test_books_on_returns_of_different_frequencies_are_not_compared():
    books = [contender(str(each), [0.5, 0.5], market(200), frequency=each) for each in (DAILY, MONTHLY)]
    with pytest.raises(
        ValueError, match=r"contenders: expected one frequency of returns, got \['12 months a year', '252 sess"
    ):
        compare(books)


@pytest.mark.parametrize(
    ("edge", "verdict", "said"),
    [
        (0.001, "better", "tilting helped"),
        (0.0, "open", "has not been shown to help"),
        (-0.001, "worse", "tilting hurt"),
    ],
)
def test_the_sentence_says_plainly_whether_tilting_helped(edge, verdict, said):
    returns = market(1000, edge)
    found = compare(
        [
            contender("book", [1.0, 0.0], returns, equal="equal", base="base"),
            contender("equal", [0.5, 0.5], returns),
            contender("base", [0.4, 0.6], returns),
        ]
    )
    book = found.books[0]
    assert book.equal.sharpe.verdict == book.tilt.sharpe.verdict == verdict
    assert said in found.sentence()
    assert found.sentence() == found.sentence(["book"])


def test_figures_are_those_of_the_core_and_deflation_doubts_more():
    returns = market(500)
    found = compare(
        [contender("book", [1.0, 0.0], returns, equal="equal", base="equal"), contender("equal", [0.5, 0.5], returns)]
    )
    book = found.books[0]
    assert book.tilt is None
    assert book.figures["sharpe"] == performance(found.returns["book"])["sharpe"][0]
    assert book.probabilistic == probabilistic_sharpe(sharpe_estimate(found.returns["book"]))
    assert book.deflated < book.probabilistic
    assert found.overfitting == of_returns(found.returns.to_numpy())
    assert book.sharpe.lower < book.sharpe.value < book.sharpe.upper
    swapped = compare(
        [contender("equal", [0.5, 0.5], returns), contender("book", [1.0, 0.0], returns, equal="equal", base="equal")]
    )
    assert swapped.books[0] == book


def test_what_never_moves_has_no_verdict():
    returns = pd.DataFrame(0.0, index=sessions(80), columns=["a", "b"])
    returns.loc[:, "b"] = market(80)["b"].to_numpy()
    found = compare(
        [contender("book", [0.0, 0.0], returns, equal="equal", base="equal"), contender("equal", [0.5, 0.5], returns)]
    )
    book = found.books[0]
    assert book.equal.sharpe.verdict == "unknown"
    assert np.isnan([book.probabilistic, book.deflated, book.sharpe.value]).all()
    assert "sharpe: zero_volatility" in book.nulls
    assert "a Sharpe ratio is undefined" in found.sentence()


# --- In a browser -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium on this machine")
def test_the_page_fits_a_screen_a_phone_and_paper(page, tmp_path):
    from playwright.sync_api import sync_playwright

    file = tmp_path / "report.html"
    file.write_text(page)
    quiet = ["no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic", "no-first-run", "disable-sync"]
    quiet += ["disable-background-networking", "disable-component-update"]
    said, asked = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=[f"--{flag}" for flag in quiet])
        tab = browser.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        for width in (1280, 360):
            tab.set_viewport_size({"width": width, "height": 800})
            tab.goto(file.as_uri())
            wide, inner = tab.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
            assert wide <= inner
            beyond = "e => e.getBoundingClientRect().right > innerWidth && !e.closest('.wide')"
            assert tab.evaluate(f"[...document.querySelectorAll('svg, td, th, p')].filter({beyond}).length") == 0
        printed = tab.pdf(prefer_css_page_size=True, print_background=True)
        browser.close()
    assert asked == [file.as_uri()] * 2
    assert said == []
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 11
