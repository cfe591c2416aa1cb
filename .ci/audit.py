#!/usr/bin/env python3
"""Known vulnerabilities of everything that constraints.txt pins, of any platform: `make audit`.

Exit code 0: all of it was looked up, and nothing is known. 1: something is known. 2: it could not be looked up, or not
all of it. pip-audit by itself calls the last case "no known vulnerabilities", with exit code 0.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")
PIP_AUDIT = "pip-audit>=2.9,<3"
SERVICES = {"pypi": "pypi.org", "osv": "api.osv.dev"}
_SHOWN = 6


def main() -> int:
    """Ask one service after another until one knows all packages."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    problems = []
    for service, host in SERVICES.items():
        found, problem = ask(service, pins)
        known = [each for each in found if each.get("vulns")]
        missed = [each["name"] for each in found if "skip_reason" in each]
        if known:
            say(*(line for each in known for line in described(each)))
            say(f"audit: {len(known)} of {len(found)} packages have known vulnerabilities (asked {host})")
            return 1
        if found and not missed:
            say(f"audit: {len(found)} packages, no known vulnerabilities (asked {host})")
            return 0
        if missed:
            more = f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
            problem = f"does not know {len(missed)} of {len(found)} packages: {', '.join(missed[:_SHOWN])}{more}"
        problems.append(f"  {host}: {problem}")
    say("audit: NOT DONE: no service could be asked about all packages, so nothing is known of them.", *problems)
    say("Run `make audit` where https://pypi.org or https://api.osv.dev can be reached.")
    return 2


def ask(service: str, pins: str) -> tuple[list[dict[str, Any]], str]:
    """What pip-audit says of each package, or why it says nothing."""
    answers: list[dict[str, Any]] = []
    for part in rounds(pins):
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            file.write("\n".join(part) + "\n")
            file.flush()
            command = [UV, "tool", "run", "-q", "--from", PIP_AUDIT, "pip-audit", "-r", file.name, "-s", service]
            options = ["--no-deps", "--disable-pip", "-f", "json", "--progress-spinner", "off", "--timeout", "15"]
            answer = subprocess.run([*command, *options], capture_output=True, text=True, check=False)  # noqa: S603
        try:
            answers += json.loads(answer.stdout)["dependencies"]
        except (ValueError, KeyError):
            lines = answer.stderr.strip().splitlines() or [f"pip-audit ended with {answer.returncode}"]
            return [], f"could not be asked: {lines[-1][:200]}"
    return answers, ""


def rounds(pins: str) -> list[list[str]]:
    """Pins without their markers, in as many rounds as a package has versions for different platforms."""
    versions: dict[str, list[str]] = {}
    for line in pins.splitlines():
        pin = line.partition(";")[0].strip()
        if re.match(r"[A-Za-z0-9]", pin):
            versions.setdefault(pin.partition("==")[0], []).append(pin)
    most = max(map(len, versions.values()), default=0)
    return [[each[n] for each in versions.values() if n < len(each)] for n in range(most)]


def described(package: dict[str, Any]) -> list[str]:
    """A line for each vulnerability of a package."""
    return [
        f"{package['name']} {package['version']}: {each['id']}"
        f"{' (' + ', '.join(each['aliases']) + ')' if each.get('aliases') else ''}, "
        f"fixed in {', '.join(each['fix_versions']) or 'no version yet'}"
        for each in package["vulns"]
    ]


def say(*lines: str) -> None:
    """Print lines."""
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
