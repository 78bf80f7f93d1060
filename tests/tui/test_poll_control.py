"""The polling keys: effects on the poller, and the answer in the news bar."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.app_harness import staged, target_of
from support.builders import beating, failed
from support.fake_clock import Answer, Script, World, error, outcomes_of, poller_of, walk

from envwatch.fleet.events import NO_PROFILE
from envwatch.model.outcome import Cause
from envwatch.model.text import clean
from envwatch.tui.widgets.news_bar import NewsBar

if TYPE_CHECKING:
    from support.app_harness import Stage

    from envwatch.sources.poller import Poller

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
    (1, "+", 10, "polling every 10s"),
    (1, "--", 1, "polling every 1s"),
    (1, "----", 1, "polling every 1s"),
    (1, "+" * 9, 600, "polling every 10m"),
    (5, "-", 2, "polling every 5s: the request budget allows no more"),
    (12, "-", 2, "polling every 12s: the request budget allows no more"),
    (12, "+", 15, "polling every 15s"),
    (12, "+-", 10, "polling every 12s: the request budget allows no more"),
    (12, "-+", 15, "polling every 15s"),
    (700, "+", 5, "polling every 11m 40s: the request budget allows no more"),
]


async def test_minus_steps_from_the_wanted_interval_and_plus_from_the_one_in_force() -> None:
    async with staged() as stage:
        for pages, keys, wanted, message in STEPS:
            poller = await poller_after(World(), walk(pages))
            await give(stage, poller)
            await stage.type(keys)
            assert poller.limits.interval.total_seconds() == wanted, (pages, keys)
            assert stage.news == message, (pages, keys)


async def test_a_slow_listing_is_the_reason_why_polls_come_no_more_often() -> None:
    async with staged() as stage:
        for takes, keys, message in (
            (5, "+-", "polling every 5s"),
            (5.5, "-", "polling every 6s: a listing takes 6s"),
            (5.5, "+", "polling every 15s"),
        ):
            await give(stage, await poller_after(World(), walk(), takes))
            await stage.type(keys)
            assert stage.news == message, (takes, keys)


@pytest.mark.parametrize(
    ("width", "shown"),
    [(61, "live 0s/60s  60 pages at 60/min"), (60, "live 0s/60s  60 pages"), (51, "live 0s/60s  60 pages")],
)
async def test_the_reason_for_slow_polls_loses_the_budget_first(width: int, shown: str) -> None:
    async with staged((width, 24), poller=await poller_after(World(), walk(60))) as stage:
        await stage.show(beating(3))
        assert stage.lines[0].rstrip().endswith(f"  {shown}")


async def test_after_polling_less_often_a_fleet_is_blind_after_three_of_the_new_intervals() -> None:
    async with staged() as stage:
        await stage.show(beating(1))
        await stage.type("+++++")
        assert stage.news == "polling every 2m"
        for age, shown in ((73, "live 73s"), (360, "live 6m"), (360.001, " BLIND 6m ")):
            await stage.tick(age - stage.now)
            assert stage.now == age
            assert shown in stage.lines[0], age


@pytest.mark.parametrize(
    ("rows", "widths"), [(1, {80: "live 2s/5s"}), (99, {50: "live 2s/5s", 40: "live 2s"})], ids=["one", "many"]
)
async def test_the_interval_follows_the_age_of_the_data_and_is_dropped_first_in_little_room(
    rows: int, widths: dict[int, str]
) -> None:
    async with staged((next(iter(widths)), 24)) as stage:
        await stage.show(beating(rows))
        await stage.tick(2)
        for width, shown in widths.items():
            await stage.pilot.resize_terminal(width, 24)
            assert stage.lines[0].rstrip().endswith(f" {shown}"), width


async def test_while_paused_no_data_is_live_and_no_interval_is_shown() -> None:
    async with staged() as stage:
        await stage.show(beating(1))
        await stage.press("p")
        await stage.tick(2)
        assert stage.lines[0].rstrip().endswith("  PAUSED   as of 2s ago")
        await stage.tick(20)
        assert stage.lines[0].rstrip().endswith("  PAUSED    STALE 22s")
        await stage.press("p")
        assert stage.lines[0].rstrip().endswith("  STALE 22s   every 5s")


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


async def test_a_second_refresh_answers_when_the_request_budget_allows_it() -> None:
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


def news_lines(stage: Stage) -> list[str]:
    region = stage.app.dashboard.query_one(NewsBar).region
    return [line.strip() for line in stage.lines[region.y : region.bottom]]


@pytest.mark.parametrize("length", [43, 48, 70])
async def test_a_failure_breaks_at_the_same_word_at_every_second_before_the_next_try(length: int) -> None:
    """The countdown shortens, from `next try in 9m 59s` to `next try in 9s`, and the table keeps the height."""
    message = clean(("word " * 20)[:length])
    poller = await poller_after(world := World(), ASKED_TO_WAIT)
    async with staged(poller=poller) as stage:
        await stage.show(beating(30))
        await stage.take(replace(failed(Cause.RATE_LIMITED, stage.at), message=message))
        drawn = {}
        for left in (600, 599, 540, 61, 60, 59, 10, 9, 0):
            world.now = 600.0 - left
            await stage.tick(world.now - stage.now)
            drawn[left] = re.sub(r" +next try in .*", "", "\n".join(news_lines(stage)))
        assert len(set(drawn.values())) == 1, drawn


async def test_a_failure_is_readable_from_its_first_word_where_the_next_try_leaves_no_room_for_it() -> None:
    acme, bolt = clean("acme"), clean("bolt")
    poller = await poller_after(World(), error(Cause.UNAUTHORIZED))
    async with staged((60, 15), profiles=(acme, bolt), poller=poller) as stage:
        await stage.show(beating(30), bolt)
        message = clean("127.0.0.1:39781 answered 401: Unauthorized")
        await stage.take(replace(failed(Cause.UNAUTHORIZED, stage.at), message=message), acme)
        first, second = news_lines(stage)
        assert re.fullmatch("acme: key refused: +next try in 30s, r tries now", first)
        assert second == message


async def test_a_failure_that_needs_two_lines_is_drawn_once_it_has_both() -> None:
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
        assert second.endswith("word END")


async def test_a_server_that_asked_to_wait_does_not_delay_the_others() -> None:
    acme, bolt = clean("acme"), clean("bolt")
    waiting, ready = await poller_after(World(), ASKED_TO_WAIT), await poller_after(World(), walk())
    async with staged(profiles=(acme, bolt)) as stage:
        stage.watch.targets = {acme: target_of(waiting, acme), bolt: target_of(ready, bolt)}
        await stage.press("r")
        assert stage.news == "acme: the server asked to wait: 10m left; polling the others"
        stage.watch.targets = {acme: target_of(waiting, acme), bolt: target_of(waiting, bolt)}
        await stage.press("r")
        assert stage.news == "acme, bolt: the server asked to wait: 10m left"
