"""Cuts a recording from a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.model.clock import WallMs
    from envwatch.storage.history.past import StoredPast
    from envwatch.storage.history.recording import RecordingWriter


def cut(past: StoredPast, since: WallMs, until: WallMs, writer: RecordingWriter) -> Iterator[tuple[int, int]]:
    """Write what was recorded in a time, both ends included; yield how many polls are written, and of how many.

    Raises:
        HistoryError: if the history cannot be read, or a moment cannot be written.
        OSError: if the recording cannot be written.
    """
    steps = list(past.steps(since, until))
    polls = [step.poll for step in steps if step.poll is not None]
    moments, run = past.moments(polls), None
    for step in steps:
        if step.poll is None:
            writer.write_events(step.at, step.events)
            continue
        if step.poll.run != run:
            run = step.poll.run
            writer.start_run()
        writer.write(next(moments), step.poll.result, step.poll.interval_s, step.events)
        yield writer.polls, len(polls)
