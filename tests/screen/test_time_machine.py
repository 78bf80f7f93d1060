"""The past on the screen: the keys through recorded moments, the continuing present, and replays of a recording."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from support.app_harness import BELL, Stage, running, staged
from support.budget import examples
from support.builders import NOW, failed, listed
from support.memory_history import MemoryHistory, recorded
from support.policies import soon
from support.quick_apps import held_by_the_test
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

from envwatch.alerts.acknowledgements import with_server
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.past import NO_EVENTS, HistoryError
from envwatch.model.clock import WallMs
from envwatch.model.outcome import Cause
from envwatch.model.text import EMPTY, clean
from envwatch.screen.arguments import Replay
from envwatch.screen.screens.dashboard import Dashboard
from envwatch.screen.widgets.status_bar import DayBar
from envwatch.views.command_context import CommandSettings, RowCommand
from envwatch.views.pane.legend import day_entries
from envwatch.views.state_style import (
    EMPTY_RECORDING,
    IS_LIVE,
    NO_HISTORY,
    NOT_NOW,
    NOTHING_RECORDED,
    POLLS_GO_ON,
    REPLAY_POLLS_NOTHING,
    REPLAYED,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from pathlib import Path

    from envwatch.fleet.events import Event
    from envwatch.history.past import Moment, RecordedStep
    from envwatch.model.outcome import RecordedPoll
    from envwatch.model.text import SafeText

DAY_MEANINGS: Final = [entry.meaning for entry in day_entries(ascii_only=False)]
"""Meanings of the signs on the line of events."""

# Steps.


async def test_keys_go_through_the_listings_under_a_badge_and_back_to_the_present() -> None:
    async with lived() as stage:
        assert not stage.app.dashboard.query_one(DayBar).display
        await press(stage, BACK)
        assert down(stage) == {"env-1", "env-2"}
        assert " REWOUND " in stage.lines[0]
        assert "(−5 s)" in stage.lines[0]
        assert stage.app.titles[-1].startswith("REWOUND ○2 ")
        await press(stage, BACK, BACK)
        assert (seconds(stage), down(stage)) == (5, {"env-1"})
        line = day_line(stage)
        assert line.startswith(" 08:53:20  ")
        assert line.rstrip().endswith("  08:53:40")
        assert line.count("○") == 2
        for moment, lost in ((10, {"env-1"}), (15, {"env-1", "env-2"})):
            await press(stage, FORWARD)
            assert (seconds(stage), down(stage)) == (moment, lost)
        await press(stage, FORWARD)
        assert (is_rewound(stage), down(stage), stage.news) == (False, {"env-2"}, "live again")
        assert stage.app.titles[-1].startswith("○1 ")
        await press(stage, *[BACK] * 9)
        assert "live again" not in stage.text
        for _ in range(2):
            assert (seconds(stage), stage.news) == (0, "the history begins at 08:53:20")
            await press(stage, BACK)
        for key, at in ((FORWARD, 5), (BACK, 0)):
            await press(stage, key)
            assert seconds(stage) == at
            assert "the history begins" not in stage.text


async def test_a_step_leads_over_days_without_a_listing() -> None:
    async with lived((*LIFE, (200_000, ()), (200_005, ()))) as stage:
        for key, at in ((BACK, 200_000), (BACK, 20), (BACK, 15), (FORWARD, 20), (FORWARD, 200_000)):
            await press(stage, key)
            assert seconds(stage) == at


async def test_escape_leaves_every_other_layer_before_the_past() -> None:
    async with lived() as stage:
        await press(stage, BACK, "2", "enter")
        for layer in ("the pane", "the filter"):
            await stage.press("escape")
            assert is_rewound(stage), layer
        await stage.press("escape")
        assert not is_rewound(stage)
        await stage.press("escape")
        assert "nothing to leave here" in stage.news


@pytest.mark.parametrize(
    ("life", "keys", "answer"),
    [
        (None, (BACK, EVENT_FORWARD), NO_HISTORY),
        ((), (BACK, EVENT_BACK), NOTHING_RECORDED),
        (LIFE[:1], (BACK, EVENT_BACK), NOTHING_RECORDED),
        (LIFE, (FORWARD, EVENT_FORWARD, "L"), IS_LIVE),
    ],
    ids=["no history", "no listing", "one listing", "nothing later"],
)
async def test_a_key_without_a_moment_to_go_to_says_why(life: Life | None, keys: Sequence[str], answer: str) -> None:
    options: dict[str, Any] = {"pasts": {}} if life is None else {}
    async with lived(life or (), **options) as stage:
        for key in keys:
            await press(stage, key)
            assert stage.news
            assert answer.startswith(stage.news)
            assert not is_rewound(stage)
            await stage.tick(6)


async def test_failed_polls_are_moments_too() -> None:
    async with lived() as stage:
        for _ in range(7):
            await stage.tick(10)
            await stage.take(failed(at=stage.at))
        await show(stage, 95)
        await press(stage, BACK)
        assert is_rewound(stage)
        assert "BLIND" in stage.lines[0]
        assert "next try" not in stage.text
        await press(stage, *[BACK] * 6)
        assert "BLIND" not in stage.lines[0]
        assert "timeout" in stage.news


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


async def go_to_without_waiting(stage: Stage, text: str) -> None:
    await stage.press("T")
    await stage.type(text)
    await stage.press("enter")


async def test_keys_during_a_read_change_the_destination_and_are_not_queued() -> None:
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
        assert history.read[:2] == [180, 90], "the destinations; the others are read ahead"


async def test_a_long_read_is_announced_and_hides_no_answer_to_a_key() -> None:
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


async def test_a_long_read_is_announced_after_the_answer_to_a_key_and_dropped_by_the_way_back() -> None:
    history = Gated()
    async with lived(history=history) as stage:
        await go_to_without_waiting(stage, "20s ago")
        await stage.press("c")
        await until(stage, lambda: stage.app.state.is_reading)
        assert stage.news.startswith("sent to the clipboard")
        await stage.tick(3)
        assert stage.news == "reading the history"
        await stage.press("L")
        history.gate.set()
        await settle(stage)
        assert not is_rewound(stage)
        assert "reading" not in stage.text


async def test_an_unreadable_history_is_a_message_and_the_screen_stays() -> None:
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


async def test_a_step_to_an_event_names_the_gravest_event_and_moves_cursor_and_pane_to_its_row() -> None:
    """At 10 s a row is lost and another row is back."""
    async with lived(((0, ()), (5, (2,)), (10, (1,)), (15, ())), size=(120, 40)) as stage:
        await press(stage, "G")
        assert stage.cursor == "laptop of env-3"
        for key, at, name, event in (
            (EVENT_BACK, 10, "env-1", "went offline"),
            (EVENT_BACK, 5, "env-2", "went offline"),
            (EVENT_BACK, 5, "env-2", "no earlier event of the visible machines"),
            (EVENT_FORWARD, 10, "env-1", "went offline"),
            (EVENT_FORWARD, 15, "env-1", "back online"),  # the present
        ):
            await press(stage, key)
            assert (seconds(stage), stage.cursor) == (at, f"laptop of {name}")
            assert event in stage.news
            assert ("ON for 0s" if at == 15 else "OFF for 0s") in stage.text
        assert not is_rewound(stage)


async def test_a_step_to_an_event_leads_to_the_incident_of_several_losses() -> None:
    async with lived(((0, ()), (5, (1, 2, 3)), (10, (1, 2, 3)))) as stage:
        await press(stage, "G", EVENT_BACK)
        line = stage.table.incident
        assert line is not None
        assert len(line.members) == 3


async def test_a_step_to_an_event_of_a_hidden_row_names_the_filter() -> None:
    async with lived(((0, ()), (5, (1,)), (10, ()), (15, (1,)), (20, (1,)))) as stage:
        await press(stage, "2", EVENT_BACK)
        assert (seconds(stage), stage.cursor) == (15, "laptop of env-1")
        assert "the filter hides the machine" not in stage.news
        await press(stage, EVENT_BACK)
        assert seconds(stage) == 10
        assert stage.news == "laptop of env-1 back online after 5s · the filter hides the machine"


async def test_a_filter_on_states_steps_to_the_events_before_these_states() -> None:
    async with lived((*LIFE, (25, ()), (30, ()))) as stage:
        await stage.press("slash")
        await stage.type("status:offline")
        await press(stage, "enter", EVENT_BACK, EVENT_BACK)
        assert (stage.names, seconds(stage)) == ([], 5)


async def test_events_are_events_of_the_rows_in_the_filter_and_of_the_fleet() -> None:
    async with lived() as stage:
        for _ in range(2):
            await stage.tick(35)
            await stage.take(failed(at=stage.at))
        for at, lost in ((100, (2,)), (105, ()), (110, ())):
            await show(stage, at, *lost)
        await stage.press("slash", *"env-1", "enter")
        found = []
        for _ in range(6):
            await press(stage, EVENT_BACK)
            found.append((seconds(stage), "env-2" in stage.news))
        assert found == [(at, False) for at in (100, 90, 20, 5, 5, 5)]


async def test_the_search_for_an_event_ends_at_the_event() -> None:
    untils = list[float]()

    class Noting(MemoryHistory):
        def steps(
            self, since: WallMs, until: WallMs, known: Mapping[Event, Event] = NO_EVENTS
        ) -> Iterator[RecordedStep]:
            untils.append((until - NOW) / 1000)
            return super().steps(since, until, known)

    life: Life = ((0, ()), (5, (2,)), (300_000, (2,)), (300_005, (1, 2)), (300_010, (1, 2)))
    async with lived(life, history=Noting()) as stage:
        await press(stage, "slash", *"env-1", "enter")
        await press(stage, EVENT_BACK)
        assert seconds(stage) == 300_005
        assert min(untils) > 150_000
        await press(stage, *[EVENT_BACK] * 4)
        assert seconds(stage) == 300_000, "the blind time is an event of the fleet"
        await press(stage, EVENT_BACK)
        assert stage.news == "no earlier event of the visible machines"
        assert min(untils) < 150_000


async def test_an_event_belongs_to_one_moment_after_a_new_estimate_of_the_servers_clock() -> None:
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
        await press(stage, "L")
        for key, at in ((EVENT_BACK, 9), (EVENT_BACK, 5), (EVENT_BACK, 5), (EVENT_FORWARD, 9), (EVENT_FORWARD, 9)):
            await press(stage, key)
            assert seconds(stage) == at
    async with replayed(recorded(estimated_anew(*each) for each in ESTIMATED_ANEW)) as stage:
        await press(stage, "p")
        for log in logs:
            assert len(stage.app.state.monitor.event_log) == len(log)
            await press(stage, FORWARD)


# Times.


async def test_a_time_is_gone_to_and_a_time_without_a_listing_is_named() -> None:
    async with lived((*LIFE, (3_600, ()), (3_605, ()))) as stage:
        for text, at, answer in (
            ("08:53:31", 10, ""),
            ("10m ago", 20, "nothing was recorded at 09:43:25"),
            ("yesterday 14:00", 0, "the history begins at 08:53:20"),
        ):
            await go_to(stage, text)
            assert (seconds(stage), is_rewound(stage)) == (at, True), text
            assert answer in stage.text
        await go_to(stage, "now")
        assert not is_rewound(stage)


# The screen of a moment.


# A single drawn example would press a single key.
@settings(max_examples=examples(16), deadline=None, phases=[Phase.explicit] if examples(16) == 1 else [*Phase])
@example([BACK, EVENT_BACK, EVENT_BACK, BACK, FORWARD, EVENT_FORWARD, EVENT_FORWARD, BACK, BACK, "L", EVENT_BACK])
@given(st.lists(st.sampled_from([BACK, BACK, FORWARD, EVENT_BACK, EVENT_FORWARD, "L"]), min_size=1, max_size=14))
def test_wherever_keys_lead_the_screen_has_the_moment_of_the_record(keys: list[str]) -> None:
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


async def test_pane_explanation_filter_log_and_baseline_are_of_the_moment() -> None:
    async with lived(size=(120, 40)) as stage:
        await press(stage, "slash", *"env-1", "enter", BACK)
        assert (stage.names, stage.matching) == ([], ["laptop of env-1"])
        assert " env-1 1/4 " in stage.lines[0]
        assert "1 match is above, among the losses that page" in stage.text
        await stage.press("x", "j")
        assert "OFF for 10s" in stage.text
        await stage.press("E")
        assert "08:53:35" in stage.text
        await stage.press("E", "escape", "m")
        assert "baseline marked" in stage.news
        await stage.press("e")
        assert "back online" not in stage.text
        for age in ("−5 s", "−65 s"):
            (title,) = (line for line in stage.lines if line.startswith(" events "))
            assert f" REWOUND 08:53:35 ({age}) " in title
            assert f" REWOUND 08:53:35 ({age}) " in stage.lines[0]
            assert "laptop of env-2" in now_line(stage)
            await stage.tick(60)
        await press(stage, "q", "L", "equals_sign")
        assert stage.matching == ["laptop of env-1"]


async def test_acknowledgements_copies_and_exports_are_of_the_moment(tmp_path: Path) -> None:
    written = list[bytes]()

    def export(data: bytes, suffix: str) -> Path:
        written.append(data)
        return tmp_path / f"x{suffix}"

    async with lived(export=export) as stage:
        await stage.press("a", *"disk", "enter")
        assert stage.news.startswith("acknowledged on this machine")
        await press(stage, BACK)
        assert "acknowledged on this machine" not in stage.text
        await show(stage, 25, 2)
        await show(stage, 30)
        await press(stage, FORWARD, FORWARD)
        assert [ack.note for ack in stage.app.state.monitor.acks.values()] == ["disk"]
        await press(stage, BACK)
        assert stage.app.state.monitor.acks == {}
        await press(stage, "c")
        assert stage.news == "sent to the clipboard, as of 08:53:40: laptop of env-2"
        await stage.press("ctrl+s", "enter")
        await until(stage, lambda: written and "exported" in stage.news)
        assert "4 machines, as of 08:53:40" in stage.news
        assert b"2025-10-09T08:53:40" in written[0]


async def test_a_wide_line_of_events_has_a_legend_and_the_help_the_whole_legend() -> None:
    async with lived(size=(200, 50)) as stage:
        await press(stage, BACK, BACK)
        for columns, legend in ((200, DAY_MEANINGS), (120, ["loss", "back", "blind", "mode"]), (80, [])):
            await stage.pilot.resize_terminal(columns, 50)
            await stage.turns()
            assert [meaning for meaning in DAY_MEANINGS if f" {meaning}" in day_line(stage)] == legend
        await stage.press("question_mark")
        (first,) = (place for place, line in enumerate(stage.lines) if line.startswith(" Past "))
        assert all(meaning in " ".join(stage.lines[first : first + 2]) for meaning in DAY_MEANINGS)


async def test_the_line_of_events_belongs_to_the_moment_after_a_read_of_another_day() -> None:
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


async def test_the_badge_stands_at_every_size_also_in_ascii() -> None:
    async with lived(ascii_only=True) as stage:
        await press(stage, BACK)
        assert "(-5 s)" in stage.lines[0]
        assert day_line(stage).isascii()
        await show(stage, 35, 3)
        assert now_line(stage).isascii()
        for size in ((40, 8), (60, 12), (200, 60), (80, 24)):
            await stage.pilot.resize_terminal(*size)
            await stage.pilot.pause()
            assert "REWOUND 08:53:35" in stage.lines[0], size
            assert size[0] > 40 or stage.lines[-1].startswith(" L Live ")
        for width, tag in ((46, " NEW "), (45, "")):
            await stage.pilot.resize_terminal(width, 24)
            await stage.pilot.pause()
            assert tag in now_line(stage)
            assert ("NEW" in now_line(stage)) == bool(tag)
            assert "laptop of env-3" in now_line(stage), "the name matters more than the tag"


# The present meanwhile.


async def test_a_terminal_that_is_too_small_hides_the_line_of_events_and_the_filter() -> None:
    async with lived() as stage:
        await press(stage, EVENT_BACK, "slash")
        for size in ((30, 9), (80, 7)):
            await stage.pilot.resize_terminal(*size)
            assert " ".join(stage.text.split()) == "too small: envwatch needs 40x8 cells"


async def test_the_present_goes_on_below_the_badge_and_changes_nothing_else() -> None:
    history = MemoryHistory()
    async with lived(history=history) as stage:
        await press(stage, BACK)

        def shown() -> list[str]:
            return [
                stage.lines[0].partition("REWOUND")[0].rstrip(),
                *stage.block,
                stage.rule,
                stage.titles,
                *stage.body,
            ]

        before = shown()
        for at, lost, newest in ((25, (0, 2), "env-0"), (30, (2,), "env-2"), (35, (2, 3), "env-3")):
            await show(stage, at, *lost)
            assert shown() == before
            assert stage.lines.index(now_line(stage)) == 1
            assert f"laptop of {newest} " in now_line(stage)
        await show(stage, 40)
        assert not now_line(stage)
        assert len(history.polls(*EVER)) == 9
        await press(stage, *[FORWARD] * 2)
        assert (seconds(stage), down(stage)) == (25, {"env-0", "env-2"})
        await press(stage, "L")
        assert (is_rewound(stage), down(stage)) == (False, set())
        assert not now_line(stage)


async def test_the_line_of_events_says_why_the_present_cannot_be_seen() -> None:
    async with lived() as stage:
        await press(stage, BACK)
        assert "live:" not in stage.text
        await stage.tick(61)
        assert day_line(stage).endswith("  live: blind ")
        await stage.take(failed(Cause.UNAUTHORIZED, stage.at))
        assert day_line(stage).endswith("  live: key refused ")
        await show(stage, 90)
        assert "live:" not in stage.text


async def test_the_bell_waits_for_the_present() -> None:
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


async def test_keys_of_the_present_do_nothing_in_the_past_also_in_one_packet() -> None:
    command = RowCommand(name="ssh", key="S", run=("true",), description="ssh")
    async with lived(commands=CommandSettings(commands={"ssh": command})) as stage:
        before = stage.poller.schedule
        for keys, answer in (("aMS", NOT_NOW), (("p", "r", "plus", "minus"), POLLS_GO_ON)):
            for key in keys:
                await press(stage, BACK, key)
                assert (stage.news, is_rewound(stage)) == (answer, True), key
                assert isinstance(stage.app.screen, Dashboard)
            await press(stage, "L")
        assert stage.poller.schedule == before
        await press(stage, "S")
        assert "needs a terminal" in stage.news


HOME: Final = clean("home")
WORK: Final = clean("work")


@asynccontextmanager
async def five_polls_of_two_profiles() -> AsyncIterator[Stage]:
    """After 5 s a row of `home` is lost, after 7 s one of `work`; at 9 s `home` is whole again."""
    pasts = {HOME: MemoryHistory(HOME), WORK: MemoryHistory(WORK)}

    def record(*arguments: Any) -> None:
        for past in pasts.values():
            past.record(*arguments)

    polls: list[tuple[int, SafeText, tuple[int, ...]]]
    polls = [(0, HOME, ()), (2, WORK, ()), (5, HOME, (0,)), (7, WORK, (1,)), (9, HOME, ())]
    async with staged((120, 24), profiles=(HOME, WORK), pasts=pasts, record=record) as stage:
        for at, profile, lost in polls:
            await stage.tick(at - stage.now)
            await stage.show(rows(stage.at, *lost, count=2), profile)
        yield stage


async def test_each_profile_shows_its_last_poll_at_a_moment() -> None:
    async with five_polls_of_two_profiles() as stage:
        await press(stage, BACK)
        assert down_keys(stage) == {("home", "env-0"), ("work", "env-1")}
        await press(stage, BACK)
        assert down_keys(stage) == {("home", "env-0")}
        await press(stage, BACK, BACK)
        assert seconds(stage) == 0
        assert stage.app.state.monitor.fleet.unlisted == (WORK,)
        assert "no data yet work" in stage.lines[0]
        await press(stage, EVENT_FORWARD)
        assert seconds(stage) == 5
        assert stage.news.startswith("home laptop of env-0 went offline")
        await press(stage, EVENT_FORWARD)
        assert seconds(stage) == 7
        assert stage.news.startswith("work laptop of env-1 went offline"), "one id in both profiles is no pair of twins"


async def test_a_profile_chosen_in_the_past_shows_the_recorded_rows_of_the_profile_and_says_so() -> None:
    async with five_polls_of_two_profiles() as stage:
        await press(stage, BACK)
        await stage.type(":profile work")
        await press(stage, "enter")
        assert is_rewound(stage)
        assert seconds(stage) == 7
        assert " profile:work 2/4 " in stage.lines[0]
        assert {tracked.key for tracked in stage.table.rows} == {("work", "env-0")}
        assert down_keys(stage) == {("home", "env-0"), ("work", "env-1")}, "the filter hides no loss"
        await press(stage, BACK)
        assert {tracked.key for tracked in stage.table.rows} == {("work", "env-0"), ("work", "env-1")}
        await press(stage, "L")
        assert not is_rewound(stage)
        assert " profile:work 2/4 " in stage.lines[0]


# A replay: the dashboard on a recording alone.


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


async def test_a_replay_goes_on_from_the_moment_of_a_pause_or_of_a_key() -> None:
    async with replayed() as stage:
        await press(stage, "p")
        assert stage.news == "paused: p goes on"
        assert "p Play" in stage.lines[-1]
        await pass_on(stage, 60)
        assert seconds(stage) == 0
        await press(stage, "p")
        assert "p Pause" in stage.lines[-1]
        await pass_on(stage, 0)
        await pass_on(stage, 6)
        assert seconds(stage) == 5
        await press(stage, FORWARD)
        await pass_on(stage, 0)
        await pass_on(stage, 5)
        assert seconds(stage) == 15
        for key, at in ((BACK, 10), (EVENT_FORWARD, 15), ("L", 20)):
            await press(stage, key)
            assert seconds(stage) == at
        await press(stage, FORWARD)
        assert stage.news == "the recording ends at 2025-10-09 08:53:40"
        await press(stage, *[BACK] * 5)
        assert stage.news == "the history begins at 2025-10-09 08:53:20"


async def test_a_replay_skips_gaps() -> None:
    async with replayed(recording(((0, ()), (5, ()), (7_200, (1,)), (7_205, ())))) as stage:
        for after, at in ((0, 0), (5, 5), (4.9, 5), (0.1, 7_200), (5, 7_205)):
            await pass_on(stage, after)
            assert seconds(stage) == at


async def test_a_waiting_replay_refuses_the_keys_of_the_present_and_stays_open() -> None:
    async with replayed(at=WallMs(NOW + 11_000), plays=False) as stage:
        assert " PAUSED " in stage.lines[0]
        for keys, text in ((("r", "plus", "minus"), REPLAY_POLLS_NOTHING), ("aM", REPLAYED)):
            for key in keys:
                await press(stage, key)
                assert stage.news == text, key
                await pass_on(stage, 6)
        assert seconds(stage) == 10
        await press(stage, "escape")
        assert "nothing to leave here" in stage.news


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


async def test_an_empty_recording_and_an_unreadable_recording_say_so() -> None:
    class Damaged(MemoryHistory):
        def polls(self, *_: WallMs) -> Sequence[RecordedPoll]:
            raise HistoryError("the file is from a newer version")

    async with replayed(MemoryHistory(), 0) as stage:
        await until(stage, lambda: stage.news == EMPTY_RECORDING)
        await pass_on(stage, 5)
        assert "No answer yet at this moment." in stage.text
        await press(stage, BACK, "p", "L")
    async with replayed(Damaged(), 0) as stage:
        await until(stage, lambda: stage.news == "cannot read the recording: the file is from a newer version")
