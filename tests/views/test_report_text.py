"""The forms of a report: Markdown that acts nowhere, times in a zone, and JSON."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lives import Life
from support.markdown import HOSTILE, assert_is_harmless
from support.night import HOUR_MS, ZONE
from support.reports import names, told

from envwatch.history.past import LeftOut
from envwatch.model.clock import WallMs
from envwatch.model.outcome import RecordedPoll
from envwatch.model.text import clean
from envwatch.views.report.document import ReportClock, code, code_note, code_text, json_of, listed, markdown_of
from envwatch.views.report.period import Recorded
from envwatch.views.report.sections import report_of

# Markdown.


@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=90), st.text("@`<>|:/a \\*_", max_size=90)))
def test_nothing_acts_in_the_code_span_of_any_text(text: str) -> None:
    for form in (code, code_text):
        span = form(clean(text))
        assert re.fullmatch(r"`[^`\n]+`", span)
        assert span[1] != " " != span[-2]
        assert_is_harmless(span)
    assert not re.search(r"[`<>|]|(?<![0-9A-Za-z])@", code_note(clean(text))[1:-1])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hiro@laptop", "`hiro@laptop`"),
        ("@channel", "`(at)channel`"),
        ("a`b", "`a'b`"),
        ("https://x.example", "`https[:]//x.example`"),
        ("", "`–`"),
        ("x" * 40, f"`{'x' * 40}`"),
        ("x" * 41, f"`{'x' * 32}…{'x' * 7}`"),
    ],
)
def test_a_name_is_a_code_span(text: str, shown: str) -> None:
    assert code(clean(text)) == shown


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "a"), (2, "a and b"), (3, "a, b and c"), (4, "a, b and 2 more"), (1_002, "a, b and 1,000 more")],
)
def test_a_list_in_a_sentence_names_one_more_than_the_limit(count: int, text: str) -> None:
    assert listed([*"abc", *"x" * 999][:count], 2) == text


# Times.


def instant(text: str, zone: tzinfo = ZONE) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000


@pytest.mark.parametrize(
    ("since", "until", "zone", "headline"),
    [
        ("2026-11-24 22:00", "2026-11-25 06:00", ZONE, "Tue 24 Nov 2026 22:00 to Wed 25 Nov 2026 06:00 (8h)"),
        ("2026-11-24 05:00", "2026-11-25 06:00", ZONE, "Tue 24 Nov 2026 05:00 to Wed 25 Nov 2026 06:00 (1d 1h)"),
        ("2026-10-24 22:00", "2026-10-25 05:00", ZONE, "Sat 24 Oct 2026 22:00 UTC+02 to Sun 25 Oct 2026 05:00 (8h)"),
        ("2026-12-31 02:00", "2026-12-31 10:00", ZONE, "Thu 31 Dec 2026 02:00 to 10:00 (8h)"),
        ("2026-12-31 02:00", "2026-12-31 10:00", ZoneInfo("UTC"), "Thu 31 Dec 2026 02:00 to 10:00 (8h)"),
        ("2026-12-31 02:00", "2026-12-31 10:00", ZoneInfo("Asia/Kathmandu"), "Thu 31 Dec 2026 02:00 to 10:00 (8h)"),
    ],
)
def test_the_headline_has_the_dates_and_the_zone_once(since: str, until: str, zone: ZoneInfo, headline: str) -> None:
    zones = {"UTC": "UTC", "Asia/Kathmandu": "UTC+05:45"}
    clock = ReportClock(instant(since, zone), instant(until, zone), zone)
    assert clock.headline == f"{headline}, times in {zones.get(zone.key, 'UTC+01')}"


@pytest.mark.parametrize(("minute", "text"), [(59, "02:59 UTC+02"), (60, "02:00")])
def test_a_time_before_the_clocks_change_has_its_zone(minute: int, text: str) -> None:
    two_oclock = datetime(2026, 10, 25, 0, 0, tzinfo=UTC).timestamp() * 1000
    clock = ReportClock(two_oclock - HOUR_MS, two_oclock + 4 * HOUR_MS, ZONE)
    assert clock.text(two_oclock + minute * 60_000) == text


@pytest.mark.parametrize(
    ("minutes", "period_h", "text"),
    [
        (24 * 60 - 1, 24, "22:01"),
        (24 * 60, 24, "Mon 23 Nov 22:00"),
        (60, 24, "21:00"),
        (60, 24.1, "Tue 24 Nov 21:00"),
        (-1, 24, "Tue 24 Nov 22:01"),
    ],
)
def test_a_time_of_day_stands_alone_within_a_day_before_the_end(minutes: int, period_h: float, text: str) -> None:
    end = datetime(2026, 11, 24, 22, 0, tzinfo=ZONE).timestamp() * 1000
    assert ReportClock(end - period_h * HOUR_MS, end, ZONE).text(end - minutes * 60_000) == text


# JSON.


def test_the_json_is_indented_by_two_spaces_and_has_a_version() -> None:
    assert json_of([], since="2026-11-24T21:00:00.000Z", filter=None) == (
        b'{\n  "version": 2,\n  "since": "2026-11-24T21:00:00.000Z",\n  "filter": null,\n  "profiles": []\n}\n'
    )


def test_hostile_text_in_every_field_acts_nowhere_in_the_markdown_and_is_whole_in_the_json() -> None:
    life_of_all = Life([clean(text) or clean(f"text {number}") for number, text in enumerate(HOSTILE * 3)])
    end = life_of_all.moments[-1].now.wall
    steps = enumerate(life_of_all.steps, 1)
    hostile = report_of(
        Recorded(
            profile=clean(HOSTILE[0]),
            host=clean(HOSTILE[2]),
            query=clean(HOSTILE[3]),
            since=WallMs(end - HOUR_MS),
            until=end,
            polls=[RecordedPoll(number, moment.now.wall, result, 1, 5.0) for number, (moment, result, _) in steps],
            events=life_of_all.events,
            first=life_of_all.moments[0],
            last=life_of_all.moments[-1],
            left_out=[LeftOut("poll", end, end, clean(HOSTILE[1]), 1)],
        )
    )
    assert_is_harmless(markdown_of([hostile]))
    assert [part for part in ("down", "changes", "unseen") if not told(hostile, part)] == []
    exact = json_of([hostile]).decode()
    assert all(json.dumps(name, ensure_ascii=False) in exact for name in names(hostile, "down"))
