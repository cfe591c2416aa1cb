"""A desk's year in fast motion: days pass by being named, and after each every surface is asked for the one truth."""

from __future__ import annotations

import datetime as dt
import json
import signal
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import numpy as np
import pytest

from weights_pipeline.checks import book_checks
from weights_pipeline.checks.behind import Behind, behind
from weights_pipeline.checks.verified import Verified
from weights_pipeline.ledger import calendar_sessions
from weights_pipeline.live import LiveWeights
from weights_pipeline.orchestration import due
from weights_pipeline.orchestration.definitions import build_definitions, definitions
from weights_pipeline.report.facts import gather
from weights_pipeline.report.words import headline
from weights_pipeline_tests.support.commands import Result
from weights_pipeline_tests.support.desk import QUIET, Desk, clock_at, drawing

BOOK, LEDGER = "steady", "desk_ledger"
ZONE = ZoneInfo("America/New_York")
_WITH_A_CLOCK = ("show", "history", "decide")


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What every surface says.

    Attributes
    ----------
    version
        In force, and published.
    weights
        Its final weights.
    state
        Whether services go by the newest weights computed.
    course
        Whether the book goes on.
    told
        What is said of both in words.
    """

    version: int
    weights: Mapping[str, float]
    state: str
    course: str
    told: str


class Year:
    """The desk of one book, and the clock on its wall."""

    def __init__(self, desk: Desk, patch: pytest.MonkeyPatch) -> None:
        self.desk, self.now = desk, dt.datetime.min
        patch.setenv("WEIGHTS_DATA", str(desk.settings.data))
        patch.setenv("WEIGHTS_HOME", str(desk.settings.home))
        # Checks and comparison take most of a report's time, and are no part of what is in force.
        patch.setattr("weights_pipeline.report.facts.compare", lambda _: None)
        patch.setattr("weights_pipeline.report.facts._outcomes", lambda *_: ((), ()))
        year = self

        class Clock(dt.datetime):
            @classmethod
            def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
                return year.now.astimezone(tz)

        patch.setattr("weights_pipeline.orchestration.assets.live.run_instant", lambda *_: self.now)
        for command in _WITH_A_CLOCK:
            clock = types.SimpleNamespace(**vars(dt) | {"datetime": Clock})
            patch.setattr(f"weights_pipeline.cli.commands.{command}.dt", clock)

    # --- What happens ---

    def at(self, moment: str) -> None:
        """Set the clock, in the zone of the book."""
        self.now = dt.datetime.fromisoformat(moment).replace(tzinfo=ZONE)

    def deliver(self, strategies: Mapping[str, float], first: str, last: str) -> None:
        """Append lots of strategies to the ledger's file; of each, its mean result in percent is given."""
        days = calendar_sessions("XNYS", dt.date.fromisoformat(first), dt.date.fromisoformat(last))
        drawn = np.random.default_rng(days[0].toordinal())
        rows = [
            f"{strategy}-{day:%y%m%d},{strategy},{strategy[:3].upper()},long,40,{opened:%Y-%m-%d} 10:00,"
            f"{day:%Y-%m-%d} 15:30,100.0,{100 + 2.5 * drawn.normal(mean, 1):.2f},0.5"
            for strategy, mean in strategies.items()
            for opened, day in zip(days[::3], days[1::3], strict=False)
        ]
        with (self.desk.settings.data / "desk" / "lots.csv").open("a") as lots:
            lots.write("".join(f"{row}\n" for row in rows))

    def morning(self, day: str) -> None:
        """What the schedules of a day start: reading the ledger, then the rebalance where one is due."""
        self.reading(day)
        self.at(f"{day}T07:00")
        self.tick(f"{BOOK}_rebalance")

    def reading(self, day: str) -> None:
        """What the schedule of the ledger starts on a day."""
        self.at(f"{day}T05:30")
        self.tick(f"{LEDGER}_refresh")

    def tick(self, schedule: str) -> None:
        """Run what a schedule asks for now."""
        made = build_definitions(self.desk.workspace)
        own = made.resolve_schedule_def(schedule)
        context = dg.build_schedule_context(scheduled_execution_time=self.now, repository_def=made.get_repository_def())
        for request in own.evaluate_tick(context).run_requests or []:
            self.start(own.job_name, request)

    def due(self) -> list[str]:
        """Run what the sensor of due rebalances asks for until it asks for nothing more; what it has said."""
        said = list[str]()
        while found := [*due._next_of(self.desk.instance, self.desk.workspace.setups[BOOK], self.now)]:
            said += [each for each in found if isinstance(each, str)]
            for request in [each for each in found if isinstance(each, dg.RunRequest)]:
                said.append(f"{request.job_name} {request.partition_key or ''}".rstrip())
                self.start(str(request.job_name), request)
        return said

    def start(self, job: str, request: dg.RunRequest) -> None:
        """Run what was asked for, to its end."""
        edges = (request.tags.get(f"dagster/asset_partition_range_{edge}") for edge in ("start", "end"))
        self.job(job, *((request.partition_key,) if request.partition_key else edges))

    def job(self, name: str, first: str | None = None, last: str | None = None) -> None:
        """Run one job."""
        with clock_at(self.now.isoformat()):
            self.desk.job(name, first, last, checks=False)

    def killed(self, first: str, last: str) -> str:
        """A run over rebalances that is killed before its last table; which."""
        with pytest.MonkeyPatch.context() as patch:
            stop = "weights_pipeline.orchestration.assets.allocator.final_table"
            patch.setattr(stop, lambda *_, **__: signal.raise_signal(signal.SIGINT))
            run = self._executed(first, last)
        self.desk.instance.report_run_canceled(self.desk.instance.get_run_by_id(run.run_id))
        return run.run_id

    def executed_again(self, run: str) -> None:
        """The same run, from where it has failed."""
        tags = self.desk.instance.get_run_by_id(run).tags
        first, last = (tags[f"dagster/asset_partition_range_{edge}"] for edge in ("start", "end"))
        options = dg.ReexecutionOptions.from_failure(run, self.desk.instance)
        assert self._executed(first, last, reexecution_options=options).success

    def _executed(self, first: str, last: str, **options: Any) -> dg.ExecuteJobResult:
        job = dg.reconstructable(_book_job)
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        with clock_at(self.now.isoformat()), drawing(0):
            return dg.execute_job(job, self.desk.instance, run_config=QUIET, tags=tags, raise_on_error=False, **options)

    # --- What everybody is told ---

    def wrong(self) -> dict[str, str]:
        """What the checks of the book find wrong."""
        with self.desk.store.view():
            found = {check: check.run(self.desk.store) for check in book_checks(self.desk.workspace.setup(BOOK))}
        return {check.name: finding.summary for check, finding in found.items() if check.error and not finding.passed}

    def behind(self) -> Behind | None:
        """Versions that were made from another ledger than is stored."""
        return behind(self.desk.workspace.setup(BOOK), self.desk.store, Verified())

    def truth(self) -> Truth:
        """The one truth, once every surface was seen to tell it, or to say in words why it does not."""
        live = LiveWeights.from_json((self.desk.settings.home / "live" / f"{BOOK}.json").read_bytes())
        weights = dict(live.final)
        [known] = _json("as-of", "--effective", f"{self.now:%Y-%m-%d}", "--book", BOOK)
        assert (known["version"], _final(known["rows"])) == (live.version, weights)
        versions = {each["version"]: each for each in _json("history", "--book", BOOK, "--limit", "99")[BOOK]}
        assert versions[live.version]["rebalance"] == known["rebalance"]

        [shown] = _json("show", "--book", BOOK)
        [place], course = shown["published"], shown["course"]
        assert place["version"] == live.version
        if place["state"] != "other":
            assert _final(shown["rows"]) == weights
        told = [course["says"], "" if place["state"] == "in_force" else place["says"]]
        text = Result("show", "--book", BOOK).output
        [report] = gather(self.desk.workspace, [[BOOK]], now=self.now)[0].books
        assert {move.strategy: move.final for move in report.moves} == _final(shown["rows"])
        assert report.version.number == max(versions)
        for said in told:
            assert said in text
            assert said in headline(report)
        assert (report.course.state, report.published[0].says) == (course["state"], place["says"])

        if recorded := self.recorded("live_weights"):
            assert (recorded["version"], recorded["checksum"]) == (live.version, live.checksum)
        for strategy, weight in weights.items():
            answer = Result(*f"decide --book {BOOK} --strategy {strategy} --equity 1 --action enter --json".split())
            decided = json.loads(answer.output)
            if place["state"] in ("in_force", "other"):
                assert (decided["source"], decided["version"]) == ("live", live.version)
                assert decided["allocation"] == weight
            else:
                assert (decided["source"], decided["decision"]) == ("base", "REJECT")
        return Truth(
            version=live.version,
            weights=weights,
            state=place["state"],
            course=course["state"],
            told=" ".join(filter(None, told)),
        )

    def recorded(self, asset: str) -> Mapping[str, Any]:
        """What Dagster shows of the newest materialisation of an asset of the book; nothing where there is none."""
        event = self.desk.instance.get_latest_materialization_event(dg.AssetKey([BOOK, asset]))
        made = event.asset_materialization if event else None
        return {name: value.value for name, value in made.metadata.items()} if made else {}


def _book_job() -> dg.JobDefinition:
    """The job of the book as the daemon loads it, without checks."""
    job = definitions().resolve_job_def(BOOK)
    return job.get_subset(asset_selection=set(job.asset_layer.executable_asset_keys), asset_check_selection=set())


def _json(*arguments: str) -> Any:
    result = Result(*arguments, "--json")
    assert result.exit_code == 0, result.output + result.errors
    return json.loads(result.output)


def _final(rows: list[Mapping[str, Any]]) -> dict[str, float]:
    return {row["strategy"]: row["final"] for row in rows}
