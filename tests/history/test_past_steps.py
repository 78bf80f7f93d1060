"""A past as steps: polls with events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.builders import NOW
from support.lives import plain_life
from support.recording import ALWAYS, DAY

from envwatch.fleet.events import Event, Kind
from envwatch.history.past import RecordedStep
from envwatch.history.stored import Retention, StoredPast
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import Clocks, WallMs
from envwatch.model.outcome import RecordedPoll

if TYPE_CHECKING:
    from pathlib import Path


def test_steps_are_polls_with_their_events_and_what_time_alone_changed(tmp_path: Path) -> None:
    """Over days, with the wall clock set back in between."""
    expected, number = list[RecordedStep](), 0
    for at in (NOW, NOW + DAY, NOW - 3_600_000):
        writer = FolderWriter(tmp_path, Retention())
        writer.take()
        life, run = plain_life(at), number + 1
        for moment, result, events in life.steps:
            number += 1
            poll = RecordedPoll(number, moment.now.wall, result, run, 5.0)
            writer.write(moment, result, events)
            expected.append(RecordedStep(poll.at, poll, list(events)))
        blind = Event(kind=Kind.BLIND, at=NOW)
        later = Clocks(WallMs(moment.now.wall + 1), moment.now.monotonic)
        writer.write_events(later, [blind, blind])
        expected.append(RecordedStep(later.wall, None, [blind, blind]))
        writer.close()
    steps = [step._replace(events=list(step.events)) for step in StoredPast(tmp_path).steps(*ALWAYS)]
    assert steps == expected
    assert [step.poll for step in StoredPast(tmp_path).steps(WallMs(NOW + DAY), WallMs(NOW + DAY))] == [
        step.poll for step in expected if step.at == NOW + DAY
    ]
