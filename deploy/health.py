#!/usr/bin/env python3
"""Health of a deployed stage: exit 0 when all of it is well, 1 when something is not, and says what.

Asks the webserver, so that a well answer means that webserver, code server, daemon and Postgres all work. Needs nothing
but the standard library, and starts in no time. An argument is an instant (seconds since 1970) that heartbeats of the
daemon must be later than: Dagster itself calls a daemon healthy for half an hour after its last one.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

_QUESTION = """
{
  workspaceOrError {
    __typename
    ... on Workspace { locationEntries { name loadStatus locationOrLoadError { __typename } } }
  }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy lastHeartbeatTime } } }
}
"""
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to listen on, and where they answer
_HEARTBEAT_SECONDS = 120.0
_TIMEOUT_SECONDS = 10.0


def main() -> int:
    """Print what is not well, if anything, and give the exit code."""
    host, port = os.environ.get("WEIGHTS_UI_HOST", "127.0.0.1"), int(os.environ.get("WEIGHTS_UI_PORT", "3000"))
    since = float(sys.argv[1]) if len(sys.argv) > 1 else time.time() - _HEARTBEAT_SECONDS
    try:
        problems = list(_problems(_answer(_EVERYWHERE.get(host, host), port), since))
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        problems = [f"webserver on port {port}: no answer ({type(error).__name__})"]
    sys.stdout.write("\n".join(problems or ["healthy"]) + "\n")
    return 1 if problems else 0


def _answer(host: str, port: int) -> dict[str, Any]:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    try:
        body, headers = json.dumps({"query": _QUESTION}), {"Content-Type": "application/json"} | _login(os.environ)
        connection.request("POST", "/graphql", body, headers)
        data: dict[str, Any] = json.loads(connection.getresponse().read())["data"]
        return data
    finally:
        connection.close()


def _login(environment: Mapping[str, str]) -> dict[str, str]:
    """What the interface wants to see: a token, or the header that a proxy on this machine would set."""
    token = environment.get("WEIGHTS_UI_READ_TOKEN") or environment.get("WEIGHTS_UI_TOKEN")
    header = environment.get("WEIGHTS_UI_USER_HEADER")
    return ({"Authorization": f"Bearer {token}"} if token else {}) | ({header: "health"} if header else {})


def _problems(data: dict[str, Any], since: float) -> Iterator[str]:
    locations = data["workspaceOrError"].get("locationEntries") or []
    if not locations:
        yield "webserver: no code location"
    for each in locations:
        loaded = (each["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation"
        if each["loadStatus"] != "LOADED" or not loaded:
            yield f"code location {each['name']}: not loaded"
    for each in data["instance"]["daemonHealth"]["allDaemonStatuses"]:
        if not each["required"]:
            continue
        if not each["healthy"]:
            yield f"daemon {each['daemonType']}: reports errors, or nothing"
        elif (each["lastHeartbeatTime"] or 0) < since:
            yield f"daemon {each['daemonType']}: no heartbeat"


if __name__ == "__main__":
    sys.exit(main())
