"""Time of a step back in time, from key to paint, in a recording of 1,000 rows."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from findings import Finding, share
from programs import ENVWATCH, Glass
from support.lives import simulated_life
from support.pty_terminal import environment

from envwatch.history.past import About
from envwatch.history.recording import RecordingWriter
from envwatch.model.outcome import PollResult
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS = 1_000
_POLLS = 300
_STEPS = 120
_PAUSE_S = 0.15
"""From a key's answer to the next key: as fast as a person looks at a screen."""


def _recording(path: Path) -> None:
    about = About(profile=clean("bench"), base_url=clean("https://api.letta.com"), version=clean("1"))
    with closing(RecordingWriter(path, about)) as writer:
        for moment, _, changes in simulated_life(_ROWS, _POLLS):
            writer.write(moment, PollResult.LISTED, changes.events)


def _answers(program: Glass, key: str) -> Iterator[float]:
    for _ in range(_STEPS):
        program.run_for(_PAUSE_S)
        yield program.answer_to(key)


def steps() -> list[Finding]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "life.rec"
        _recording(path)
        command = [*ENVWATCH, "replay", str(path)]
        with Glass(command, environment(Path(folder))) as replay:
            replay.first_data()
            replay.press("p")
            replay.press("L")
            replay.run_for(2)
            moves = [*_answers(replay, "j")]
            times = [*_answers(replay, "[")]
            replay.received.clear()
    return [
        Finding(
            what=f"key to paint of a step back in time at {_ROWS:,} rows, {name} of {_STEPS} (wall)",
            measured=share(times, part),
            unit="ms",
            reference=share(moves, part),
            against="`j` in the same program",
        )
        for name, part in (("p50", 0.5), ("p99", 0.99))
    ]
