"""Costs of writing a history: bytes and time of a poll, in memory and on a disk, and the time to rebuild moments."""

from __future__ import annotations

import time
import zlib
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from findings import Finding, in_turn
from fleets import decoded, pages_of
from support.builders import NOW
from support.lives import simulated_life
from support.recording import ALWAYS, PATIENCE_S

from envwatch.alerts.monitor import Monitor
from envwatch.demo.fleet import DemoFleet
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.history.encoding.events import EventEncoder
from envwatch.history.encoding.frames import FrameEncoder, FrameKind, MomentBuilder
from envwatch.history.past import Moment
from envwatch.history.recorder import HistoryRecorder
from envwatch.history.stored import Retention, StoredPast, size_of
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.model.outcome import PollResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envwatch.alerts.monitor import MonitorChanges
    from envwatch.history.encoding.frames import Frame


_HOUR = 720
"""Polls every 5 s; one more begins the next hour."""


def frames() -> list[Finding]:
    """Measure bytes and CPU a poll, over an hour of 1,000 rows."""
    encoder, event_encoder = FrameEncoder(), EventEncoder()
    sizes: list[int] = []
    event_sizes: list[int] = []
    first: list[Moment] = []
    for moment, _, changes in simulated_life(1_000, _HOUR):
        first = [*first, moment][:60]
        sizes.append(len(encoder.encode(moment).data))
        numbered = enumerate(changes.events, len(event_sizes))
        event_sizes += [len(event_encoder.encode(event, number)) for number, event in numbered]
    body = b"".join(pages_of(DemoFleet(1_000, int(NOW)).rows(int(NOW))))
    (spent,) = in_turn(partial(_encoded, first))
    return [
        Finding(
            what="bytes a poll of 1,000 rows, an hour of the demo's life at 5 s, whole moments included",
            measured=sum(sizes) / len(sizes),
            unit="B",
            reference=len(zlib.compress(body, 6)),
            against=f"one listing by zlib, from {len(body) / 1e3:,.0f} kB of JSON",
        ),
        Finding(
            what="bytes of the events of a poll, in the first hour of a day file",
            measured=sum(event_sizes) / len(sizes),
            unit="B",
            reference=len(event_sizes) / len(sizes),
            against="events a poll",
        ),
        Finding(
            what="encode a poll of 1,000 rows, of one whole moment and 59 polls (CPU)",
            measured=spent / len(first),
            unit="ms",
            reference=in_turn(partial(decoded, pages_of(_rows(1_000))))[0],
            against="decode and validate a listing",
        ),
    ]


def rebuild() -> list[Finding]:
    """Rebuild the moments furthest from a whole frame, and step to the next."""
    found = []
    for rows in (1_000, 10_000):
        recorded = _encoded(moment for moment, _, _ in simulated_life(rows, 240))
        ways = [_way_to(recorded, place) for place in _furthest(recorded)]
        decode, *spent = in_turn(
            partial(decoded, pages_of(_rows(rows))), *(partial(_rebuilt, way) for way in ways), times=3
        )
        found.append(
            Finding(
                what=f"rebuild the furthest moment of {rows:,} rows (CPU)",
                measured=max(spent),
                unit="ms",
                reference=decode,
                against=f"decode and validate a listing; {max(map(len, ways))} frames to rebuild from",
            )
        )
        (stepped,) = in_turn(partial(_stepped, recorded[:60]), times=3)
        found.append(
            Finding(
                what=f"go from a moment of {rows:,} rows to the next (CPU)",
                measured=stepped / 60,
                unit="ms",
                reference=decode,
                against="decode and validate a listing",
            )
        )
    return found


def _rows(count: int) -> list[dict[str, object]]:
    return DemoFleet(count, int(NOW)).rows(int(NOW))


def _encoded(moments: Iterable[Moment]) -> list[Frame]:
    encoder = FrameEncoder()
    return [encoder.encode(moment) for moment in moments]


def _furthest(recorded: Sequence[Frame]) -> list[int]:
    kinds = [frame.kind for frame in recorded]
    return [
        place for place, kind in enumerate(kinds) if kind is FrameKind.STEP and kinds[place + 1 : place + 2] != [kind]
    ]


def _way_to(recorded: Sequence[Frame], place: int) -> list[Frame]:
    key = max(index for index in range(place + 1) if recorded[index].kind is FrameKind.KEY)
    bridges = [index for index in range(key, place + 1) if recorded[index].kind is FrameKind.BRIDGE]
    start = bridges[-1] if bridges else key + 1
    return [recorded[key], *islice(recorded, start, place + 1)]


def _rebuilt(frames: Sequence[Frame]) -> Moment:
    decoder = MomentBuilder(NO_PROFILE)
    for frame in frames:
        decoder.apply(frame)
    return decoder.moment()


def _stepped(frames: Sequence[Frame]) -> None:
    decoder = MomentBuilder(NO_PROFILE)
    for frame in frames:
        decoder.apply(frame)
        decoder.moment()


_HOUR = 720
_DAY = 17_280
_MIDNIGHT = NOW // 86_400_000 * 86_400_000


def store() -> list[Finding]:
    """Measure an hour of 1,000 rows at 5 s, and a day of few rows."""
    life = [(moment, changes) for moment, _, changes in simulated_life(1_000, _HOUR + 1)]
    with TemporaryDirectory() as one, TemporaryDirectory() as other, TemporaryDirectory() as third:
        written = _written(Path(one), life)
        return [
            Finding(
                what="bytes on disk a poll of 1,000 rows, with its events and a whole moment an hour",
                measured=size_of(Path(one)) / len(life),
                unit="B",
            ),
            Finding(what="write a poll of 1,000 rows, in the thread (CPU)", measured=written, unit="ms"),
            Finding(
                what="record a poll of 1,000 rows, on the caller's side (wall)",
                measured=_recorded(Path(other), life[:12]),
                unit="ms",
            ),
            *_steps(StoredPast(Path(one))),
            _listing(Path(third)),
        ]


def _written(folder: Path, life: Sequence[tuple[Moment, MonitorChanges]]) -> float:
    writer = FolderWriter(folder, Retention())
    assert writer.take()
    started = time.process_time()
    for moment, changes in life:
        writer.write(moment, PollResult.LISTED, changes.events)
    spent = time.process_time() - started
    writer.close()
    return spent * 1000 / len(life)


def _recorded(folder: Path, life: Sequence[tuple[Moment, MonitorChanges]]) -> float:
    """Record a few polls; return the caller's median milliseconds for a poll."""
    recorder, spent = HistoryRecorder({NO_PROFILE: folder}, notify=print), []
    for moment, changes in life:
        monitor = Monitor(fleet=Fleet({NO_PROFILE: moment.profile_state}))
        started = time.perf_counter()
        recorder.record(monitor, changes)
        spent.append(time.perf_counter() - started)
    recorder.close(PATIENCE_S)
    return median(spent) * 1000


def _steps(past: StoredPast) -> list[Finding]:
    polls = past.polls(*ALWAYS)

    def spent_at(place: int) -> float:
        started = time.thread_time()
        past.moment(polls[place])
        return (time.thread_time() - started) * 1000

    leaps, forward, back = [], [], []
    for start in range(30, len(polls) - 10, 67):
        leaps.append(spent_at(start))
        forward += [spent_at(start + step) for step in range(1, 6)]
        back += [spent_at(start + 5 - step) for step in range(1, 20)]
    return [
        Finding(what=f"{what} of 1,000 rows, the slowest (CPU)", measured=max(spent), unit="ms")
        for what, spent in (
            ("rebuild any moment", leaps),
            ("step to the next moment", forward),
            ("step to the previous moment", back),
        )
    ]


def _listing(folder: Path) -> Finding:
    writer = FolderWriter(folder, Retention())
    assert writer.take()
    for number in range(_DAY):
        now = Clocks(WallMs(_MIDNIGHT + number * 5_000.25), MonotonicS(number * 5.0))
        writer.write(Moment(now, ProfileState()), PollResult.LISTED)
    writer.close()
    (spent,) = in_turn(partial(StoredPast(folder).polls, *ALWAYS))
    return Finding(what=f"list the {_DAY:,} polls of a day (CPU)", measured=spent, unit="ms")
