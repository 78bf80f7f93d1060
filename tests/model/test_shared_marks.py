"""Marks of the serving host in a row: anyone may send anything there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment

from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.shared_marks import (
    SharedAlerts,
    SharedSilence,
    shared_ack_of,
    shared_alerts_of,
    shared_silence_of,
)
from envwatch.model.text import cells, clean
from envwatch.views.state_style import ack_text

if TYPE_CHECKING:
    from envwatch.model.environment import Environment

LATER = NOW + 3_600_000
DAY = 86_400_000


def marked(**marks: Any) -> Environment:
    return environment(envwatch=marks)


def test_marks_are_read_from_the_field_that_a_server_adds() -> None:
    row = marked(
        ack={"by": "ops-1", "at": NOW, "note": "on it"}, silence={"by": "ops-2", "until": LATER, "reason": "new disks"}
    )
    assert shared_ack_of(row) == Ack(NOW, clean("on it"), by=clean("ops-1"))
    assert shared_silence_of(row, NOW) == SharedSilence(clean("ops-2"), clean("new disks"), WallMs(LATER))
    assert (shared_ack_of(environment()), shared_silence_of(environment(), NOW)) == (None, None)


@pytest.mark.parametrize("ack", [None, 7, "ops-1", [], {}, {"by": None}, {"by": 7}, {"by": "  "}, {"note": "x"}])
def test_an_acknowledgement_without_a_name_is_none(ack: Any) -> None:
    assert shared_ack_of(marked(ack=ack)) is None


@pytest.mark.parametrize("note", [None, 7, ["x"], {"x": "y"}])
def test_a_note_that_is_no_text_is_left_out(note: Any) -> None:
    assert shared_ack_of(marked(ack={"by": "ops-1", "at": NOW, "note": note})) == Ack(NOW, clean(""), by=clean("ops-1"))


@pytest.mark.parametrize(
    "until",
    [None, True, "later", NOW, NOW - 1, 2**200, -(2**200), NOW + 365 * DAY + 1, [LATER]],
)
def test_a_silence_needs_an_end_that_can_be_true_and_is_not_over(until: Any) -> None:
    assert shared_silence_of(marked(silence={"by": "ops-1", "until": until}), NOW) is None


def test_a_silence_may_last_a_year() -> None:
    row = marked(silence={"by": "ops-1", "until": NOW + 365 * DAY})
    assert shared_silence_of(row, NOW) is not None
    assert shared_silence_of(row, NOW - 1) is None


def test_a_silence_ends_by_itself() -> None:
    row = marked(silence={"by": "ops-1", "until": LATER})
    assert shared_silence_of(row, LATER - 1) is not None
    assert shared_silence_of(row, LATER) is None


@pytest.mark.parametrize("field", [None, 7, "ack", ["ack"], True])
def test_a_field_that_is_no_object_says_nothing(field: Any) -> None:
    assert shared_ack_of(environment(envwatch=field)) is None
    assert shared_silence_of(environment(envwatch=field), NOW) is None


@given(by=st.text(min_size=1), note=st.text())
def test_what_is_shown_is_one_line_of_bounded_width_without_control_characters(by: str, note: str) -> None:
    row = marked(ack={"by": f"{by}\x1b[2J\n", "at": 1, "note": f"{note}\r\u202e"})
    ack = shared_ack_of(row)
    for each in () if ack is None else (ack.by, ack.note, ack_text(ack, NOW, None, 80)):
        assert "\x1b" not in each
        assert "\n" not in each
        assert "\u202e" not in each
        assert cells(each) <= 200
    long = shared_ack_of(marked(ack={"by": "x" * 500, "at": 1, "note": "y" * 5000}))
    assert long is not None
    assert (cells(long.by), cells(long.note)) == (40, 200)


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ({"by": "ops-1", "at": 1}, "by ops-1"),
        ({"by": " ops-1 ", "at": 1, "note": "on  it "}, "by ops-1: on it"),
        ({"by": "a", "at": 1, "note": 7}, "by a"),
    ],
)
def test_a_mark_names_the_host_and_the_note(mark: Any, text: str) -> None:
    ack = shared_ack_of(marked(ack=mark))
    assert ack is not None
    assert ack.text == text


@pytest.mark.parametrize("share", [0, 0.0, 0.5, 1.0, 1])
@pytest.mark.parametrize("counts", [True, False])
def test_the_decision_of_the_host_has_a_reason_and_a_share(share: float, *, counts: bool) -> None:
    row = marked(alerts={"counts": counts, "why": "up 50 % of 7 days", "share": share})
    assert shared_alerts_of(row) == SharedAlerts(counts, clean("up 50 % of 7 days"), share)


@pytest.mark.parametrize("share", [None, True, False, -0.001, 1.001, "0.5", [0.5], 2**200])
def test_a_share_that_cannot_be_true_is_left_out(share: Any) -> None:
    row = marked(alerts={"counts": True, "why": "always", "share": share})
    assert shared_alerts_of(row) == SharedAlerts(counts=True, why=clean("always"))


@pytest.mark.parametrize(
    "alerts",
    [
        None,
        7,
        [],
        {},
        {"counts": 1, "why": "x"},
        {"counts": None, "why": "x"},
        {"counts": True},
        {"counts": True, "why": " "},
    ],
)
def test_a_decision_needs_an_answer_and_a_reason(alerts: Any) -> None:
    assert shared_alerts_of(marked(alerts=alerts)) is None
    assert shared_alerts_of(environment()) is None


def test_a_reason_is_cut() -> None:
    alerts = shared_alerts_of(marked(alerts={"counts": True, "why": "y" * 201}))
    assert alerts is not None
    assert alerts.why == "y" * 199 + "…"
