"""The answer about each row that a viewer acknowledges, and the acknowledgements that follow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, key_of
from support.tracked_environments import tracked

from envwatch.fleet.alerting.acknowledgements import acks_of_uuid, answered, contradicts, with_changes
from envwatch.fleet.presence import GONE, NEVER_LISTED
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model.acks import Ack, AckedLoss, AckedRow, AckResult
from envwatch.model.environment import Environment
from envwatch.model.text import EMPTY, clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.alerting.acknowledgements import Acks
    from envwatch.model.acks import AckAnswer

HOUR = 3_600_000.0
HOST = clean("ops-1")
UUID, OTHER = clean("0f0e0d0c-0b0a-4908-8706-050403020100"), clean("1f0e0d0c-0b0a-4908-8706-050403020100")
SIGN = NOW - 300_000.0
NEW = Ack(NOW, clean("disk swap"), by=clean("ann"), until=NOW + HOUR, uuid=UUID, address=clean("192.0.2.7"))
ID = clean("env-1")
OFFLINE = tracked(connectionId=None, lastHeartbeat=SIGN - 5_000, lastSeenAt=SIGN)
ROWS = {
    "online": tracked(),
    "offline": OFFLINE,
    "late": tracked(lastHeartbeat=SIGN, lastSeenAt=SIGN),
    "flapping": replace(tracked(), is_flapping=True),
    "gone": replace(OFFLINE, verdict=GONE),
    "replaced": replace(OFFLINE, replaced_by=clean("env-2")),
    "missing": TrackedEnvironment(environment=Environment.unlisted(ID, clean("db-1")), verdict=NEVER_LISTED),
}


def ask(
    row: TrackedEnvironment | None, sign_at: float | None = SIGN, known: Ack | None = None, new: Ack = NEW
) -> tuple[Acks, AckedRow]:
    profile_state = ProfileState(environments={} if row is None else {ID: row})
    acks = {} if known is None else {key_of(ID): known}
    made, (answer,) = answered([AckedLoss(ID, sign_at)], new, acks, profile_state, HOST)
    return made, answer


@pytest.mark.parametrize("name", ["offline", "late", "gone", "missing"])
def test_a_loss_is_acknowledged_with_the_newest_sign_of_the_serving_machine(name: str) -> None:
    sign = SIGN if name != "missing" else -float("inf")
    made, answer = ask(ROWS[name], SIGN - 500)
    assert made == {key_of(ID): replace(NEW, sign_at=sign)}
    assert answer == AckedRow(ID, AckResult.ACKED, clean("ann"), NOW)


@pytest.mark.parametrize(
    ("row", "result"),
    [
        (ROWS["online"], AckResult.RECOVERED),
        (ROWS["replaced"], AckResult.RECOVERED),
        (None, AckResult.UNKNOWN),
    ],
)
def test_a_row_without_a_loss_is_not_acknowledged(row: TrackedEnvironment | None, result: AckResult) -> None:
    assert ask(row) == ({}, AckedRow(ID, result))


@pytest.mark.parametrize(
    ("sign_at", "result"),
    [
        (SIGN - 1_000, AckResult.ACKED),
        (SIGN - 1_001, AckResult.OTHER_LOSS),
        (SIGN + HOUR, AckResult.ACKED),
        (None, AckResult.OTHER_LOSS),
    ],
)
def test_a_request_covers_no_loss_after_a_newer_sign_of_life(sign_at: float | None, result: AckResult) -> None:
    assert ask(OFFLINE, sign_at)[1].result is result


def test_a_row_that_flaps_gives_signs_of_life_all_the_time() -> None:
    assert ask(ROWS["flapping"], SIGN - HOUR)[1].result is AckResult.ACKED


def test_a_row_that_never_gave_a_sign_needs_none() -> None:
    assert ask(ROWS["missing"], None)[1].result is AckResult.ACKED


@pytest.mark.parametrize(
    ("known", "by"),
    [
        (Ack(NOW - 60_000, EMPTY, by=clean("ben"), uuid=OTHER), "ben"),
        (Ack(NOW - 60_000, EMPTY, until=NOW + 1, uuid=OTHER), "ops-1"),
        (Ack(NOW - 60_000, EMPTY), "ops-1"),
    ],
)
def test_of_two_people_the_first_stays_and_the_second_reads_who(known: Ack, by: str) -> None:
    assert ask(OFFLINE, SIGN - HOUR, known) == ({}, AckedRow(ID, AckResult.ALREADY, clean(by), NOW - 60_000))


def test_a_row_whose_acknowledgement_has_ended_is_acknowledged_again() -> None:
    ended = Ack(NOW - HOUR, EMPTY, by=clean("ben"), until=NOW, uuid=OTHER)
    assert ask(OFFLINE, known=ended) == (
        {key_of(ID): replace(NEW, sign_at=SIGN)},
        AckedRow(ID, AckResult.ACKED, clean("ann"), NOW),
    )


@pytest.mark.parametrize("name", ["offline", "online", None])
@pytest.mark.parametrize("until", [None, NOW - 1, NOW + 1])
def test_a_late_repetition_has_the_answer_of_the_first_and_revives_nothing(
    name: str | None, until: float | None
) -> None:
    known = replace(NEW, at=NOW - HOUR, until=until)
    answer = AckedRow(ID, AckResult.ACKED, clean("ann"), NOW - HOUR)
    assert ask(None if name is None else ROWS[name], SIGN - HOUR, known) == ({}, answer)


@pytest.mark.parametrize(
    ("changes", "is_other"),
    [
        ({}, False),
        ({"at": NOW - HOUR, "until": NOW + 999}, False),
        ({"at": NOW - HOUR, "until": NOW + 1_000}, True),
        ({"until": None}, True),
        ({"at": NOW - HOUR / 2, "until": NOW}, False),
        ({"at": NOW - HOUR / 2, "until": NOW + 1}, True),
        ({"note": clean("other")}, True),
        ({"at": NOW - HOUR, "until": NOW - 60_000, "note": clean("other")}, True),
    ],
)
def test_a_uuid_stays_with_its_note_and_duration(changes: dict[str, object], *, is_other: bool) -> None:
    assert contradicts(replace(NEW, **changes), NEW) is is_other  # type: ignore[arg-type]  # fields of `Ack`


def test_without_an_end_a_duration_is_another_request() -> None:
    lasting = replace(NEW, until=None)
    assert not contradicts(replace(lasting, at=NOW - HOUR), lasting)
    assert contradicts(NEW, lasting)


def test_the_rows_of_a_uuid_are_those_of_one_server() -> None:
    one, other = clean("one.example"), clean("other.example")
    acks = {(one, ID): NEW, (other, ID): NEW, (one, clean("env-2")): replace(NEW, uuid=OTHER)}
    assert acks_of_uuid(acks, one, UUID) == {(one, ID): NEW}


KNOWN = st.none() | st.builds(
    Ack,
    st.floats(NOW - HOUR, NOW),
    st.just(EMPTY),
    by=st.sampled_from([EMPTY, clean("ben")]),
    until=st.none() | st.floats(NOW - HOUR, NOW + HOUR),
    uuid=st.sampled_from([UUID, OTHER, EMPTY]),
)
IDS = tuple(clean(f"env-{number}") for number in range(6))


@given(
    rows=st.dictionaries(st.sampled_from(IDS), st.sampled_from([*ROWS.values()])),
    acks=st.dictionaries(st.sampled_from(IDS), KNOWN),
    signs=st.dictionaries(st.sampled_from(IDS), st.none() | st.floats(SIGN - HOUR, SIGN + HOUR), min_size=1),
)
def test_each_row_has_one_answer_and_only_acknowledged_rows_change(
    rows: dict[str, TrackedEnvironment], acks: dict[str, Ack | None], signs: dict[str, float | None]
) -> None:
    profile_state = ProfileState(environments={clean(id_): row for id_, row in rows.items()})
    known = {key_of(id_): ack for id_, ack in acks.items() if ack is not None}
    losses = [AckedLoss(clean(id_), sign) for id_, sign in signs.items()]

    def asked(new: Ack, before: Acks) -> tuple[Acks, AckAnswer]:
        return answered(losses, new, before, profile_state, HOST)

    made, answer = asked(NEW, known)
    assert [row.id for row in answer] == [loss.id for loss in losses]
    assert {id_ for _, id_ in made} <= {row.id for row in answer if row.result is AckResult.ACKED}
    assert all(known[key].until is not None and known[key].uuid != UUID for key in made.keys() & known.keys())
    assert all(bool(row.by) is (row.result in {AckResult.ACKED, AckResult.ALREADY}) for row in answer)
    after = with_changes(known, made)
    again, repeated = asked(replace(NEW, at=NOW + 1), after)
    assert (again, acked_in(repeated)) == ({}, acked_in(answer))
    second, _ = asked(replace(NEW, uuid=OTHER, by=clean("cal")), after)
    assert not second.keys() & made.keys()


def acked_in(answer: Sequence[AckedRow]) -> list[AckedRow]:
    return [row for row in answer if row.result is AckResult.ACKED]
