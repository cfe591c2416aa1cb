"""An alert to try things with."""

import datetime as dt

from weights_pipeline.alerts import Alert, Severity

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
UI = "https://weights.example.com"


def alert(name: str = "hard_limits", severity: Severity = Severity.ERROR, run: str = "r1", **changes) -> Alert:
    given = {
        "severity": severity,
        "book": "calmar_core",
        "event": ("check", "target_weights", name, "2013-06-01", run),
        "title": f"check {name} failed",
        "value": "0.3",
        "limit": "0.2",
        "names": ("trend_long", "rsi2"),
        "advice": "Look at it.",
        "partition": "2013-06-01",
        "run_id": run,
        "link": f"{UI}/assets/calmar_core/target_weights",
    }
    return Alert(**given | changes)
