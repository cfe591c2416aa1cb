"""Alerts: what an operator is told of, in which words, and the queue it waits in until everybody has it.

Here belong the alert and its message (``message``), the durable queue (``outbox``) and what goes wrong by itself as
time passes (``deadlines``). Here does not belong who is told and how (``notify``), nor Dagster's events (``sensors``).
"""

from weights_pipeline.alerts.message import Alert, Message, Severity
from weights_pipeline.alerts.outbox import Outbox

__all__ = ["Alert", "Message", "Outbox", "Severity"]
