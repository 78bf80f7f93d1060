"""Going back in time: every key, the screen of the past, and the continuing present."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.app_harness import BELL, staged
from support.budget import examples
from support.builders import NOW, environment, failed, listed
from support.idle import held_by_the_test
from support.memory_history import MemoryHistory, recorded
from support.policies import soon
from support.rewinding import (
    BACK,
    ESTIMATED_ANEW,
    EVENT_BACK,
    EVENT_FORWARD,
    EVER,
    FORWARD,
    LIFE,
    Life,
    day_line,
    down,
    down_keys,
    estimated_anew,
    go_to,
    is_rewound,
    lived,
    now_line,
    press,
    rows,
    seconds,
    settle,
    show,
    until,
)

from envwatch.fleet.alerting.acknowledgements import with_server
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.past import NO_EVENTS, HistoryError
from envwatch.model.clock import OffsetBounds
from envwatch.model.outcome import Cause
from envwatch.model.text import EMPTY, clean
from envwatch.model.times import use_zone
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.widgets.status_bar import DayBar
from envwatch.views.command_context import CommandSettings, RowCommand
from envwatch.views.pane.legend import day_entries
from envwatch.views.state_style import IS_LIVE, NO_HISTORY, NOT_NOW, NOTHING_RECORDED, POLLS_GO_ON

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import tzinfo
    from pathlib import Path

    from support.app_harness import Stage

    from envwatch.fleet.events import Event
    from envwatch.history.past import Moment, RecordedStep
    from envwatch.model.clock import WallMs
    from envwatch.model.outcome import RecordedPoll

DAY_MEANINGS: Final = [entry.meaning for entry in day_entries(ascii_only=False)]
"""Meanings of the signs on the line of events."""

# Steps.


async def test_one_listing_back_and_forward_shows_what_was_known_then_under_a_badge() -> None:
    async with lived() as stage:
        assert down(stage) == {"env-2"}
        assert not stage.app.dashboard.query_one(DayBar).display
        await press(stage, BACK)
        assert down(stage) == {"env-1", "env-2"}
        assert " REWOUND " in stage.lines[0]
        assert "(−5 s)" in stage.lines[0]
        await press(stage, BACK, BACK)
        assert down(stage) == {"env-1"}
        await press(stage, FORWARD)
        assert down(stage) == {"env-1"}
        await press(stage, FORWARD)
        assert down(stage) == {"env-1", "env-2"}
        await press(stage, FORWARD)
        assert "REWOUND" not in stage.text
        assert down(stage) == {"env-2"}
        assert stage.news == "live again"


async def test_an_answer_goes_when_another_moment_is_shown() -> None:
    async with lived() as stage:
        await press(stage, BACK, "L")
        assert stage.news == "live again"
        await press(stage, BACK)
        assert "live again" not in stage.text
        await press(stage, *[BACK] * 9)
        assert stage.news == "the history begins at 08:53:20"
        await press(stage, FORWARD)
        assert "the history begins" not in stage.text


async def test_an_answer_about_the_present_goes_when_the_past_is_shown() -> None:
    async with lived() as stage:
        await stage.press("a", "enter")
        assert stage.news.startswith("acknowledged on this machine")
        await press(stage, BACK)
        assert is_rewound(stage)
        assert "acknowledged on this machine" not in stage.text


@pytest.mark.parametrize("key", ["L", "escape"])
async def test_back_to_live(key: str) -> None:
    async with lived() as stage:
        await press(stage, BACK, BACK)
        await show(stage, 25, 0)
        await press(stage, key)
        assert not is_rewound(stage)
        assert down(stage) == {"env-0"}
        await press(stage, BACK)
        assert down(stage) == {"env-2"}


async def test_escape_leaves_every_other_layer_before_the_past() -> None:
    async with lived() as stage:
        await press(stage, BACK, "4", "enter")
        for layer in ("the pane", "the filter"):
            await stage.press("escape")
            assert stage.app.state.rewound is not None, layer
        await stage.press("escape")
        assert not is_rewound(stage)
        await stage.press("escape")
        assert "nothing to leave here" in stage.news


async def test_the_oldest_listing_says_where_the_history_begins() -> None:
    async with lived() as stage:
        await press(stage, *[BACK] * 9)
        assert seconds(stage) == 0
        assert stage.news == "the history begins at 08:53:20"
        await press(stage, BACK)
        assert stage.news == "the history begins at 08:53:20"


async def test_without_a_history_each_key_says_why() -> None:
    async with staged() as stage:
        await stage.show(rows(stage.at))
        for key in (BACK, FORWARD, EVENT_BACK, EVENT_FORWARD):
            await press(stage, key)
            assert NO_HISTORY.startswith(stage.lines[-3].strip())
            await stage.tick(6)


@pytest.mark.parametrize("life", [(), LIFE[:1]], ids=["no listing", "one listing"])
async def test_before_two_listings_are_recorded_there_is_nothing_to_go_to(life: Life) -> None:
    async with lived(life) as stage:
        for key in (BACK, EVENT_BACK):
            await press(stage, key)
            assert stage.news
            assert NOTHING_RECORDED.startswith(stage.news)
            assert not is_rewound(stage)
            await stage.tick(6)


async def test_in_the_present_nothing_is_later() -> None:
    async with lived() as stage:
        for key in (FORWARD, EVENT_FORWARD, "L"):
            await press(stage, key)
            assert stage.news == IS_LIVE
            await stage.tick(6)


async def test_listings_that_came_meanwhile_can_be_gone_to() -> None:
    async with lived() as stage:
        await press(stage, BACK)
        await show(stage, 25, 3)
        await show(stage, 30, 0)
        for at, ids in ((20, {"env-2"}), (25, {"env-3"})):
            await press(stage, FORWARD)
            assert (seconds(stage), down(stage)) == (at, ids)
        await press(stage, FORWARD)
        assert not is_rewound(stage)
        assert down(stage) == {"env-0"}


async def test_failed_polls_are_moments_too() -> None:
    async with lived() as stage:
        for _ in range(7):
            await stage.tick(10)
            await stage.take(failed(at=stage.at))
        await show(stage, 95)
        await press(stage, BACK)
        assert "BLIND" in stage.lines[0]
        assert is_rewound(stage)
        assert "next try" not in stage.text
        await press(stage, *[BACK] * 6)
        assert "BLIND" not in stage.lines[0]
        assert "timeout" in stage.news


async def go_to_without_waiting(stage: Stage, text: str) -> None:
    await stage.press("T")
    await stage.type(text)
    await stage.press("enter")


class Gated(MemoryHistory):
    """Gives moments back when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.is_reading = threading.Event()
        self.read: list[float] = []

    def moment(self, poll: RecordedPoll) -> Moment:
        self.is_reading.set()
        with held_by_the_test():
            assert self.gate.wait(60)
        self.read.append((poll.at - NOW) / 1000)
        return super().moment(poll)


async def test_keys_that_come_while_a_moment_is_read_are_not_queued() -> None:
    history = Gated()
    recorded((listed(rows(NOW + at * 1000), NOW + at * 1000) for at in range(0, 300, 5)), history)
    history.start_run()
    async with lived(((300, ()),), history=history) as stage:
        await go_to_without_waiting(stage, "2m ago")
        await until(stage, history.is_reading.is_set)
        for _ in range(3):
            await stage.press(*[BACK] * 6)
        assert not is_rewound(stage)
        history.gate.set()
        await settle(stage)
        assert seconds(stage) == 180 - 18 * 5
        assert history.read[:2] == [180, 90], "what was being read, and where the keys lead; then it reads ahead"


async def test_what_takes_long_says_so_until_it_is_there() -> None:
    history = Gated()
    async with lived(history=history) as stage:
        await go_to_without_waiting(stage, "20s ago")
        await until(stage, lambda: stage.news == "reading the history")
        history.gate.set()
        await settle(stage)
        assert is_rewound(stage)
        assert "reading" not in stage.text


async def test_an_answer_to_a_key_is_seen_whatever_is_read_meanwhile() -> None:
    history = Gated()
    async with lived(history=history) as stage:
        await go_to_without_waiting(stage, "20s ago")
        await until(stage, lambda: stage.news == "reading the history")
        await stage.press("c")
        answer = stage.news
        assert answer.startswith("sent to the clipboard")
        history.gate.set()
        await settle(stage)
        assert is_rewound(stage)
        assert stage.news == answer


async def test_that_something_is_read_is_said_once_the_answer_to_a_key_has_been_seen() -> None:
    history = Gated()
    async with lived(history=history) as stage:
        await go_to_without_waiting(stage, "20s ago")
        await stage.press("c")
        await until(stage, lambda: stage.app.state.is_reading)
        assert stage.news.startswith("sent to the clipboard")
        await stage.tick(3)
        assert stage.news == "reading the history"
        history.gate.set()
        await settle(stage)


async def test_what_is_still_being_read_is_dropped_on_the_way_back() -> None:
    history = Gated()
    async with lived(history=history) as stage:
        await go_to_without_waiting(stage, "20s ago")
        await stage.press("L")
        history.gate.set()
        await settle(stage)
        assert not is_rewound(stage)


async def test_a_history_that_cannot_be_read_is_a_message_and_the_screen_stays() -> None:
    class Damaged(MemoryHistory):
        def moment(self, poll: RecordedPoll) -> Moment:
            if poll.number < 4:
                raise HistoryError("the file of 2025-10-09 is damaged")
            return super().moment(poll)

    async with lived(history=Damaged()) as stage:
        await press(stage, BACK)
        before = down(stage)
        await press(stage, BACK)
        assert stage.news == "cannot read the history: the file of 2025-10-09 is damaged"
        assert down(stage) == before
        await press(stage, FORWARD)
        assert not is_rewound(stage)


# Events.


async def test_events_back_and_forward() -> None:
    async with lived() as stage:
        for at, what in ((15, "env-2 went offline"), (5, "env-1 went offline")):
            await press(stage, EVENT_BACK)
            assert seconds(stage) == at
            assert what in stage.news
        await press(stage, EVENT_BACK)
        assert stage.news == "no earlier event of the visible rows"
        assert seconds(stage) == 5
        await press(stage, EVENT_FORWARD)
        assert seconds(stage) == 15
        await press(stage, EVENT_FORWARD)
        assert not is_rewound(stage)
        assert "env-1 back online" in stage.news
        await press(stage, EVENT_BACK, EVENT_BACK)
        assert seconds(stage) == 5


async def test_a_step_to_an_event_moves_cursor_and_pane_to_the_row_of_the_event() -> None:
    async with lived(size=(120, 40)) as stage:
        await press(stage, "G")
        assert stage.cursor == "laptop of env-3"
        for key, name, title in (
            (EVENT_BACK, "laptop of env-2", "OFFLINE for 0s"),
            (EVENT_BACK, "laptop of env-1", "OFFLINE for 0s"),
            (EVENT_FORWARD, "laptop of env-2", "OFFLINE for 0s"),
            (EVENT_FORWARD, "laptop of env-1", "ONLINE for 0s"),  # the present
        ):
            await press(stage, key)
            assert stage.cursor == name
            assert title in stage.text


async def test_a_step_to_an_event_leads_to_the_incident_of_several_losses() -> None:
    async with lived(((0, ()), (5, (1, 2, 3)), (10, (1, 2, 3)))) as stage:
        await press(stage, "G", EVENT_BACK)
        line = stage.table.incident
        assert line is not None
        assert len(line.members) == 3


async def test_a_step_to_an_event_opens_the_folded_group_of_the_row() -> None:
    async with lived(((0, ()),)) as stage:
        for at in (5, 10):
            await stage.tick(5)
            moved = environment("env-3", connectionId=f"c-{at}", lastHeartbeat=stage.at)
            await stage.show([*rows(stage.at)[:3], moved])
        await press(stage, "b", "m", "enter", "x")
        assert "laptop of env-0" not in stage.text
        await press(stage, EVENT_BACK)
        assert (seconds(stage), stage.cursor) == (5, "laptop of env-3")
        assert "laptop of env-0" in stage.text


async def test_a_step_to_an_event_says_that_the_filter_hides_the_row() -> None:
    async with lived(((0, ()), (5, (1,)), (10, ()), (15, (1,)), (20, (1,)))) as stage:
        await press(stage, "4", EVENT_BACK)
        assert (seconds(stage), stage.cursor) == (15, "laptop of env-1")
        assert "the filter hides the row" not in stage.news
        await press(stage, EVENT_BACK)
        assert seconds(stage) == 10
        assert stage.news == "laptop of env-1 back online after 5s · the filter hides the row"


async def test_events_are_those_of_the_rows_that_the_filter_shows_and_of_the_fleet() -> None:
    async with lived() as stage:
        for _ in range(2):
            await stage.tick(35)
            await stage.take(failed(at=stage.at))
        await show(stage, 100, 2)
        await show(stage, 105)
        await show(stage, 110)
        await stage.press("slash")
        await stage.type("env-1")
        await stage.press("enter")
        found = []
        for _ in range(6):
            await press(stage, EVENT_BACK)
            found.append((seconds(stage), stage.news))
        assert ["env-2" in text for _, text in found] == [False] * 6
        assert [at for at, _ in found] == [100, 90, 20, 5, 5, 5]


async def test_events_of_a_loss_in_the_block_are_those_of_the_preset_that_the_loss_matches() -> None:
    async with lived() as stage:
        await press(stage, "4", EVENT_BACK)
        assert stage.names == []
        assert seconds(stage) == 15
        assert "env-2 went offline" in stage.news


async def test_of_the_events_of_one_poll_the_most_severe_is_named() -> None:
    async with lived(((0, ()), (5, (2,)), (10, (1,)), (15, (1,)))) as stage:
        await press(stage, EVENT_BACK)
        assert seconds(stage) == 10
        assert "env-1 went offline" in stage.news
        await press(stage, EVENT_BACK)
        assert seconds(stage) == 5
        await press(stage, EVENT_FORWARD)
        assert "env-1 went offline" in stage.news


async def test_events_are_found_also_where_the_clock_of_the_server_was_estimated_otherwise() -> None:
    async with lived(LIFE[:1]) as stage:
        for at, down_then, offsets in (
            (5, (1,), (0, 800)),
            (10, (2,), (-400, 400)),
            (15, (3,), (-800, 0)),
            (20, (), ()),
        ):
            await stage.tick(at - stage.now)
            came = listed(rows(stage.at, *down_then), stage.at)
            clock = (OffsetBounds(*offsets),) if offsets else ()
            await stage.take(came._replace(snapshot=came.snapshot._replace(clock=clock)))
        for at in (15, 10, 5):
            await press(stage, EVENT_BACK)
            assert (seconds(stage), is_rewound(stage)) == (at, True)


async def test_each_step_leads_to_another_event_when_the_clock_of_the_server_is_estimated_anew() -> None:
    async with lived(()) as stage:
        for at, down_then, offsets in ESTIMATED_ANEW:
            await stage.tick(at - stage.now)
            await stage.take(estimated_anew(at, down_then, offsets))
        for at in (9, 5):
            await press(stage, EVENT_BACK)
            assert seconds(stage) == at
        await press(stage, EVENT_BACK)
        assert stage.news == "no earlier event of the visible rows"
        await press(stage, EVENT_FORWARD)
        assert seconds(stage) == 9
        await press(stage, EVENT_FORWARD)
        assert stage.news == "no later event of the visible rows"


async def test_the_log_of_a_moment_has_the_events_that_were_known_then_however_the_clock_was_estimated() -> None:
    async with lived(()) as stage:
        logs = []
        for at, down_then, offsets in ESTIMATED_ANEW:
            await stage.tick(at - stage.now)
            await stage.take(estimated_anew(at, down_then, offsets))
            logs.append(list(stage.app.state.monitor.event_log))
        assert [len(log) for log in logs] == [0, 1, 1, 2, 2]
        for log in logs[-2::-1]:
            await press(stage, BACK)
            assert list(stage.app.state.monitor.event_log) == log


async def test_a_message_of_envwatch_is_in_the_log_of_the_moments_after_it() -> None:
    async with lived(LIFE[:2]) as stage:
        await stage.tick(1)
        stage.app._warn(clean("no history is kept"))  # noqa: SLF001  what waits for a queue
        await show(stage, 10)
        await show(stage, 15)
        kinds = []
        for _ in range(2):
            await press(stage, BACK)
            kinds.append([event.kind.value for event in stage.app.state.monitor.event_log])
        assert kinds == [["offline", "notice", "online"], ["offline"]]


async def test_the_search_for_an_event_ends_where_it_is_found() -> None:
    untils = list[float]()

    class Noting(MemoryHistory):
        def steps(
            self, since: WallMs, until: WallMs, known: Mapping[Event, Event] = NO_EVENTS
        ) -> Iterator[RecordedStep]:
            untils.append((until - NOW) / 1000)
            return super().steps(since, until, known)

    history = Noting()
    async with lived(
        ((0, ()), (5, (2,)), (300_000, (2,)), (300_005, (1, 2)), (300_010, (1, 2))), history=history
    ) as stage:
        await press(stage, "slash", *"env-1", "enter")
        await press(stage, EVENT_BACK)
        assert seconds(stage) == 300_005
        assert min(untils) > 150_000
        await press(stage, *[EVENT_BACK] * 4)
        assert seconds(stage) == 300_000, "that it was blind is of the whole fleet"
        await press(stage, EVENT_BACK)
        assert stage.news == "no earlier event of the visible rows"
        assert min(untils) < 150_000


async def test_with_a_filter_on_states_events_are_those_that_led_to_them() -> None:
    async with lived((*LIFE, (25, ()), (30, ()))) as stage:
        await stage.press("slash")
        await stage.type("status:offline")
        await stage.press("enter")
        assert stage.names == []
        for at in (15, 5):
            await press(stage, EVENT_BACK)
            assert seconds(stage) == at


# Times.


async def test_a_time_is_gone_to() -> None:
    async with lived() as stage:
        for text, at in (("8s ago", 10), ("08:53:31", 10), ("2025-10-09T08:53:29Z", 5), ("08:53", 0)):
            await go_to(stage, text)
            assert (seconds(stage), is_rewound(stage)) == (at, True), text


async def test_a_time_before_the_history_and_one_in_a_gap_say_so() -> None:
    async with lived((*LIFE, (3_600, ()), (3_605, ()))) as stage:
        await go_to(stage, "10m ago")
        assert seconds(stage) == 20
        assert "nothing was recorded at 09:43:25" in stage.text
        await go_to(stage, "yesterday 14:00")
        assert seconds(stage) == 0
        assert stage.news == "the history begins at 08:53:20"
        await go_to(stage, "now")
        assert not is_rewound(stage)


async def test_a_moment_of_another_day_has_its_date() -> None:
    async with lived((*LIFE, (90_000, ()))) as stage:
        await press(stage, EVENT_BACK)
        assert " REWOUND 2025-10-09 08:53:40 (−1 d 0 h) " in stage.lines[0]


@settings(max_examples=examples(16), deadline=None)
@given(st.lists(st.sampled_from([BACK, BACK, FORWARD, EVENT_BACK, EVENT_FORWARD, "L"]), min_size=1, max_size=14))
def test_wherever_keys_lead_the_screen_shows_what_was_known_there(keys: list[str]) -> None:
    asyncio.run(_walk(keys))


async def _walk(keys: Sequence[str]) -> None:
    history = MemoryHistory()
    async with lived((*LIFE, (80, (1, 2)), (85, ()), (90, (3,))), history=history) as stage:
        polls = {poll.at: poll for poll in history.polls(*EVER)}
        for key in keys:
            await press(stage, key)
            state = stage.app.state
            if state.rewound is None:
                assert state.now.wall == stage.at
                continue
            poll = polls[state.now.wall]
            moment = history.moment(poll)
            assert state.monitor.fleet.by_profile == {NO_PROFILE: moment.profile_state}
            assert (state.now, state.monitor.acks) == (moment.now, with_server(moment.acks, EMPTY))
            assert list(state.monitor.event_log) == list(history.events(EVER[0], poll.at))
            for tracked in state.monitor.fleet.environments:
                own = [event for event in state.monitor.event_log if event.id == tracked.environment.id]
                assert list(state.monitor.event_log.for_environment(tracked.key)) == own


async def test_pane_explanation_filter_groups_and_baseline_are_of_that_moment() -> None:
    async with lived(size=(120, 40)) as stage:
        await press(stage, "slash", *"env-1", "enter", BACK)
        assert (stage.names, stage.matching) == ([], ["laptop of env-1"])
        assert " env-1 1/4 " in stage.lines[0]
        assert "1 match is above, among the losses that need a person" in stage.text
        await stage.press("x", "j")
        assert "OFFLINE for 10s" in stage.text
        await stage.press("E")
        assert "08:53:35" in stage.text
        await stage.press("E", "escape", "b", "s", "enter", "m")
        assert "baseline marked" in stage.news
        await press(stage, "L", "equals_sign")
        assert stage.matching == ["laptop of env-1"]


async def test_the_cursor_stays_on_its_row_also_while_the_row_is_not_there() -> None:
    async with lived(LIFE[:1]) as stage:
        for at in (5, 10, 15):
            await show(stage, at, count=5)
        await stage.press("G")
        assert stage.cursor == "laptop of env-4"
        await press(stage, BACK)
        assert stage.cursor == "laptop of env-4"
        await press(stage, BACK, BACK)
        assert seconds(stage) == 0
        assert stage.cursor is not None
        assert len(stage.app.state.monitor.fleet) == 4


async def test_ages_and_events_are_those_of_the_moment() -> None:
    async with lived() as stage:
        await press(stage, EVENT_BACK)
        assert "0s ago" in stage.text or "env-2 went offline" in stage.news
        await stage.tick(3)
        assert "laptop of env-2  went offline" in stage.news
        assert stage.news.endswith("0s ago")
        await stage.press("e")
        assert "back online" not in stage.text
        assert stage.text.count("went offline") == 3  # two lines, and one in full


async def test_the_event_log_has_the_badge_of_the_moment_that_it_ends_at() -> None:
    async with lived() as stage:
        await press(stage, BACK, "e")
        for age in ("−5 s", "−65 s"):
            (title,) = (line for line in stage.lines if line.startswith(" events "))
            assert f" REWOUND 08:53:35 ({age}) " in title
            assert f" REWOUND 08:53:35 ({age}) " in stage.lines[0]
            assert "laptop of env-2" in now_line(stage)
            await stage.tick(60)
        await stage.press("q")
        await press(stage, "L", "e")
        assert "REWOUND" not in stage.text


async def test_the_line_of_events_says_where_one_stands() -> None:
    async with lived() as stage:
        await press(stage, BACK, BACK)
        line = day_line(stage)
        assert line.startswith(" 08:53:20  ")
        assert line.rstrip().endswith("  08:53:40")
        assert line.count("○") == 2
        assert abs(line.index("┃") - 40) <= 1


@pytest.mark.parametrize(
    ("columns", "legend"), [(80, []), (120, ["loss", "back", "blind", "mode"]), (200, DAY_MEANINGS)]
)
async def test_a_wide_line_of_events_has_a_legend_and_the_help_always_has_all_of_it(
    columns: int, legend: list[str]
) -> None:
    async with lived(size=(columns, 50)) as stage:
        await press(stage, BACK, BACK)
        assert [meaning for meaning in DAY_MEANINGS if f" {meaning}" in day_line(stage)] == legend
        await stage.press("question_mark")
        (first,) = (place for place, line in enumerate(stage.lines) if line.startswith(" Past "))
        assert all(meaning in " ".join(stage.lines[first : first + 2]) for meaning in DAY_MEANINGS)


async def test_the_line_of_events_belongs_to_the_moment_also_if_the_line_of_another_day_was_being_read() -> None:
    class Held(MemoryHistory):
        gate = threading.Event()

        def steps(
            self, since: WallMs, until: WallMs, known: Mapping[Event, Event] = NO_EVENTS
        ) -> Iterator[RecordedStep]:
            with held_by_the_test():
                self.gate.wait(30)
            return super().steps(since, until, known)

    history = Held()
    async with lived((*LIFE, (3 * 86_400, (1,)), (3 * 86_400 + 60, ())), history=history) as stage:
        await go_to_without_waiting(stage, "30s ago")
        await until(stage, lambda: is_rewound(stage))
        assert day_line(stage).strip() == "reading the events"
        await go_to_without_waiting(stage, "2025-10-09 08:53:30")
        await until(stage, lambda: seconds(stage) == 10)
        history.gate.set()
        await settle(stage)
        begin, *_, end = (word for word in day_line(stage).split() if ":" in word)
        assert (begin, end) == ("08:53", "20:53")


@pytest.mark.parametrize(
    ("zone", "begin", "end"),
    [(UTC, "10-09 23:45", "00:15"), (timezone(timedelta(hours=9)), "08:45", "09:15")],
    ids=["UTC", "nine hours ahead"],
)
async def test_the_line_of_events_over_midnight_has_the_date_in_the_zone_of_the_settings(
    zone: tzinfo, begin: str, end: str
) -> None:
    midnight = 54_400  # seconds after `NOW`
    life = [(midnight + seconds, (1,) if seconds == 0 else ()) for seconds in range(-900, 901, 300)]
    use_zone(zone)
    async with lived(tuple(life)) as stage:
        await press(stage, BACK, BACK, BACK, BACK)
        line = day_line(stage)
        assert line.startswith(f" {begin} ")
        assert line.rstrip().endswith(f" {end}")


async def test_in_ascii_everything_is_ascii() -> None:
    async with lived(ascii_only=True) as stage:
        await press(stage, BACK, BACK)
        assert "(-10 s)" in stage.lines[0]
        assert now_line(stage).isascii()
        assert day_line(stage).isascii()
        assert "|" in day_line(stage)


async def test_the_badge_stands_at_every_size_and_through_resizing() -> None:
    async with lived() as stage:
        await press(stage, BACK)
        for size in ((40, 8), (60, 12), (200, 60), (80, 24)):
            await stage.pilot.resize_terminal(*size)
            await stage.pilot.pause()
            assert "REWOUND 08:53:35" in stage.lines[0], size
            await press(stage, BACK)
            assert "REWOUND 08:53:30" in stage.lines[0], size
            await press(stage, FORWARD)


async def test_the_badge_wins_over_all_others() -> None:
    async with lived() as stage:
        for _ in range(10):
            await stage.tick(10)
            await stage.take(failed(at=stage.at))
        await stage.press("slash", *"status:late,offline", "enter", "B")
        await press(stage, BACK)
        await show(stage, 200, 0, 1, 3)
        assert "REWOUND 08:55:10" in stage.lines[0]
        assert " 3 off " in now_line(stage)
        assert "default" in stage.lines[0]


async def test_what_comes_meanwhile_changes_nothing_on_the_screen_and_is_there_afterwards() -> None:
    history = MemoryHistory()
    async with lived(history=history) as stage:
        await press(stage, BACK)

        def shown() -> list[str]:
            return [day_line(stage), *stage.block, stage.rule, stage.titles, *stage.body, stage.news]

        before = shown()
        await show(stage, 25)
        await show(stage, 30)
        assert shown() == before
        assert len(history.polls(*EVER)) == 7
        await press(stage, "L")
        assert down(stage) == set()
        assert "env-2" in stage.text


@pytest.mark.parametrize(("width", "tag", "name"), [(46, " NEW ", "laptop of env-3"), (45, "", "laptop of env-3")])
async def test_on_a_narrow_screen_the_name_of_the_present_loss_stands_in_place_of_its_tag(
    width: int, tag: str, name: str
) -> None:
    async with lived(size=(width, 24)) as stage:
        await press(stage, BACK)
        await show(stage, 35, 3)
        assert tag in now_line(stage)
        assert ("NEW" in now_line(stage)) == bool(tag)
        assert name in now_line(stage)


async def test_the_newest_loss_of_the_present_stands_below_the_badge() -> None:
    async with lived() as stage:
        assert not now_line(stage)
        await press(stage, BACK)
        for at, lost, newest in ((25, (0, 2), "env-0"), (30, (2,), "env-2"), (35, (2, 3), "env-3")):
            await show(stage, at, *lost)
            assert stage.lines.index(now_line(stage)) == 1
            assert f"laptop of {newest} " in now_line(stage)
        await show(stage, 40)
        assert not now_line(stage)
        await press(stage, "L")
        assert not now_line(stage)


async def test_why_the_present_cannot_be_seen_is_said_at_the_end_of_the_line_of_events() -> None:
    async with lived() as stage:
        await press(stage, BACK)
        assert "live:" not in stage.text
        await stage.tick(61)
        assert day_line(stage).endswith("  live: blind ")
        await stage.take(failed(Cause.UNAUTHORIZED, stage.at))
        assert day_line(stage).endswith("  live: key refused ")
        await show(stage, 90)
        assert "live:" not in stage.text


async def test_nothing_rings_in_the_past_and_what_still_holds_rings_after_it() -> None:
    async with lived((*LIFE, (60, (2,))), bell=True, policies=soon()) as stage:
        await stage.tick(15)
        stage.app.sent.clear()
        await press(stage, BACK)
        for at in range(80, 120, 5):
            await show(stage, at, 0, 2)
        assert stage.app.sent == []
        await press(stage, "L")
        await stage.tick()
        assert stage.app.sent == [BELL]


async def test_news_of_the_present_take_nothing_from_the_status_line() -> None:
    async with lived((*LIFE, (7_300, (2,)))) as stage:
        await stage.press("slash", *"env-", "enter")
        await go_to(stage, "2h ago")
        before = stage.lines[0]
        assert "● 3 " in before
        assert " env- 4/4 " in before
        await show(stage, 7_301, 0, 1, 2)
        assert stage.lines[0] == before
        assert " 2 off " in now_line(stage)


async def test_the_way_back_to_live_is_in_the_narrowest_footer() -> None:
    async with lived(size=(40, 12)) as stage:
        await press(stage, BACK)
        assert stage.lines[-1].startswith(" L Live ")


async def test_the_title_of_the_window_marks_the_past() -> None:
    async with lived() as stage:
        await press(stage, BACK)
        assert stage.app.titles[-1].startswith("REWOUND ○2 ")
        await press(stage, "L")
        assert stage.app.titles[-1].startswith("○1 ")


async def test_keys_that_act_on_the_present_do_nothing_in_the_past_also_in_one_packet() -> None:
    command = RowCommand(name="ssh", key="S", run=("true",), description="ssh")
    async with lived(commands=CommandSettings(commands={"ssh": command})) as stage:
        before = stage.poller.schedule
        for keys, text in (("aMS", NOT_NOW), (("p", "r", "plus", "minus"), POLLS_GO_ON)):
            for key in keys:
                await press(stage, BACK, key)
                assert (stage.news, is_rewound(stage)) == (text, True), key
                assert isinstance(stage.app.screen, Dashboard)
                await press(stage, "L")
        assert stage.poller.schedule == before
        await press(stage, "S")
        assert "needs a terminal" in stage.news


async def test_acknowledgements_of_then_are_shown() -> None:
    async with lived() as stage:
        await stage.press("a", *"disk", "enter")
        await show(stage, 25, 2)
        await show(stage, 30)
        await press(stage, BACK)
        assert [ack.note for ack in stage.app.state.monitor.acks.values()] == ["disk"]
        await press(stage, BACK)
        assert stage.app.state.monitor.acks == {}


async def test_copies_and_exports_say_of_which_moment_they_are(tmp_path: Path) -> None:
    written = list[bytes]()

    def export(data: bytes, suffix: str) -> Path:
        written.append(data)
        return tmp_path / f"x{suffix}"

    async with lived(export=export) as stage:
        await press(stage, BACK, BACK)
        await press(stage, "c")
        assert stage.news == "sent to the clipboard, as of 08:53:30: laptop of env-1"
        await stage.press("ctrl+s", "enter")
        await until(stage, lambda: written and "exported" in stage.news)
        assert "4 environments, as of 08:53:30" in stage.news
        assert b"2025-10-09T08:53:30" in written[0]


# Several profiles.


async def test_each_profile_shows_its_last_poll_at_a_moment() -> None:
    home, work = clean("home"), clean("work")
    pasts = {home: MemoryHistory(home), work: MemoryHistory(work)}

    def record(*arguments: Any) -> None:
        for past in pasts.values():
            past.record(*arguments)

    async with staged((120, 24), profiles=(home, work), pasts=pasts, record=record) as stage:
        for at, profile, lost in ((0, home, ()), (2, work, ()), (5, home, (0,)), (7, work, (1,)), (9, home, ())):
            await stage.tick(at - stage.now)
            await stage.show(rows(stage.at, *lost, count=2), profile)
        await press(stage, BACK)
        assert down_keys(stage) == {("home", "env-0"), ("work", "env-1")}
        await press(stage, BACK)
        assert down_keys(stage) == {("home", "env-0")}
        await press(stage, BACK, BACK)
        assert seconds(stage) == 0
        assert stage.app.state.monitor.fleet.unlisted == (work,)
        assert "no data yet work" in stage.lines[0]
        await press(stage, EVENT_FORWARD)
        assert seconds(stage) == 5
        assert stage.news.startswith("home laptop of env-0 went offline")
        await press(stage, EVENT_FORWARD)
        assert seconds(stage) == 7
        assert stage.news.startswith("work laptop of env-1 went offline"), "one id in both profiles is no pair of twins"
