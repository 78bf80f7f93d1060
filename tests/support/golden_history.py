"""Makes the golden files of a format version: `uv run python tests/support/golden_history.py FOLDER`.

The files hold a recording and a day of 26 demo machines, and the contents in JSON. Made once per version and read by
every later envwatch; see `tests/history/test_golden.py`.
"""

from __future__ import annotations

import gzip
import json
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.builders import counts_of, key_of, with_pages
from support.lives import SimulatedServer, clocks

from envwatch.alerts.alert_policy import AlertPolicy, Word
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.recurring_hours import RecurringHours
from envwatch.alerts.silences import recurring_silences, silence_of_query
from envwatch.alerts.uptime_record import UptimeRecord
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.tracking import EVERYTHING, Matcher
from envwatch.fleet.uptime import Uptime, share_text
from envwatch.history.encoding.frames import FORMAT_VERSION
from envwatch.history.past import About, Moment, events_of
from envwatch.history.recording import RecordingWriter
from envwatch.history.stored import Retention, day_paths
from envwatch.history.writer import FolderWriter
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, PollResult, Slept
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from envwatch.alerts.acknowledgements import ServerKey
    from envwatch.fleet.events import Event
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.history.past import Past
    from envwatch.model.outcome import Listed, Outcome

ALWAYS = (WallMs(float("-inf")), WallMs(float("inf")))
ABOUT = About(profile=clean("golden"), base_url=clean("https://letta.example"), version=clean("1"))
_EVERY = 10_000


class _Step:
    def __init__(self, run: int, moment: Moment, outcome: Outcome, events: Sequence[Event]) -> None:
        self.run, self.moment, self.events = run, moment, events
        self.result = PollResult.from_outcome(outcome)


def main(folder: Path) -> None:
    steps = [*_steps()]
    name = f"version-{FORMAT_VERSION}"
    for old in folder.glob(f"{name}.*"):
        old.unlink()
    with closing(RecordingWriter(folder / f"{name}.recording", ABOUT)) as writer:
        for run, step in zip([0, *(step.run for step in steps)], steps, strict=False):
            if step.run != run:
                writer.start_run()
            writer.write(step.moment, step.result, step.events)
    with TemporaryDirectory() as history:
        for run in (0, 1):
            day = FolderWriter(Path(history), Retention())
            assert day.take()
            for step in steps:
                if step.run == run:
                    day.write(step.moment, step.result, step.events)
            day.close()
        (path,) = day_paths(Path(history))
        (folder / f"{name}.sqlite.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    held = held_by([step.moment for step in steps], [event for step in steps for event in step.events])
    lines = {
        part: ",\n".join(json.dumps(each, ensure_ascii=False) for each in each_of) for part, each_of in held.items()
    }
    parts = ",\n".join(f'"{part}": [\n{each_of}\n]' for part, each_of in lines.items())
    (folder / f"{name}.json").write_text(f"{{{parts}}}\n", encoding="utf-8")


def held_by_past(past: Past) -> dict[str, Any]:
    polls = past.polls(*ALWAYS)
    return held_by([*map(past.moment, polls)], events_of(past.steps(*ALWAYS)))


def held_by(moments: Sequence[Moment], events: Sequence[Event]) -> dict[str, Any]:
    """Return moments and events in JSON, with names independent of the code's names."""
    held = {
        "moments": [_moment(moment) for moment in moments],
        "alerts": [_alerts_text(moment) for moment in moments],
        "last alerts": _alerts(moments[-1]),
        "rows": [_row(tracked) for tracked in moments[-1].profile_state.environments.values()][:5],
        "events": [_event(event) for event in events],
    }
    again: dict[str, Any] = json.loads(json.dumps(held))
    return again


def _moment(moment: Moment) -> str:
    profile_state = moment.profile_state
    counts = " ".join(f"{count} {presence}" for presence, count in sorted(counts_of(profile_state).items()))
    rows = json.dumps([_row(tracked) for tracked in profile_state.environments.values()], ensure_ascii=False)
    rest = (
        f"{len(moment.acks)} acks",
        f"{profile_state.listings} listings",
        f"{profile_state.freshness(moment.now)}",
        f"held {profile_state.quarantine.finding.text}" if profile_state.quarantine else "",
        f"{profile_state.failures} failures, {profile_state.failure.cause}: {profile_state.failure.message}"
        if profile_state.failure
        else "",
        f"{profile_state.clock.offset:.6f} ms ahead",
        sha256(rows.encode()).hexdigest()[:16],
    )
    return f"{moment.now.wall:.4f} {moment.now.monotonic:.6f}: {counts}; {'; '.join(filter(None, rest))}"


def _alerts_text(moment: Moment) -> str:
    """Return the numbers and a hash of a moment's alerts."""
    alerts = moment.alerts
    counted = sum(decision.counts for decision in alerts.decisions.values())
    numbers = f"{counted} of {len(alerts.decisions)} count, {len(alerts.silences)} silences"
    losses = f"{len(alerts.waiting)} waiting, {len(alerts.open)} open"
    return f"{numbers}, {losses}; {sha256(json.dumps(_alerts(moment)).encode()).hexdigest()[:16]}"


def _alerts(moment: Moment) -> list[Any]:
    alerts = moment.alerts
    silences = [
        (each.id, each.at, each.until, each.note, each.by, each.matcher and each.matcher.query, each.ends)
        for each in alerts.silences
    ]
    covered = [
        (sorted(each.environments), each.hours and str(each.hours), each.zone and str(each.zone))
        for each in alerts.silences
    ]
    waiting = [(_event(event), times, *rest) for event, times, *rest in alerts.waiting]
    opened = [
        (each.id, each.began_at, each.noticed_at, each.is_storm, each.shared, each.silenced, sorted(each.remaining))
        for each in alerts.open
    ]
    losses = [[_event(loss) for loss in each.losses] for each in alerts.open]
    rows = [
        (id_, decision.counts, decision.rule, decision.word, share_text(uptime.share or 0.0), uptime.is_known)
        for (id_, decision), uptime in zip(alerts.decisions.items(), alerts.uptimes.values(), strict=False)
    ]
    return [rows, silences, covered, waiting, opened, losses]


def _row(tracked: TrackedEnvironment) -> list[Any]:
    row, check = tracked.environment, tracked.skew_check
    environment: list[list[Any]] = [
        [row.id, row.name, row.device_id, row.organization_id, row.first_seen_at, row.last_seen_at, row.connection_id],
        [row.connected_at, row.last_heartbeat_at, row.pod_id, row.listener_instance_id, row.api_key_owner],
        [row.user_id, row.mode, row.metadata, row.unknown],
    ]
    change = tracked.last_change
    state: list[list[Any]] = [
        [*tracked.verdict, tracked.since_at, None if change is None else [change.tag, change.at], [*map(repr, check)]],
        [tracked.clock_suspect, tracked.has_impossible_time, tracked.left_pod_id, tracked.absent, tracked.transitions],
        [tracked.is_flapping, None if tracked.last_known_heartbeat is None else [*tracked.last_known_heartbeat]],
    ]
    return [each for part in (*environment, *state) for each in part]


def _event(event: Event) -> list[Any]:
    lasted = None if event.lasted is None else event.lasted / timedelta(milliseconds=1)
    then = None if event.then is None else [event.then.environment.version, *event.then.verdict, event.then.is_flapping]
    texts = [event.id, event.name, event.field, event.before, event.after, event.reason, event.incident]
    return [event.kind, event.at, *texts, lasted, event.since, event.of, then, [_event(each) for each in event.members]]


def _steps() -> Iterator[_Step]:
    server = SimulatedServer(60)
    at = server.opened_at
    hours = recurring_silences([(EVERYTHING, RecurringHours(begin=9 * 60, end=10 * 60))], UTC)
    expected = (clean("sandbox that never was"),)
    policy = AlertPolicy(expect=expected, alert_after=timedelta(seconds=20), recurring=hours)
    for run in (0, 1):
        monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: policy}, profile_name=clean("golden"))
        monitor = monitor.with_uptime_record(NO_PROFILE, UptimeRecord())
        for number, (ms, outcome_at) in enumerate(_STORIES[run]):
            at += ms
            outcome: Outcome = outcome_at(server, at)
            now = outcome.awake if isinstance(outcome, Slept) else outcome.ended
            if number == 20:
                monitor = monitor.with_acks(_acks(monitor, at))
            if number in {5, 35}:
                monitor = _with_marks(monitor, WallMs(at), is_end=number == 35)
            monitor, changes = monitor.apply(NO_PROFILE, outcome, now)
            moment = Moment.of(monitor, NO_PROFILE, now)
            yield _Step(run, moment, outcome, changes.events)
        at += 600_000


def _acks(monitor: Monitor, at: float) -> dict[ServerKey, Ack | None]:
    profile_state = monitor.fleet.by_profile[NO_PROFILE]
    down = [id_ for id_, tracked in profile_state.environments.items() if tracked.is_unhealthy]
    return {key_of(down[0]): Ack(at, clean("known, being repaired"), at - 5_000)}


def _with_marks(monitor: Monitor, at: WallMs, *, is_end: bool) -> Monitor:
    """Return the monitor with a person's decision and silence, or with the end of a silence's hours."""
    if is_end:
        ended = monitor.policies[NO_PROFILE].recurring[0].ended(WallMs(at + 60_000), clean("ann"))
        return monitor.with_silences({ended.id: ended})
    every_third = Matcher(clean("name:*3"), lambda tracked, _: tracked.environment.id.endswith("3"))
    silence = silence_of_query(every_third, at, timedelta(minutes=4), clean("disks"), clean("ben"))
    first, *rest = monitor.fleet.by_profile[NO_PROFILE].environments
    uptimes = {id_: Uptime(up=5e8 - place * 5e6, watched=5e8) for place, id_ in enumerate(rest)}
    monitor = monitor.with_uptime_record(NO_PROFILE, UptimeRecord(rows=uptimes, has_begun=True))
    word = Word(is_always=False, at=at, by=clean("ann"))
    return monitor.with_silences({silence.id: silence}).with_words({key_of(first): word}, clocks(at))[0]


def _listed(server: SimulatedServer, at: float) -> Listed:
    """Return a listing in which one machine comes and goes, and another one's listener is restarted."""
    outcome = server.listing(at)
    (page,) = outcome.snapshot.pages
    rows = [*page.environments]
    poll = int(at - server.opened_at) // _EVERY
    places = [place for place, row in enumerate(rows) if row.connection_id][:2]
    for place, row in [(place, rows[place]) for place in places]:
        if place == places[0]:
            is_away = poll % 4 in {2, 3}
            rows[place] = replace(row, connection_id=None, last_heartbeat_at=None) if is_away else row
        else:
            start = poll // 20
            rows[place] = replace(
                row, connection_id=clean(f"link-{start}"), listener_instance_id=clean(f"listener-{start}")
            )
    return with_pages(outcome, replace(page, environments=rows))


def _emptied(server: SimulatedServer, at: float) -> Listed:
    outcome = server.listing(at)
    return with_pages(outcome)


def _with_unread_rows(server: SimulatedServer, at: float) -> Listed:
    outcome = server.listing(at)
    (page,) = outcome.snapshot.pages
    rows = page.environments
    ids = frozenset(row.id for row in rows[:2])
    return with_pages(outcome, replace(page, environments=rows[2:]), rejected=2, rejected_ids=ids)


def _with_unknown_fields(server: SimulatedServer, at: float) -> Listed:
    outcome = server.listing(at)
    (page,) = outcome.snapshot.pages
    rows = [replace(row, unknown={"region": "eu", "load": [1, 0.5, None]}) for row in page.environments]
    return with_pages(outcome, replace(page, environments=rows))


def _with_wrong_date(server: SimulatedServer, at: float) -> Listed:
    outcome = server.listing(at)
    bounds = tuple(each._replace(low=each.low + 4e6, high=each.high + 4e6) for each in outcome.snapshot.clock)
    return outcome._replace(snapshot=outcome.snapshot._replace(clock=bounds))


def _timed_out(_: SimulatedServer, at: float) -> Failed:
    return _failed(Cause.TIMEOUT, "no answer within 10 s", at)


def _refused(_: SimulatedServer, at: float) -> Failed:
    return _failed(Cause.UNAUTHORIZED, "HTTP 401: Unauthorized", at)


def _failed(cause: Cause, message: str, at: float) -> Failed:
    started, ended = clocks(at), clocks(at + 900.5)
    interval = timedelta(milliseconds=_EVERY)
    return Failed(cause=cause, message=clean(message), started=started, ended=ended, interval=interval, page=1)


def _slept(_: SimulatedServer, at: float) -> Slept:
    return Slept(clocks(at - 600_000), clocks(at)._replace(monotonic=clocks(at - 599_000).monotonic))


_STORIES: list[list[tuple[int, Callable[[SimulatedServer, float], Outcome]]]] = [
    [
        *[(_EVERY, _listed)] * 40,
        *[(_EVERY, _timed_out)] * 8,
        *[(_EVERY, _listed)] * 4,
        *[(_EVERY, _with_unread_rows)] * 2,
        *[(_EVERY, _emptied)] * 3,
        *[(_EVERY, _listed)] * 3,
    ],
    [
        *[(_EVERY, _listed)] * 5,
        *[(_EVERY, _with_wrong_date)] * 3,
        *[(_EVERY, _listed)] * 3,
        *[(_EVERY, _refused)] * 3,
        (700_000, _slept),
        *[(_EVERY, _with_unknown_fields)] * 4,
        *[(_EVERY, _listed)] * 3,
    ],
]
"""Each poll's outcome, and milliseconds since the previous poll."""

if __name__ == "__main__":
    main(Path(sys.argv[1]))
