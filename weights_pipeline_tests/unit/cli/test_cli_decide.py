"""``weights decide``: what it answers from published weights, and its exit codes."""

import contextlib
import datetime as dt
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.support.data import edit_yaml
from weights_pipeline.books.load import load_book
from weights_pipeline.cli import app
from weights_pipeline.live import LiveWeights, SigningKey, publish
from weights_pipeline.live.signing import KEYS, new_secret

BOOKS = Path(__file__).resolve().parents[3] / "data" / "books"
BOOK = load_book(BOOKS / "calmar_core.yaml")
TODAY = dt.datetime.now(dt.UTC).date()


def document(age=0):
    """Weights in force for some days, of half the book's base weights, and none for one strategy."""
    final = {name: 0.0 if name == "rsi2" else weight / 2 for name, weight in BOOK.strategies.items()}
    effective_from = TODAY - dt.timedelta(days=age)
    return LiveWeights(
        book=BOOK.name,
        account=BOOK.account,
        version=7,
        effective_from=effective_from,
        as_of=effective_from - dt.timedelta(days=1),
        recorded_at=dt.datetime.now(dt.UTC),
        reason="scheduled",
        run_id="run-1",
        max_age=BOOK.max_age,
        gross=BOOK.gross,
        base=BOOK.strategies,
        target=BOOK.strategies,
        realized=BOOK.strategies,
        final=final,
        regime="STRESS",
        scalar=0.5,
        parameters_hash="p",
        ledger_hash="l",
        code_version="0.1.0",
    )


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A data folder with one book, and a home with nothing in it yet."""
    (tmp_path / "data" / "books").mkdir(parents=True)
    shutil.copy(BOOKS / "calmar_core.yaml", tmp_path / "data" / "books")
    monkeypatch.setenv("WEIGHTS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WEIGHTS_HOME", str(tmp_path / "home"))
    return tmp_path


def weights(*arguments):
    """Exit code, output and errors of the command, for an entry of one strategy unless said otherwise."""
    given = {"--book": "calmar_core", "--strategy": "trend_long", "--equity": "100000", "--action": "enter"}
    words = [word for option, value in given.items() if option not in arguments for word in (option, value)]
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as end:
        app.main(["decide", *words, *arguments])
    return end.value.code, output.getvalue(), errors.getvalue()


def answer(*arguments):
    code, output, errors = weights("--json", *arguments)
    assert errors == ""
    return code, json.loads(output)


def test_an_entry_on_published_weights_is_approved(desk):
    publish(document(), desk / "home" / "live")
    code, said = answer()
    assert code == 0
    assert said.pop("decided_at").endswith("+00:00")
    assert said == {
        "decision": "APPROVE",
        "book": "calmar_core",
        "strategy": "trend_long",
        "action": "enter",
        "allocation": 0.05,
        "capital": 5000.0,
        "margin": 5000.0,
        "reason": "5.00% of equity allocated, 0.00% in use",
        "source": "live",
        "version": 7,
        "effective_from": str(TODAY),
        "weights": f"version 7 (scheduled), in force from {TODAY}",
    }
    code, output, _ = weights()
    assert code == 0
    assert output.splitlines() == [
        "APPROVE enter trend_long of calmar_core: 5.00% of equity allocated, 0.00% in use.",
        "Allocation 5.00% of equity, capital 5,000.00, margin 5,000.00.",
        f"Weights: live, version 7 (scheduled), in force from {TODAY}.",
    ]


def test_leverage_of_a_volatility_target_is_allowed_by_the_book_that_asks_for_it(desk):
    levered = {name: 1.4 * weight for name, weight in BOOK.strategies.items()}
    publish(replace(document(), gross=1.5, final=levered), desk / "home" / "live")
    code, said = answer()
    assert (code, said["source"]) == (4, "base")
    assert "allows 1.5 of equity, expected at most 1" in said["weights"]
    overlay = {"enabled": True, "volatility_target": {"target": 0.1, "cap": 1.5}}
    edit_yaml(desk / "data" / "books" / "calmar_core.yaml", overlay=overlay)
    code, said = answer()
    assert (code, said["source"], said["allocation"]) == (0, "live", pytest.approx(0.14))
    assert said["margin"] == pytest.approx(said["capital"] / 1.5)


def test_weights_are_only_those_that_a_key_of_the_environment_has_signed(desk, monkeypatch):
    key = SigningKey(new_secret())
    monkeypatch.setenv(KEYS, key.public)
    publish(document(), desk / "home" / "live")
    code, said = answer()
    assert (code, said["source"]) == (4, "base")
    assert f"the document is not signed, expected a signature by key {key.key_id}" in said["weights"]
    publish(document(), desk / "home" / "live", key)
    assert (answer()[0], answer()[1]["source"]) == (0, "live")
    monkeypatch.setenv(KEYS, "CANARY")
    code, _, errors = weights()
    assert code == 2
    assert f"{KEYS}: expected ed25519-public:" in errors
    assert "CANARY" not in errors
    assert weights("--action", "exit")[0] == 0, "nothing stands in the way of an exit"


def test_what_is_in_use_counts_and_repeated_strategies_add_up(desk):
    publish(document(), desk / "elsewhere")
    used = ["--in-use", "trend_long=0.01", "trend_long=0.015", "--in-use", "gone=away=0.97"]
    code, said = answer("--live", str(desk / "elsewhere"), *used)
    assert (code, said["allocation"]) == (0, pytest.approx(0.005))
    assert "cut by the leverage limit: 99.50% of 100.00% in use" in said["reason"]


@pytest.mark.parametrize(
    ("age", "arguments", "reason"),
    [
        (0, ["--strategy", "rsi2"], "0% allocation"),
        (0, ["--strategy", "nonsense"], "unknown strategy: 'nonsense' is not in book calmar_core"),
        (0, ["--in-use", "other=1"], "leverage full: 100.00% of equity in use"),
        (0, ["--in-use", "other=nan"], "in_use: expected fractions of equity"),
        (0, ["--action", "increase", "--in-use", "trend_long=0.05"], "allocation used up"),
        (0, ["--equity", "-5"], "equity: expected a positive amount of money, got -5.0"),
        (60, [], "base weights stand in and open nothing new: version 7 is stale"),
        (None, [], "base weights stand in and open nothing new: "),
    ],
)
def test_a_rejection_has_an_exit_code_of_its_own(desk, age, arguments, reason):
    if age is not None:
        publish(document(age), desk / "home" / "live")
    code, said = answer(*arguments)
    assert (code, said["decision"], said["capital"]) == (4, "REJECT", 0.0)
    assert reason in said["reason"]
    assert (said["source"], said["version"]) == (("live", 7) if age == 0 else ("base", None))


def test_corrupt_weights_are_named(desk):
    publish(document(), desk / "home" / "live")
    file = desk / "home" / "live" / "calmar_core.json"
    file.write_bytes(file.read_bytes()[:-40])
    code, output, _ = weights()
    assert code == 4
    assert output.startswith("REJECT enter trend_long of calmar_core: base weights stand in and open nothing new: ")
    assert "not a document of live weights" in output


@pytest.mark.parametrize("action", ["exit", "reduce"])
def test_a_position_can_be_closed_whatever_is_broken(desk, monkeypatch, action):
    (desk / "data" / "books" / "calmar_core.yaml").write_text("name: [")
    monkeypatch.setenv("WEIGHTS_LOCK_TIMEOUT", "soon")
    code, said = answer(
        "--action", action, "--equity", "nan", "--book", "gone", "--strategy", "gone", "--live", "gs://x"
    )
    assert (code, said["decision"], said["capital"]) == (0, "APPROVE", 0.0)
    assert said["reason"] == "exits and reductions are always approved"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--book", "nonsense"], "unknown book 'nonsense'; there are calmar_core"),
        (["--live", "gs://bucket"], "--live: target: expected a folder or one of s3://, got 'gs://bucket'"),
        (["--action", "buy"], "invalid choice: 'buy'"),
        (["--equity", "much"], "invalid float value: 'much'"),
        (["--in-use", "0.2"], "expected STRATEGY=FRACTION such as trend=0.2, got '0.2'"),
        (["--in-use", "trend_long=much"], "expected a fraction of equity such as 0.2, got 'much'"),
    ],
)
def test_what_is_no_question_gets_no_answer(desk, arguments, message):
    code, output, errors = weights(*arguments)
    assert (code, output) == (2, "")
    assert message in errors
