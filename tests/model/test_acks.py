"""Acknowledgements, silences and decisions of another host: requests, answers, and marks in a row, however hostile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json
from support.builders import NOW, environment
from support.hostile_fleet import WEAPONS

from envwatch.model.acks import (
    ACKS_PATH,
    LONGEST_NOTE,
    MOST_ROWS,
    Ack,
    AckedLoss,
    AckedRow,
    AckRequest,
    AckResult,
    answer_content,
    answer_in,
    uuid_in,
)
from envwatch.model.clock import WallMs
from envwatch.model.shared_marks import (
    SharedAlerts,
    SharedSilence,
    shared_ack_of,
    shared_alerts_of,
    shared_silence_of,
)
from envwatch.model.text import EMPTY, cells, clean, clean_key
from envwatch.views.state_style import ack_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.environment import Environment


ROW: dict[str, Any] = {"id": "env-1", "sign_at": 5}
UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"

TEXTS = st.sampled_from(["a", "漢字", "a\u202eb", "a~12345678", *WEAPONS]) | st.text(min_size=1, max_size=20)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"env-{number}", "sign_at": None} for number in range(count)]


def request(**members: Any) -> AckRequest:
    return AckRequest.from_json({"rows": [ROW], **members})


def test_a_request_may_hold_only_rows() -> None:
    assert request() == AckRequest((AckedLoss(clean("env-1"), 5.0),))


def test_a_request_may_be_as_large_as_its_limits() -> None:
    assert len(request(rows=rows(MOST_ROWS)).losses) == 1_000
    assert request(note="n" * LONGEST_NOTE).note == "n" * 200
    assert [request(for_s=seconds).for_s for seconds in (60, 60.0, 2_678_400, None)] == [60, 60, 2_678_400, None]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"rows": rows(MOST_ROWS + 1)}, "`rows` must be a list of 1 to 1,000 environments"),
        ({"rows": []}, "`rows` must be a list"),
        ({"rows": {"env-1": 5}}, "`rows` must be a list"),
        ({"rows": [ROW, ROW]}, "`rows` names an environment twice"),
        (
            {"rows": [{"id": "env-1", "sign_at": "5"}]},
            "each environment must have an `id`, and a number or null as `sign_at`",
        ),
        ({"rows": [{"id": "env-1", "sign_at": True}]}, "each environment must have an `id`"),
        ({"rows": [{"id": "env-1", "sign_at": 10**400}]}, "each environment must have an `id`"),
        ({"rows": [{"id": "env-1", "sign_at": float("nan")}]}, "each environment must have an `id`"),
        ({"rows": [{"id": ""}]}, "each environment must have an `id`"),
        ({"rows": [{"id": 5}]}, "each environment must have an `id`"),
        ({"rows": ["env-1"]}, "each environment must have an `id`"),
        ({"note": "n" * (LONGEST_NOTE + 1)}, "`note` must be a text of at most 200 characters"),
        ({"note": None}, "`note` must be a text"),
        ({"for_s": 59.9}, "`for_s` must be null, or 60 to 2678400 seconds"),
        ({"for_s": 2_678_400.1}, "`for_s` must be null"),
        ({"for_s": "60"}, "`for_s` must be null"),
        ({"for_s": True}, "`for_s` must be null"),
        ({"for_s": float("inf")}, "`for_s` must be null"),
    ],
)
def test_an_unfit_request_is_refused_with_the_reason(members: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        request(**members)


def test_any_other_json_is_no_request() -> None:
    others: tuple[Any, ...] = (None, [], "rows", 5, True, {})
    for body in others:
        with pytest.raises(ValueError, match=r"^`rows` must be a list"):
            AckRequest.from_json(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "sign_at", "by", "at", "result"]), inner),
)


@given(st.dictionaries(st.sampled_from(["rows", "note", "for_s"]), JSON))
def test_any_body_is_a_request_within_the_limits_or_a_value_error(body: dict[str, Any]) -> None:
    try:
        found = AckRequest.from_json(body)
    except ValueError:
        return
    assert 0 < len(found.losses) <= MOST_ROWS
    assert found.note == clean(found.note, LONGEST_NOTE)
    assert all(loss.id == clean(loss.id) for loss in found.losses)


@given(st.dictionaries(st.just("rows"), JSON))
def test_any_body_is_an_answer_of_clean_text(body: dict[str, Any]) -> None:
    assert all((row.id, row.by) == (clean(row.id), clean(row.by)) for row in answer_in(body))


@given(
    losses=st.lists(st.builds(AckedLoss, TEXTS.map(clean_key), NUMBERS), unique_by=lambda loss: loss.id, min_size=1),
    note=st.text(max_size=LONGEST_NOTE),
    for_s=st.none() | st.floats(60, 2_678_400),
)
def test_a_request_of_envwatch_arrives_unchanged(losses: Sequence[AckedLoss], note: str, for_s: float | None) -> None:
    sent = AckRequest(tuple(losses), clean(" ".join(note.split()), LONGEST_NOTE), for_s)
    assert AckRequest.from_json(from_json(json.dumps(sent.content))) == sent


ACKED_ROWS = st.builds(
    AckedRow,
    TEXTS.map(clean_key),
    st.sampled_from(AckResult),
    st.just(clean("ann")),
    NUMBERS,
    st.sampled_from([EMPTY, clean("watch:8283")]),
)


@given(st.lists(ACKED_ROWS))
def test_an_answer_of_envwatch_arrives_unchanged(sent: list[AckedRow]) -> None:
    assert answer_in(from_json(json.dumps(answer_content(sent)))) == tuple(sent)


def test_a_path_of_an_acknowledgement_ends_with_one_uuid() -> None:
    assert uuid_in(f"{ACKS_PATH}/{UUID}") == uuid_in(f"{ACKS_PATH}/{UUID.upper()}") == UUID
    for path in (ACKS_PATH, f"{ACKS_PATH}/", f"{ACKS_PATH}/{UUID}/", f"{ACKS_PATH}/{UUID}0", f"{ACKS_PATH}x/{UUID}"):
        assert uuid_in(path) is None
    assert uuid_in(f"{ACKS_PATH}/{UUID.replace('0', '٠')}") is None


# Marks of the serving host in a row: anyone may send anything there

LATER = NOW + 3_600_000
DAY = 86_400_000


def marked(**marks: Any) -> Environment:
    return environment(envwatch=marks)


def test_marks_are_read_from_the_field_added_by_a_server() -> None:
    row = marked(
        ack={"by": "ops-1", "at": NOW, "note": "on it"}, silence={"by": "ops-2", "until": LATER, "reason": "new disks"}
    )
    assert shared_ack_of(row) == Ack(NOW, clean("on it"), by=clean("ops-1"))
    assert shared_silence_of(row, NOW) == SharedSilence(clean("ops-2"), clean("new disks"), WallMs(LATER))
    assert (shared_ack_of(environment()), shared_silence_of(environment(), NOW)) == (None, None)


@pytest.mark.parametrize("ack", [None, 7, "ops-1", [], {}, {"by": None}, {"by": 7}, {"by": "  "}, {"note": "x"}])
def test_an_acknowledgement_without_a_name_is_none(ack: Any) -> None:
    assert shared_ack_of(marked(ack=ack)) is None


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ({}, "by ops-1"),
        ({"by": " ops-1 ", "note": "on  it "}, "by ops-1: on it"),
        *(({"note": note}, "by ops-1") for note in (None, 7, ["x"], {"x": "y"})),
    ],
)
def test_a_mark_names_the_host_and_the_note_if_the_note_is_text(mark: Any, text: str) -> None:
    ack = shared_ack_of(marked(ack={"by": "ops-1", "at": NOW} | mark))
    assert ack is not None
    assert ack.text == text


@pytest.mark.parametrize(
    ("until", "looked_at", "is_one"),
    [
        *((until, NOW, False) for until in (None, True, "later", 2**200, -(2**200), [LATER])),
        *((LATER, LATER - 1, True), (LATER, LATER, False), (LATER, LATER + 1, False)),
        *((NOW + 365 * DAY, NOW, True), (NOW + 365 * DAY, NOW - 1, False)),
    ],
)
def test_a_silence_needs_an_end_within_a_year_and_ends_by_itself(until: Any, looked_at: float, *, is_one: bool) -> None:
    row = marked(silence={"by": "ops-1", "until": until})
    assert (shared_silence_of(row, looked_at) is not None) is is_one


@given(text=st.text())
def test_marks_are_single_lines_of_clean_text_and_of_bounded_width(text: str) -> None:
    by, long = f"x{text}\x1b[2J\n\u202e", "y" * 5_000
    row = marked(ack={"by": by, "at": 1, "note": by}, alerts={"pages": True, "why": by})
    large = marked(ack={"by": long, "at": 1, "note": long}, alerts={"pages": True, "why": "y" * 201})
    for each, is_long in ((row, False), (large, True)):
        ack, alerts = shared_ack_of(each), shared_alerts_of(each)
        assert ack is not None
        assert alerts is not None
        texts = (ack.by, ack.note, alerts.why, ack_text(ack, NOW, None, 80))
        assert not {"\x1b", "\n", "\u202e"} & {*"".join(texts)}
        assert all(cells(one) <= 200 for one in texts)
        if is_long:
            assert (cells(ack.by), cells(ack.note), alerts.why) == (40, 200, "y" * 199 + "…")


@pytest.mark.parametrize("field", [None, 7, "ack", ["ack"], True])
def test_a_field_without_an_object_says_nothing(field: Any) -> None:
    assert shared_ack_of(environment(envwatch=field)) is None
    assert shared_silence_of(environment(envwatch=field), NOW) is None


@pytest.mark.parametrize("share", [0, 0.0, 0.5, 1.0, 1])
@pytest.mark.parametrize("counts", [True, False])
def test_the_decision_of_the_host_has_a_reason_and_a_share(share: float, *, counts: bool) -> None:
    row = marked(alerts={"pages": counts, "why": "up 50 % of 7 days", "share": share})
    assert shared_alerts_of(row) == SharedAlerts(counts, clean("up 50 % of 7 days"), share)


@pytest.mark.parametrize("share", [None, True, False, -0.001, 1.001, "0.5", [0.5], 2**200])
def test_an_impossible_share_is_left_out(share: Any) -> None:
    row = marked(alerts={"pages": True, "why": "always", "share": share})
    assert shared_alerts_of(row) == SharedAlerts(counts=True, why=clean("always"))


@pytest.mark.parametrize(
    "alerts",
    [
        None,
        7,
        [],
        {},
        {"pages": 1, "why": "x"},
        {"pages": None, "why": "x"},
        {"pages": True},
        {"pages": True, "why": " "},
    ],
)
def test_a_decision_needs_an_answer_and_a_reason(alerts: Any) -> None:
    assert shared_alerts_of(marked(alerts=alerts)) is None
    assert shared_alerts_of(environment()) is None
