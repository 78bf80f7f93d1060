"""A replay: the dashboard on a recording alone, with play, pause and the keys of the past."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from support.app_harness import Stage, running
from support.builders import NOW, listed
from support.idle import held_by_the_test
from support.memory_history import MemoryHistory, recorded
from support.rewinding import (
    BACK,
    ESTIMATED_ANEW,
    EVENT_FORWARD,
    FORWARD,
    LIFE,
    Life,
    down,
    estimated_anew,
    go_to,
    press,
    rows,
    seconds,
    settle,
    until,
)

from envwatch.fleet.events import NO_PROFILE
from envwatch.history.past import HistoryError
from envwatch.model.clock import WallMs
from envwatch.tui.arguments import Replay
from envwatch.views.state_style import EMPTY_RECORDING, REPLAY_POLLS_NOTHING, REPLAYED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from envwatch.model.outcome import RecordedPoll


def recording(life: Life = LIFE) -> MemoryHistory:
    return recorded(listed(rows(NOW + at * 1000, *lost), NOW + at * 1000) for at, lost in life)


@asynccontextmanager
async def replayed(history: MemoryHistory | None = None, later: float = 86_400, **replay: Any) -> AsyncIterator[Stage]:
    wanted = Replay(**({"name": "night.envwatch", "profile": "acme", "host": "api.example"} | replay))
    pasts = {NO_PROFILE: recording() if history is None else history}
    stage = Stage(targets={}, pasts=pasts, replay=wanted)
    stage.now = later
    async with running(stage):
        await settle(stage)
        await stage.tick(0)
        yield stage


async def test_the_log_of_a_moment_has_the_events_that_were_known_then_however_the_clock_was_estimated() -> None:
    async with replayed(recorded(estimated_anew(*each) for each in ESTIMATED_ANEW)) as stage:
        await press(stage, "p")
        for count in (0, 1, 1, 2, 2):
            assert len(stage.app.state.monitor.event_log) == count
            await press(stage, FORWARD)


async def pass_on(stage: Stage, for_s: float) -> None:
    await stage.tick(for_s)
    await settle(stage)


async def test_a_replay_starts_at_its_beginning_plays_at_its_speed_and_ends() -> None:
    async with replayed(speed=10) as stage:
        assert "night.envwatch · acme · api.example" in stage.lines[0]
        assert " REPLAY 10x 2025-10-09 08:53:20 " in stage.lines[0]
        assert seconds(stage) == 0
        await pass_on(stage, 0.4)
        assert seconds(stage) == 0
        for at in (5, 10, 15):
            await pass_on(stage, 0.5)
            assert (seconds(stage), "env-1" in down(stage)) == (at, True)
        await pass_on(stage, 60)
        assert seconds(stage) == 20
        await pass_on(stage, 1)
        assert " PAUSED 2025-10-09 08:53:40 " in stage.lines[0]
        assert stage.news == "the recording ends at 2025-10-09 08:53:40"


async def test_it_starts_at_the_chosen_moment() -> None:
    async with replayed(at=WallMs(NOW + 11_000), plays=False) as stage:
        assert seconds(stage) == 10
        assert " PAUSED " in stage.lines[0]
        await pass_on(stage, 60)
        assert seconds(stage) == 10


async def test_p_pauses_and_goes_on_from_there() -> None:
    async with replayed() as stage:
        await press(stage, "p")
        assert stage.news == "paused: p goes on"
        assert "p Play" in stage.lines[-1]
        await pass_on(stage, 60)
        assert seconds(stage) == 0
        await press(stage, "p")
        await pass_on(stage, 0)
        await pass_on(stage, 6)
        assert seconds(stage) == 5
        assert "p Pause" in stage.lines[-1]


async def test_keys_go_through_it_and_it_plays_on_from_there() -> None:
    async with replayed() as stage:
        await press(stage, FORWARD, FORWARD)
        assert seconds(stage) == 10
        await pass_on(stage, 0)
        await pass_on(stage, 5)
        assert seconds(stage) == 15
        await press(stage, BACK)
        assert seconds(stage) == 10
        await press(stage, EVENT_FORWARD)
        assert seconds(stage) == 15
        await go_to(stage, "08:53:26")
        assert seconds(stage) == 5
        await press(stage, "L")
        assert seconds(stage) == 20
        await press(stage, FORWARD)
        assert stage.news == "the recording ends at 2025-10-09 08:53:40"
        await press(stage, *[BACK] * 5)
        assert stage.news == "the history begins at 2025-10-09 08:53:20"


async def test_gaps_are_skipped() -> None:
    async with replayed(recording(((0, ()), (5, ()), (7_200, (1,)), (7_205, ())))) as stage:
        await pass_on(stage, 0)
        await pass_on(stage, 5)
        assert seconds(stage) == 5
        await pass_on(stage, 4.9)
        assert seconds(stage) == 5
        await pass_on(stage, 0.1)
        assert seconds(stage) == 7_200
        await pass_on(stage, 5)
        assert seconds(stage) == 7_205


async def test_keys_that_act_on_the_present_say_why_they_do_nothing() -> None:
    async with replayed(plays=False) as stage:
        for keys, text in ((("r", "plus", "minus"), REPLAY_POLLS_NOTHING), ("aM", REPLAYED)):
            for key in keys:
                await press(stage, key)
                assert stage.news == text, key
                await stage.tick(6)


async def test_escape_does_not_leave_a_replay_and_help_opens() -> None:
    async with replayed(plays=False) as stage:
        await press(stage, "escape")
        assert "nothing to leave here" in stage.news
        await stage.press("question_mark")
        assert " Keys " in stage.text


async def test_a_key_before_the_recording_is_read_counts_from_its_beginning() -> None:
    class Slow(MemoryHistory):
        gate = threading.Event()

        def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
            with held_by_the_test():
                assert self.gate.wait(60)
            return super().polls(since, until)

    history = recorded((listed(rows(NOW + at * 1000, *lost), NOW + at * 1000) for at, lost in LIFE), Slow())
    for key, at in (("L", 20), (FORWARD, 5)):
        Slow.gate.clear()
        try:
            async with replayed(history, plays=False) as stage:
                await stage.press(key)
                Slow.gate.set()
                await until(stage, lambda: stage.app.state.rewound.day is not None)  # type: ignore[union-attr]
                await settle(stage)
                assert seconds(stage) == at
                assert "08:53:20" in stage.lines[1]
                assert "08:53:40" in stage.lines[1]
        finally:
            Slow.gate.set()


async def test_an_empty_recording_and_one_that_cannot_be_read_say_so() -> None:
    class Damaged(MemoryHistory):
        def polls(self, *_: WallMs) -> Sequence[RecordedPoll]:
            raise HistoryError("it is from a newer version")

    async with replayed(MemoryHistory(), 0) as stage:
        await until(stage, lambda: stage.news == EMPTY_RECORDING)
        await pass_on(stage, 5)
        assert "No listing yet at this moment." in stage.text
        await press(stage, BACK, "p", "L")
    async with replayed(Damaged(), 0) as stage:
        await until(stage, lambda: stage.news == "cannot read the recording: it is from a newer version")
