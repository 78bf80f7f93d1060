"""The origin of a recording, unreadable records, and a past as steps: polls with events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW
from support.lives import plain_life
from support.recording import ALWAYS, DAY

from envwatch.fleet.events import Event, Kind
from envwatch.history.past import About, LeftOut, RecordedStep, left_out_of
from envwatch.history.stored import Retention, StoredPast
from envwatch.history.writer import FolderWriter
from envwatch.model.clock import Clocks, ServerMs, WallMs
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.text import clean
from envwatch.model.times import date_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


MIDNIGHT = 1_760_054_400_000.0
"""2025-10-10 00:00 UTC."""
HOUR = 3_600_000.0
DAMAGED = clean("damaged")


def about(*, base_url: str = "https://letta.example", is_redacted: bool = False) -> About:
    return About(profile=clean("prod"), base_url=clean(base_url), version=clean("1.2"), is_redacted=is_redacted)


@pytest.mark.parametrize("is_redacted", [False, True])
def test_the_rows_of_an_origin_give_the_origin(*, is_redacted: bool) -> None:
    assert About.from_rows(about(is_redacted=is_redacted).rows()) == about(is_redacted=is_redacted)


@pytest.mark.parametrize(
    ("rows", "base_url", "version"),
    [
        ({"host": "letta.example", "envwatch": "1.1"}, "https://letta.example", "1.1"),
        ({"base_url": "http://own:8283", "host": "letta.example"}, "http://own:8283", ""),
        ({"version": 2, "envwatch": "1.1"}, "https://", "2"),
    ],
)
def test_a_copied_day_file_has_its_own_host_and_version(
    rows: Mapping[str, object], base_url: str, version: str
) -> None:
    found = About.from_rows(rows)
    assert (found.base_url, found.version, found.profile, found.is_redacted) == (base_url, version, "", False)


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("https://letta.example", "letta.example"),
        ("http://localhost:8283/v1/environments", "localhost:8283"),
        ("letta.example", ""),
    ],
)
def test_the_host_is_the_part_of_the_base_url_with_the_port(base_url: str, host: str) -> None:
    assert about(base_url=base_url).host == host


@pytest.mark.parametrize(
    ("left_out", "text"),
    [
        (LeftOut("poll", MIDNIGHT, MIDNIGHT, DAMAGED, 1), "1 poll at <0> is left out"),
        (LeftOut("event", MIDNIGHT, MIDNIGHT + 1_000, DAMAGED, 1), "1 event from <0> to <1000> is left out"),
        (LeftOut("poll", MIDNIGHT, MIDNIGHT + DAY, DAMAGED, 2), f"2 polls from <0> to <{DAY:.0f}> are left out"),
        (LeftOut("event", MIDNIGHT, MIDNIGHT, DAMAGED, 0), "0 events at <0> are left out"),
        (LeftOut("history", MIDNIGHT, MIDNIGHT + DAY, DAMAGED), "the history of 2025-10-10 is left out"),
        (
            LeftOut("history", MIDNIGHT, MIDNIGHT + DAY - 1, DAMAGED),
            f"the history from <0> to <{DAY - 1:.0f}> is left out",
        ),
        (
            LeftOut("history", MIDNIGHT + HOUR, MIDNIGHT + HOUR + DAY, DAMAGED),
            f"the history from <{HOUR:.0f}> to <{DAY + HOUR:.0f}> is left out",
        ),
        (LeftOut("history", MIDNIGHT, MIDNIGHT, DAMAGED), "the history at <0> is left out"),
        (LeftOut("history", 1e17, 1e17 + DAY, DAMAGED), "the history at – is left out"),
    ],
)
def test_left_out_records_are_told_with_their_number_and_time(left_out: LeftOut, text: str) -> None:
    assert left_out.text() == re.sub("<([0-9]+)>", lambda ms: date_text(MIDNIGHT + float(ms[1]), None), text)


def recorded_poll(number: int) -> RecordedPoll:
    return RecordedPoll(number, WallMs(number), PollResult.LISTED, 1, 5.0)


def step(at: float, poll: RecordedPoll | None = None, left_out: LeftOut | None = None) -> RecordedStep:
    event = Event(kind=Kind.OFFLINE, at=ServerMs(at), id=clean("env-1"))
    return RecordedStep(WallMs(at), poll, [event], left_out)


def test_a_step_without_a_readable_poll_has_the_events_and_tells_of_one_poll() -> None:
    whole = step(7, recorded_poll(7))
    assert whole.without_poll(DAMAGED) == step(7, None, LeftOut("poll", 7, 7, DAMAGED, 1))


def lost_poll(at: float, until: float | None = None) -> RecordedStep:
    return step(at, None, LeftOut("poll", at, at if until is None else until, clean(f"lost at {at:.0f}"), 1))


def lost_time(since: float, until: float) -> RecordedStep:
    return step(since, None, LeftOut("history", since, until, DAMAGED))


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([], []),
        ([step(1, recorded_poll(1)), step(2)], []),
        ([lost_poll(1)], [("poll", 1, 1, 1, "lost at 1")]),
        ([lost_poll(1), lost_poll(2), step(3), lost_poll(4)], [("poll", 1, 4, 3, "lost at 1")]),
        (
            [lost_poll(1), lost_poll(2), step(3, recorded_poll(3)), lost_poll(4)],
            [("poll", 1, 2, 2, "lost at 1"), ("poll", 4, 4, 1, "lost at 4")],
        ),
        ([lost_poll(5, 9), lost_poll(2)], [("poll", 2, 9, 2, "lost at 5")]),
        (
            [lost_time(6, 8), lost_time(1, 4), lost_poll(2), lost_time(3, 5)],
            [
                ("history", 1, 4, None, "damaged"),
                ("poll", 2, 2, 1, "lost at 2"),
                ("history", 3, 5, None, "damaged"),
                ("history", 6, 8, None, "damaged"),
            ],
        ),
    ],
)
def test_unreadable_polls_without_a_readable_poll_in_between_are_one_entry(
    steps: list[RecordedStep], found: list[tuple[str, float, float, int | None, str]]
) -> None:
    assert [(each.what, each.since, each.until, each.count, each.reason) for each in left_out_of(steps)] == found


def test_steps_are_polls_with_their_events_and_events_of_time_alone(tmp_path: Path) -> None:
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
