"""The look of states, and the sentences about a doubtful listing."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, failed, listed, reading, watched
from support.tracked_environments import tracked

from envwatch.fleet.monitor import Monitor
from envwatch.fleet.presence import Presence
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause
from envwatch.model.text import clean
from envwatch.views.pane.legend import state_entries
from envwatch.views.state_style import (
    PRESENCE_STYLES,
    clock_text_of,
    clock_warning,
    doubt_text,
    glyph_of,
    hooks_text,
    quarantine_badge,
    quarantine_text,
    stalled_since,
    style_of,
    trouble_text,
)

if TYPE_CHECKING:
    from envwatch.model.outcome import Failed


def test_every_presence_has_its_own_glyph_in_unicode_and_ascii() -> None:
    for ascii_only in (True, False):
        glyphs = {glyph_of(presence, ascii_only=ascii_only) for presence in Presence}
        assert len(glyphs) == len(Presence)
        assert all(glyph.isascii() for glyph in glyphs) is ascii_only


def test_unknown_outranks_every_other_look() -> None:
    style = style_of(tracked(), is_unknown=True)
    assert (style.glyph, style.word, style.style) == ("?", "on", "unknown")
    assert style_of(tracked(), is_unknown=False).style == "online"


def test_the_legend_has_the_glyph_and_the_word_of_every_state() -> None:
    for ascii_only in (False, True):
        signs = {entry.sign for entry in state_entries(Limits(), ascii_only=ascii_only)}
        looks = {presence: PRESENCE_STYLES[presence] for presence in Presence}
        assert {f"{look.ascii if ascii_only else look.glyph} {look.word}" for look in looks.values()} <= signs


@pytest.mark.parametrize(
    ("rows", "badge", "text"),
    [
        (0, ("empty list", "7s"), "the list came back empty"),
        (3, ("rows vanished", "7s"), "3 of 6 rows vanished at once"),
    ],
)
def test_a_quarantined_listing_has_a_badge_and_a_sentence(rows: int, badge: tuple[str, str], text: str) -> None:
    outcomes = [listed(beating(6)), listed(beating(rows), NOW + 5_000)]
    state = watched(outcomes)[0]
    assert quarantine_badge(state, reading(NOW + 12_500)) == badge
    assert quarantine_badge(state, reading(NOW + 5_000)) == (badge[0], "0s")
    told = quarantine_text(state, reading(NOW + 12_500), UTC)
    shown = "rows are as of 08:53:20Z" if rows == 0 else "missing rows stay unchanged"
    assert told is not None
    assert re.fullmatch(rf"{text}.* \(08:53:25Z\): not believed before 08:54:25Z; {shown} \(r asks now\)", told)
    assert quarantine_badge(watched(outcomes[:1])[0], reading()) is None
    assert quarantine_text(watched(outcomes[:1])[0], reading(), UTC) is None


def test_a_quarantine_whose_time_is_over_waits_for_listings() -> None:
    outcomes = [listed(beating(6)), *(listed([], NOW + 5_000 + 50_000 * n) for n in range(2))]
    assert "not believed before 1 more listing;" in (
        quarantine_text(watched(outcomes)[0], reading(NOW + 65_000), UTC) or ""
    )
    assert "not believed before 2 more listings;" in (
        quarantine_text(watched(outcomes[:2])[0], reading(NOW + 65_000), UTC) or ""
    )


@pytest.mark.parametrize(
    ("failing", "text"),
    [
        ({}, None),
        ({"ntfy": 0}, "hook ntfy has failed since 08:53:20Z: no incident message arrives"),
        ({"ntfy": 1_000, "a": 0}, "hook a and 1 other have failed since 08:53:20Z: no incident message arrives"),
        ({"c": 0, "b": 0, "d": 0}, "hook b and 2 others have failed since 08:53:20Z: no incident message arrives"),
    ],
)
def test_failing_hooks_are_counted_from_the_first_failure(failing: dict[str, int], text: str | None) -> None:
    assert hooks_text({clean(name): WallMs(NOW + ms) for name, ms in failing.items()}, UTC) == text


def test_a_warning_about_clocks_names_the_fault_or_the_machine_s_error() -> None:
    exact, _ = watched([listed(beating(1))])
    assert clock_warning(exact) is None
    assert clock_warning(watched([listed(beating(1), skew=-90_000)])[0]) == (
        "this machine's clock is 1m 30s behind the server's; ages are by the server's"
    )
    wrong_date = replace(exact, date_error=600_000.0)
    assert wrong_date.clock_fault is not None
    assert wrong_date.clock_fault.judged_by is not None
    assert clock_warning(wrong_date) == wrong_date.clock_fault.text
    assert clock_text_of(replace(tracked(), clock_suspect=True), wrong_date) == wrong_date.clock_fault.text
    untimed, _ = watched([listed(beating(2, lastHeartbeat=NOW * 1000))])
    assert untimed.clock_fault is not None
    assert clock_warning(untimed) is None


def test_a_row_with_a_doubtful_clock_says_why_and_other_rows_do_not() -> None:
    state, suspect = ProfileState(), replace(tracked(), clock_suspect=True)
    assert clock_text_of(tracked(), state) is None
    assert clock_text_of(replace(suspect, has_impossible_time=True), state) is None
    own = clock_text_of(suspect, state)
    assert own is not None
    assert own.startswith("this heartbeat contradicts this machine's clock, which agrees with other machines")
    dated, _ = watched([listed(beating(1))])
    assert (clock_text_of(suspect, dated) or "").startswith("this heartbeat contradicts the server's clock")


def test_one_profile_without_a_view_of_the_present_is_trouble() -> None:
    names = clean("home"), clean("work")

    def trouble(failure: Failed | None, later_ms: float) -> str:
        monitor = Monitor.create(dict.fromkeys(names, Limits()))
        monitor, _ = monitor.apply(names[0], listed(beating(1)), reading())
        monitor, _ = monitor.apply(names[1], listed(beating(1), NOW + later_ms), reading(NOW + later_ms))
        if failure is not None:
            monitor, _ = monitor.apply(names[0], failure, failure.ended)
        return trouble_text(monitor.fleet, reading(NOW + later_ms))

    assert trouble(None, 5_000) == ""
    assert trouble(None, 61_000) == "blind"
    assert trouble(failed(Cause.UNAUTHORIZED, NOW + 5_000), 5_000) == "key refused"


def test_a_standstill_of_the_platform_is_said_with_the_begin() -> None:
    rows = beating(10)
    stalled, _ = watched([listed(rows, NOW + 5_000 * n) for n in range(20)])
    assert stalled_since(stalled) is not None
    assert (doubt_text(stalled, UTC) or "").startswith("no new heartbeat since 08:53:20Z: the platform stands still")
    fresh, _ = watched([listed(rows)])
    assert (stalled_since(fresh), doubt_text(fresh, UTC)) == (None, None)
