"""Alerts: what an operator is told of, in which words, and the queue it waits in until everybody has it.

Scope: the alert and its message (``message``), the durable queue (``outbox``), what goes wrong by itself as time passes
(``deadlines``), and delivery (``delivery``). Not here: Dagster's events (``orchestration.sensors``).
"""

from weights_pipeline.alerts.message import Alert, Message, Severity
from weights_pipeline.alerts.outbox import Outbox

__all__ = ["Alert", "Message", "Outbox", "Severity"]
