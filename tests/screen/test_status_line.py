"""The status line and the news bar: what fits, the keys of polling and their answers, and failures."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
from support.app_harness import staged, target_of
from support.builders import NOW, beating, failed
from support.fake_clock import Answer, Script, World, error, outcomes_of, poller_of, walk
from textual.app import App

from envwatch.fleet.events import NO_PROFILE
from envwatch.model.outcome import Cause
from envwatch.model.text import clean
from envwatch.screen.widgets.line import TextLine
from envwatch.screen.widgets.news_bar import NewsBar
from envwatch.views.fitting import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.app_harness import Stage
    from textual.app import ComposeResult
    from textual.strip import Strip

    from envwatch.letta.poller import Poller
    from envwatch.views.fitting import Row


ASKED_TO_WAIT = error(Cause.RATE_LIMITED, timedelta(seconds=600))


async def poller_after(world: World, answer: Answer, takes: float = 0.0) -> Poller:
    poller = poller_of(world, Script(world, answer, takes=takes))
    await outcomes_of(poller, 1)
    return poller


async def give(stage: Stage, poller: Poller) -> None:
    """Let the polling keys act on another poller, and clear the last answer."""
    stage.watch.targets = {NO_PROFILE: target_of(poller)}
    stage.app.answer("")
    await stage.pilot.pause()
    assert stage.news == ""


STEPS = [
    (1, 0.0, "+", 10, "polling every 10s"),
    (1, 0.0, "--", 1, "polling every 1s"),
    (1, 0.0, "----", 1, "polling every 1s"),
    (1, 0.0, "+" * 9, 600, "polling every 10m"),
    (5, 0.0, "-", 2, "polling every 5s: the request budget allows no more"),
    (12, 0.0, "-", 2, "polling every 12s: the request budget allows no more"),
    (12, 0.0, "+", 15, "polling every 15s"),
    (12, 0.0, "+-", 10, "polling every 12s: the request budget allows no more"),
    (12, 0.0, "-+", 15, "polling every 15s"),
    (700, 0.0, "+", 5, "polling every 11m 40s: the request budget allows no more"),
    (1, 5.0, "+-", 5, "polling every 5s"),
    (1, 5.5, "-", 2, "polling every 6s: a poll takes 6s"),
    (1, 5.5, "+", 15, "polling every 15s"),
]
"""Pages of a listing, seconds of a listing, keys, seconds of the wanted interval, and the answer."""


async def test_minus_steps_from_the_wanted_interval_and_plus_from_the_interval_in_force() -> None:
    async with staged() as stage:
        for pages, takes, keys, wanted, message in STEPS:
            poller = await poller_after(World(), walk(pages), takes)
            await give(stage, poller)
            await stage.type(keys)
            assert poller.limits.interval.total_seconds() == wanted, (pages, takes, keys)
            assert stage.news == message, (pages, takes, keys)


async def test_little_room_drops_the_budget_first_then_the_interval() -> None:
    async with staged((64, 24), poller=await poller_after(World(), walk(60))) as stage:
        await stage.show(beating(3))
        for width, shown in ((64, "live 0s/60s  60 pages at 60/min"), (63, "live 0s/60s  60 pages")):
            await stage.pilot.resize_terminal(width, 24)
            assert stage.lines[0].rstrip().endswith(f"  {shown}"), width
    async with staged((50, 24)) as stage:
        await stage.show(beating(99))
        await stage.tick(2)
        for width, shown in ((50, "live 2s/5s"), (40, "live 2s")):
            await stage.pilot.resize_terminal(width, 24)
            assert stage.lines[0].rstrip().endswith(f" {shown}"), width


async def test_after_polling_less_often_a_fleet_is_blind_after_three_of_the_new_intervals() -> None:
    async with staged() as stage:
        await stage.show(beating(1))
        await stage.type("+++++")
        assert stage.news == "polling every 2m"
        for age, shown in ((73, "live 73s"), (360, "live 6m"), (360.001, " BLIND 6m ")):
            await stage.tick(age - stage.now)
            assert stage.now == age
            assert shown in stage.lines[0], age


async def test_while_paused_no_data_is_live_and_no_interval_is_shown() -> None:
    async with staged() as stage:
        await stage.show(beating(1))
        await stage.press("p")
        await stage.tick(2)
        assert stage.lines[0].rstrip().endswith("  PAUSED   as of 2s ago")
        await stage.tick(20)
        assert stage.lines[0].rstrip().endswith("  PAUSED    DATA ? stale 22s")
        await stage.press("p")
        assert stage.lines[0].rstrip().endswith("  DATA ? stale 22s   every 5s")


async def test_a_pause_can_be_undone_during_a_poll() -> None:
    """The harness's poller polls from the start and gets no answer."""
    async with staged() as stage:
        await stage.show(beating(1))
        for message, has_badge in (("paused: p goes on", True), ("polling again", False), ("paused: p goes on", True)):
            await stage.press("p")
            assert stage.poller.schedule.is_polling
            assert stage.news.startswith(message)
            assert (" PAUSED " in stage.lines[0]) is has_badge


REFRESHES: list[tuple[Answer, float, str]] = [
    (walk(), 0.1, "polling now"),
    (walk(), 4, "polling now"),
    (walk(90), 0.1, "polling now"),
    (walk(90), 11, "polling now"),
    (ASKED_TO_WAIT, 48, "the server asked to wait: 9m 12s left"),
    (ASKED_TO_WAIT, 599.9, "the server asked to wait: 1s left"),
    (ASKED_TO_WAIT, 600, "polling now"),
]


async def test_refresh_answers_when_the_poll_happens() -> None:
    async with staged() as stage:
        for answer, now, message in REFRESHES:
            await give(stage, await poller_after(world := World(), answer))
            world.now = now
            await stage.press("r")
            assert stage.news == message, (message, now)


async def test_a_second_refresh_names_the_time_of_the_request_budget() -> None:
    poller = poller_of(world := World(), Script(world, walk(990)))
    world.schedule(2, poller.refresh)
    await outcomes_of(poller, 2)
    async with staged(poller=poller) as stage:
        await stage.press("r")
        assert stage.news == "polling in 32m 58s: the request budget allows no sooner"


TRIES = [
    (Cause.UNAUTHORIZED, 0, "next try in 30s, r tries now"),
    (Cause.UNAUTHORIZED, 29.5, "next try in 1s, r tries now"),
    (Cause.FORBIDDEN, 0, "next try in 15m, r tries now"),
    (Cause.FORBIDDEN, 48, "next try in 14m 12s, r tries now"),
    (Cause.SERVER, 0, "next try in 1s, r tries now"),
    (Cause.ENDLESS, 0, "next try in 1m, r tries now"),
]


async def test_the_news_bar_shows_the_next_try_after_a_failure() -> None:
    async with staged() as stage:
        for cause, passed, message in TRIES:
            world = World()
            world.now = stage.now
            answer = error(cause, pages_read=1_980 if cause is Cause.ENDLESS else 0)
            poller = await poller_after(world, answer)
            stage.watch.targets = {NO_PROFILE: target_of(poller)}
            await stage.take(failed(cause, stage.at))
            world.now += passed
            await stage.tick(passed)
            assert stage.news.endswith(f"  {message}"), (cause, passed)


@pytest.mark.parametrize(
    ("cause", "end"),
    [(Cause.UNAUTHORIZED, "key refused a new key needs a restart"), (Cause.SERVER, "next try in 30s, r tries now")],
)
async def test_a_refused_key_in_a_variable_needs_a_restart(cause: Cause, end: str) -> None:
    poller = await poller_after(World(), error(Cause.UNAUTHORIZED))
    target = target_of(poller)._replace(new_key_by="set LETTA_API_KEY")
    async with staged(targets={NO_PROFILE: target}) as stage:
        await stage.show(beating(3))
        await stage.take(failed(cause, stage.at))
        assert " ".join(stage.news.split()).endswith(end)


def news_lines(stage: Stage) -> list[str]:
    region = stage.app.dashboard.query_one(NewsBar).region
    return [line.strip() for line in stage.lines[region.y : region.bottom]]


async def test_a_failure_breaks_at_the_same_word_at_every_second_before_the_next_try() -> None:
    """The countdown shortens, from `next try in 9m 59s` to `next try in 9s`, and the table keeps the height."""
    poller = await poller_after(world := World(), ASKED_TO_WAIT)
    async with staged(poller=poller) as stage:
        await stage.show(beating(30))
        for length in (43, 70):
            failure = failed(Cause.RATE_LIMITED, stage.at)
            await stage.take(replace(failure, message=clean(("word " * 20)[:length])))
            drawn = {}
            for left in (600, 599, 540, 61, 60, 59, 10, 9, 0):
                world.now = 600.0 - left
                await stage.tick(0.5)
                drawn[left] = re.sub(r" +next try in .*", "", "\n".join(news_lines(stage)))
            assert len(set(drawn.values())) == 1, drawn


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        ("127.0.0.1:8283 answered 502", ["127.0.0.1:8283 answered 502", "next try in 30s, r tries now"]),
        ("no answer within 10 s from api.letta.com", ["no answer within 10 s from api.letta.com", "next try in 30s"]),
    ],
)
async def test_a_failure_with_room_for_the_next_try_takes_one_line(message: str, lines: list[str]) -> None:
    poller = await poller_after(World(), error(Cause.UNAUTHORIZED))
    async with staged(poller=poller) as stage:
        await stage.show(beating(30))
        await stage.take(replace(failed(Cause.UNAUTHORIZED, stage.at), message=clean(message)))
        assert [re.split("  +", line) for line in news_lines(stage)] == [[f"key refused: {lines[0]}", lines[1]]]


async def test_a_failure_without_room_for_the_next_try_fills_its_line_before() -> None:
    acme, bolt = clean("acme"), clean("bolt")
    poller = await poller_after(World(), error(Cause.UNAUTHORIZED))
    async with staged((60, 15), profiles=(acme, bolt), poller=poller) as stage:
        await stage.show(beating(30), bolt)
        message = clean("127.0.0.1:39781 answered 401: Unauthorized")
        await stage.take(replace(failed(Cause.UNAUTHORIZED, stage.at), message=message), acme)
        first, second = news_lines(stage)
        assert first == "acme: key refused: 127.0.0.1:39781 answered 401:"
        assert re.fullmatch("Unauthorized +next try in 30s, r tries now", second)


async def test_a_failure_of_two_lines_is_drawn_in_both_at_once() -> None:
    """Until then a repaint, such as after a resize, draws the previous line."""
    async with staged((60, 15)) as stage:
        await stage.show(beating(30))
        before = news_lines(stage)
        failure = replace(failed(Cause.SERVER, stage.at), message=clean("word " * 12 + "END"))
        monitor, _ = stage.app.state.monitor.apply(NO_PROFILE, failure, stage.clocks())
        stage.app.state = replace(stage.app.state, monitor=monitor)
        assert news_lines(stage) == before
        await stage.take(failure)
        first, second = news_lines(stage)
        assert first.startswith("server error: word word")
        assert re.search("word END +trying$", second)


async def test_a_server_with_a_wait_does_not_delay_the_others() -> None:
    acme, bolt = clean("acme"), clean("bolt")
    waiting, ready = await poller_after(World(), ASKED_TO_WAIT), await poller_after(World(), walk())
    async with staged(profiles=(acme, bolt)) as stage:
        stage.watch.targets = {acme: target_of(waiting, acme), bolt: target_of(ready, bolt)}
        await stage.press("r")
        assert stage.news == "acme: the server asked to wait: 10m left; polling the others"
        stage.watch.targets = {acme: target_of(waiting, acme), bolt: target_of(waiting, bolt)}
        await stage.press("r")
        assert stage.news == "acme, bolt: the server asked to wait: 10m left"


async def test_a_narrow_line_drops_the_modes_before_what_is_acknowledged_and_that_before_what_pages() -> None:
    lost: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None}
    off = [*beating(1, **lost, lastSeenAt=NOW - 60_000), *beating(2, **lost, lastSeenAt=NOW - 600_000)[1:]]
    up = [replace(row, id=clean(f"{row.id}-up")) for row in beating(2, currentMode="unrestricted")]
    async with staged((80, 24)) as stage:
        await stage.show([*off, *up])
        stage.go_to("env-1")
        await stage.press("a", "enter")
        seen = []
        for width in range(100, 39, -1):
            await stage.pilot.resize_terminal(width, 24)
            seen.append([text for text in ("○ 1", "1 acked", "2 unrestricted") if text in stage.lines[0]])
        wide, narrow, narrowest = (width for width, _ in groupby(seen))
        assert (wide, narrow, narrowest) == (["○ 1", "1 acked", "2 unrestricted"], ["○ 1", "1 acked"], ["○ 1"])


async def test_the_counts_keep_their_words_longer_than_the_modes() -> None:
    lost: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None}
    off = beating(2, **lost, lastSeenAt=NOW - 60_000)
    up = [replace(row, id=clean(f"{row.id}-up")) for row in beating(12, currentMode="unrestricted")]
    async with staged((80, 24)) as stage:
        await stage.show([*off, *up])
        for width in range(100, 50, -1):
            await stage.pilot.resize_terminal(width, 24)
            assert "○ 2 page  ● 12 on" in stage.lines[0], width


class Lines(TextLine):
    DEFAULT_CSS = "Lines { height: 3; }"

    def __init__(self) -> None:
        super().__init__()
        self.texts = ["a", "b", "c"]
        self.drawn: list[int] = []

    def rows(self) -> Sequence[Row]:
        return [([Part(text)], []) for text in self.texts]

    def render_line(self, y: int) -> Strip:
        self.drawn.append(y)
        return super().render_line(y)


class LinesApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Lines()


async def test_only_changed_lines_are_drawn_anew() -> None:
    async with LinesApp().run_test(size=(20, 5)) as pilot:
        lines = pilot.app.query_one(Lines)
        for texts, drawn in ((["a", "B", "c"], [1]), (["a", "B", "c"], []), (["a", "B"], [0, 1, 2])):
            lines.drawn.clear()
            lines.texts = texts
            lines.refresh_if_changed()
            await pilot.pause()
            assert lines.drawn == drawn
            shown = ["".join(segment.text for segment in lines.render_line(y)).strip() for y in range(len(texts))]
            assert shown == texts
