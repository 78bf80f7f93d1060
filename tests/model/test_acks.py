"""Requests and answers about acknowledgements: limits, unfit values, and the way over the wire."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json
from support.hostile_fleet import WEAPONS

from envwatch.model.acks import (
    ACKS_PATH,
    LONGEST_NOTE,
    MOST_ROWS,
    AckedLoss,
    AckedRow,
    AckRequest,
    AckResult,
    answer_content,
    answer_in,
    uuid_in,
)
from envwatch.model.text import clean, clean_key

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    assert [request(for_s=seconds).for_s for seconds in (60, 60.0, 604_800, None)] == [60, 60, 604_800, None]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"rows": rows(MOST_ROWS + 1)}, "`rows` must be a list of 1 to 1,000 rows"),
        ({"rows": []}, "`rows` must be a list"),
        ({"rows": {"env-1": 5}}, "`rows` must be a list"),
        ({"rows": [ROW, ROW]}, "`rows` names a row twice"),
        ({"rows": [{"id": "env-1", "sign_at": "5"}]}, "each row must have an `id`, and a number or null as `sign_at`"),
        ({"rows": [{"id": "env-1", "sign_at": True}]}, "each row must have an `id`"),
        ({"rows": [{"id": "env-1", "sign_at": 10**400}]}, "each row must have an `id`"),
        ({"rows": [{"id": "env-1", "sign_at": float("nan")}]}, "each row must have an `id`"),
        ({"rows": [{"id": ""}]}, "each row must have an `id`"),
        ({"rows": [{"id": 5}]}, "each row must have an `id`"),
        ({"rows": ["env-1"]}, "each row must have an `id`"),
        ({"note": "n" * (LONGEST_NOTE + 1)}, "`note` must be a text of at most 200 characters"),
        ({"note": None}, "`note` must be a text"),
        ({"for_s": 59.9}, "`for_s` must be null, or 60 to 604800 seconds"),
        ({"for_s": 604_800.1}, "`for_s` must be null"),
        ({"for_s": "60"}, "`for_s` must be null"),
        ({"for_s": True}, "`for_s` must be null"),
        ({"for_s": float("inf")}, "`for_s` must be null"),
    ],
)
def test_an_unfit_request_is_refused_with_the_reason(members: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        request(**members)


@pytest.mark.parametrize("body", [None, [], "rows", 5, True, {}])
def test_any_other_json_is_no_request(body: Any) -> None:
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
    for_s=st.none() | st.floats(60, 604_800),
)
def test_a_request_of_envwatch_arrives_unchanged(losses: Sequence[AckedLoss], note: str, for_s: float | None) -> None:
    sent = AckRequest(tuple(losses), clean(" ".join(note.split()), LONGEST_NOTE), for_s)
    assert AckRequest.from_json(from_json(json.dumps(sent.content))) == sent


@given(st.lists(st.builds(AckedRow, TEXTS.map(clean_key), st.sampled_from(AckResult), st.just(clean("ann")), NUMBERS)))
def test_an_answer_of_envwatch_arrives_unchanged(sent: list[AckedRow]) -> None:
    assert answer_in(from_json(json.dumps(answer_content(sent)))) == tuple(sent)


def test_a_path_of_an_acknowledgement_ends_with_one_uuid() -> None:
    assert uuid_in(f"{ACKS_PATH}/{UUID}") == uuid_in(f"{ACKS_PATH}/{UUID.upper()}") == UUID
    for path in (ACKS_PATH, f"{ACKS_PATH}/", f"{ACKS_PATH}/{UUID}/", f"{ACKS_PATH}/{UUID}0", f"{ACKS_PATH}x/{UUID}"):
        assert uuid_in(path) is None
    assert uuid_in(f"{ACKS_PATH}/{UUID.replace('0', '٠')}") is None
