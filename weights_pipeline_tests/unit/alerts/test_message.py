"""What an alert says: the message, its key, and names from outside in it."""

import json
from dataclasses import replace

import pytest
from markdown import markdown

from weights_pipeline.alerts import Alert, Severity
from weights_pipeline.alerts.message import message, plain
from weights_pipeline_tests.support.alerts import NOW, UI, alert


def test_a_message_says_what_where_how_much_who_what_to_do_and_where_to_look():
    told = message([alert()], NOW)
    assert told.title == "ERROR: calmar_core: check hard_limits failed"
    for part in ("2013-06-01", "0.3", "limit: 0.2", "trend_long, rsi2", "Look at it.", "r1", UI, alert().key, told.key):
        assert part in told.text, part


def test_the_key_is_that_of_the_event_and_of_nothing_else():
    assert alert().key == alert(value="0.4", names=(), advice="", severity=Severity.WARN).key
    others = [alert("at_bound"), alert(run="r2"), alert(book="sharpe_weekly")]
    assert len({each.key for each in [alert(), *others]}) == 4
    assert Alert.from_content(json.loads(json.dumps(alert().content()))) == alert()


def test_alerts_of_one_severity_are_one_message_whatever_their_order():
    found = [alert(f"check_{number}") for number in range(30)] + [
        alert(event=("run", "failed", "r1"), title="run failed")
    ]
    told = message(found, NOW)
    assert told == replace(message(found[::-1], NOW), alerts=told.alerts)
    assert told.title == "ERROR: calmar_core: 31 alerts"
    assert told.text.startswith("**calmar_core · 2013-06-01: run failed**")
    assert told.text.count("check check_") == 30
    with pytest.raises(ValueError, match="one severity"):
        message([alert(), alert(severity=Severity.WARN)], NOW)


HOSTILE = (
    "[click](http://evil.example) <img src=x onerror=alert(1)> <!channel> @everyone **b** _i_ `c` | # h\n"
    "- x\x1b[2J\u202e ![p](http://evil.example/p.png) <http://evil.example>"
)


def test_names_from_outside_cannot_act():
    text = message([alert(names=(HOSTILE,), title=HOSTILE, detail=HOSTILE, value=HOSTILE, advice=HOSTILE)], NOW).text
    html = markdown(text, extensions=["markdown.extensions.nl2br", "markdown.extensions.tables"])
    assert html.count("<a ") == 1
    assert UI in html
    for acts in ("<img", "<em>", "<code>", "<h1", "<table", "<del", "@everyone", "\x1b", "\u202e", "<!"):
        assert acts not in html, acts
    assert all(line.isprintable() for line in text.splitlines())
    assert not [word for word in text.replace(UI, "").split() if "://" in word]


def test_ordinary_names_stay_as_they_are():
    assert plain("trend_long: +3.5% (cap), 2013-06-01") == "trend_long: +3.5% (cap), 2013-06-01"
    assert plain("_i_") == "＿i＿"
    assert len(plain("x" * 5000)) == 600


def test_many_names_are_counted():
    assert "and 88 more" in message([alert(names=tuple(f"s{n}" for n in range(100)))], NOW).text
