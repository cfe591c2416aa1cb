"""``weights alerts``: what operators were told, who has it, and whether anybody can be reached.

Scope: the command. Not here: what an alert is and where it waits (``alerts``), and its delivery (``alerts.delivery``).
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from weights_pipeline.cli import common

if TYPE_CHECKING:
    import datetime as dt

    from weights_pipeline.alerts import Alert
    from weights_pipeline.alerts.outbox import Contents

_LIMIT = 30


def add(commands: common.Commands) -> None:
    """Declare the command."""
    alerts = common.command(commands, "alerts", _list)
    alerts.add_argument("--limit", type=_count, default=_LIMIT, metavar="N", help=f"newest so many; default {_LIMIT}")
    within = alerts.add_subparsers(metavar="COMMAND")
    common.command(within, "test", _test, within=True)


def _list(options: argparse.Namespace) -> int:
    """List alerts, the newest first, and who has them."""
    from weights_pipeline.alerts import Outbox
    from weights_pipeline.cli import render

    settings = common.settings()
    contents = Outbox(settings.alerts).contents()
    newest = list(reversed(contents.alerts.values()))[: options.limit]
    rows = [_row(alert, at, contents) for alert, at in newest]
    if options.json:
        common.print_json(rows)
    elif not rows:
        render.say(f"No alerts in {settings.alerts}.")
    else:
        shown = [[row["at"][:16], row["severity"], row["book"], row["title"], row["state"]] for row in rows]
        render.table(shown, ["When (UTC)", "", "Book", "What", "State"])
    return 0


def _test(options: argparse.Namespace) -> int:
    """Send a test alert to every receiver; exit 1 when it did not arrive at one."""
    import datetime as dt
    import os
    import uuid

    from weights_pipeline.alerts import Alert, Severity
    from weights_pipeline.alerts.delivery import VARIABLE, receivers, try_out
    from weights_pipeline.alerts.message import message
    from weights_pipeline.cli import render

    settings = common.settings()
    alert = Alert(
        severity=Severity.NOTICE,
        book="all books",
        event=("test", uuid.uuid4().hex),
        title="this is a test",
        value="reached",
        limit="reached",
        advice="Nothing: alerts arrive here.",
        link=settings.ui,
    )
    outcomes = try_out(message([alert], dt.datetime.now(dt.UTC)), receivers(os.environ, settings.alerts))
    if options.json:
        common.print_json([{"receiver": name, "arrived": not reason, "reason": reason} for name, reason in outcomes])
    else:
        render.table([[name, "no" if reason else "yes", reason] for name, reason in outcomes], ["To", "Arrived", "Why"])
        if not os.environ.get(VARIABLE, "").split():
            render.say(f"{VARIABLE} names nobody: alerts go to {settings.alerts / 'alerts.log'}.")
    return common.FAILED if any(reason for _, reason in outcomes) else 0


def _row(alert: Alert, at: dt.datetime, contents: Contents) -> dict[str, Any]:
    """One alert with what became of it, in the types of JSON."""
    told = next((each.key for each in contents.messages.values() if alert.key in each.alerts), None)
    attempts = [found for (message, _), found in contents.attempts.items() if message == told]
    delivered = [found.name for found in attempts if found.outcome == "delivered"]
    state = [f"delivered to {', '.join(delivered)}"] if delivered else []
    state += [
        f"{found.name} {found.reason}: {found.outcome} after {found.failures} attempts"
        for found in attempts
        if found.outcome != "delivered"
    ]
    waits = "waits for the digest" if told is None else "waits to be delivered"
    content = {name: value for name, value in alert.content().items() if name != "event"}
    return {"at": at.isoformat(), "key": alert.key, **content, "state": "; ".join(state) or waits}


def _count(text: str) -> int:
    """Parse a number of alerts; argparse names this function when it cannot."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number
