"""Acknowledging: which rows, by whom the acknowledgement is kept, limits of a request, ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, key_of, reading
from support.incidents import LOSS, incident_of
from support.tracked_environments import fleet_of, gone, late, offline, online

from envwatch.alerts.acknowledgements import ended_by_person
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.presence import MISSING
from envwatch.model.acks import ROWS_AT_ONCE, Ack, AckedRow, AckRequest, AckResult
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failure, SourceError
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.watch.acknowledging import (
    NO_TEAM_SERVERS,
    Answer,
    RowAnswer,
    TeamServers,
    Terms,
    acked_blindness,
    acks_here,
    answers_for,
    change_shared,
    common_answer,
    ended_here,
    known_acks_here,
    parts_of,
    share,
    shared_acks_of,
)

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.acks import AckAnswer

WALL = WallMs(NOW)
UUID = clean("3e4d8dc4-6bf7-4d25-929f-0828ac746c6b")
TEAM = TeamServers(frozenset({NO_PROFILE}))
READ_ONLY = TeamServers(frozenset({NO_PROFILE}), frozenset({NO_PROFILE}))
OWN = Ack(NOW - 1_000, clean("disk"), uuid=UUID)
HOUR_MS = 3_600_000


def marked(row: TrackedEnvironment, **mark: Any) -> TrackedEnvironment:
    """Return a row with the server's acknowledgement."""
    marks: dict[str, Any] = {"ack": {"by": "ann", "at": NOW - 1_000, "note": "psu", "uuid": UUID} | mark}
    return replace(row, environment=replace(row.environment, unknown={"envwatch": marks}))


def monitor_of(*rows: TrackedEnvironment, own: Ack | None = None, skew: float = 0.0) -> Monitor:
    acks = {} if own is None else {key_of(row.environment.id): own for row in rows}
    return replace(Monitor.create({NO_PROFILE: Limits()}), fleet=fleet_of(rows, skew=skew), acks=acks)


def answer_about(
    row: TrackedEnvironment, servers: TeamServers = NO_TEAM_SERVERS, own: Ack | None = None, wall: float = NOW
) -> Answer:
    (found,) = answers_for([row], monitor_of(row, own=own).judge(reading(wall)), servers)
    return found.answer


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        (offline("a"), Answer.OPEN),
        (late("a"), Answer.LATE),
        (online("a"), Answer.UP),
        (replace(gone("a"), replaced_by=clean("env-b")), Answer.NO_LOSS),
    ],
    ids=["off", "late", "on", "replaced"],
)
@pytest.mark.parametrize("servers", [NO_TEAM_SERVERS, TEAM], ids=["platform", "team"])
def test_a_row_without_an_acknowledgement_has_one_answer_whoever_would_keep_it(
    row: TrackedEnvironment, answer: Answer, servers: TeamServers
) -> None:
    assert answer_about(row, servers) is answer


@pytest.mark.parametrize(
    ("row", "servers", "own", "answer"),
    [
        (offline("a"), NO_TEAM_SERVERS, OWN, Answer.ACKED),
        (offline("a"), TEAM, OWN, Answer.ACKED_HERE),
        (marked(offline("a")), TEAM, None, Answer.ACKED),
        (marked(offline("a")), TEAM, OWN, Answer.ACKED),
        (online("a"), NO_TEAM_SERVERS, OWN, Answer.UP),
    ],
    ids=["here", "here, though the team has a server", "by the team", "both", "back"],
)
def test_an_acknowledgement_counts_where_everybody_sees_it(
    row: TrackedEnvironment, servers: TeamServers, own: Ack | None, answer: Answer
) -> None:
    assert answer_about(row, servers, own) is answer


@pytest.mark.parametrize(("after", "answer"), [(-1, Answer.ACKED), (0, Answer.OPEN)])
def test_a_servers_mark_ends_by_its_time_before_the_next_listing(after: float, answer: Answer) -> None:
    row = marked(offline("a"), until=NOW + 5_000)
    assert answer_about(row, TEAM, wall=NOW + 5_000 + after) is answer
    fleet = monitor_of(row).fleet
    shared = shared_acks_of([row], fleet, WallMs(NOW + 5_000 + after))
    assert [*shared] == ([(NO_PROFILE, UUID)] if answer is Answer.ACKED else [])


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        ([Answer.LATE, Answer.LATE], Answer.LATE),
        ([Answer.LATE, Answer.UP], Answer.UP),
        ([Answer.UP], Answer.UP),
        ([Answer.LATE, Answer.NO_LOSS], Answer.NO_LOSS),
        ([Answer.NO_LOSS], Answer.NO_LOSS),
    ],
)
def test_the_common_answer_is_true_of_each_row_and_a_late_row_is_up(found: list[Answer], answer: Answer) -> None:
    assert common_answer(RowAnswer(online("a"), each) for each in found) is answer


@pytest.mark.parametrize(
    ("servers", "is_kept", "is_refused"),
    [(NO_TEAM_SERVERS, False, False), (TEAM, True, False), (READ_ONLY, True, True)],
)
def test_a_server_keeps_and_a_token_that_only_reads_is_refused(
    servers: TeamServers, *, is_kept: bool, is_refused: bool
) -> None:
    row = offline("a")
    assert (servers.keeps_ack_of(row), servers.refuses(row)) == (is_kept, is_refused)
    for other in (replace(row, profile=clean("work")), replace(row, verdict=MISSING)):
        assert not servers.keeps_ack_of(other)
        assert not servers.refuses(other)


@pytest.mark.parametrize(("lasts", "until"), [(None, None), (timedelta(hours=1), NOW + HOUR_MS)])
def test_terms_without_a_duration_have_no_end(lasts: timedelta | None, until: float | None) -> None:
    assert Terms(lasts=lasts).until(NOW) == until


def test_acknowledgements_of_this_machine_have_the_servers_time_one_uuid_and_each_sign_of_life() -> None:
    rows = [offline("a", 300), offline("b", 600)]
    fleet = fleet_of(rows, skew=60_000)
    made = acks_here(rows, Terms(clean("psu"), timedelta(hours=1)), fleet, WallMs(NOW + 60_000), UUID)
    assert made == {
        key_of(f"env-{name}"): Ack(NOW, clean("psu"), NOW - ago, until=NOW + HOUR_MS, uuid=UUID)
        for name, ago in (("a", 300_000), ("b", 600_000))
    }
    assert known_acks_here(rows[:1], made, fleet) == {key_of("env-a"): made[key_of("env-a")]}


def test_an_end_is_by_the_servers_clock_and_by_the_local_clock_for_unknown_servers() -> None:
    other = clean("elsewhere"), clean("env-a")
    ended = ended_here({key_of("env-a"): OWN, other: OWN}, fleet_of([], skew=60_000), WallMs(NOW + 60_000))
    assert ended == {key_of("env-a"): ended_by_person(OWN, NOW), other: ended_by_person(OWN, NOW + 60_000)}
    assert ended_here({other: OWN}, None, WALL) == {other: ended_by_person(OWN, NOW)}


@pytest.mark.parametrize("ahead", [-1.0, 0.0, 1.0])
def test_the_acknowledgement_of_a_blindness_covers_its_begin_whatever_the_clock(ahead: float) -> None:
    incident = incident_of(LOSS)
    server = clean("letta.example")
    acks = acked_blindness(incident, server, Terms(clean("psu")), incident.began_at + ahead, UUID)
    assert acks == {(server, EMPTY): Ack(incident.began_at + max(ahead, 0.0), clean("psu"), uuid=UUID)}


@given(st.lists(st.sampled_from(["home", "work"]), max_size=3), st.sampled_from([0, 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1]))
def test_each_request_has_rows_of_one_profile_and_no_more_than_fit(profiles: list[str], count: int) -> None:
    row = offline("a")
    rows = [replace(row, profile=clean(profile)) for profile in profiles for _ in range(count)]
    parts = [*parts_of(rows)]
    assert all(0 < len(part) <= ROWS_AT_ONCE for part in parts)
    assert all(len({each.profile for each in part}) == 1 for part in parts)
    assert sorted(each.profile for part in parts for each in part) == sorted(each.profile for each in rows)
    sizes = [profiles.count(profile) * count for profile in set(profiles)]
    assert len(parts) == sum(-(-size // ROWS_AT_ONCE) for size in sizes), "more requests than needed"


@dataclass
class Server:
    """A team's server with prepared answers."""

    answer: AckAnswer = ()
    error: SourceError | None = None
    may_ack: bool = True
    requests: list[AckRequest] = field(default_factory=list)
    changes: list[tuple[SafeText, SafeText | None]] = field(default_factory=list)

    async def acknowledge(self, _uuid: SafeText, request: AckRequest) -> AckAnswer:
        self.requests.append(request)
        self._fail()
        return self.answer

    async def end(self, uuid: SafeText) -> None:
        self.changes.append((uuid, None))
        self._fail()

    async def change_note(self, uuid: SafeText, note: SafeText) -> None:
        self.changes.append((uuid, note))
        self._fail()

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


REFUSED = SourceError(Failure(Cause.FORBIDDEN, clean("no")))


async def test_a_server_gets_each_sign_of_life_and_a_row_without_an_answer_is_unknown_there() -> None:
    rows = [offline("a", 300), offline("b", 600)]
    acked = AckedRow(clean("env-b"), AckResult.ACKED)
    server = Server(answer=[acked])
    shared = await share(server, rows, Terms(clean("psu"), timedelta(hours=1)))
    (request,) = server.requests
    assert [(loss.id, loss.sign_at) for loss in request.losses] == [("env-a", NOW - 300_000), ("env-b", NOW - 600_000)]
    assert (request.note, request.for_s) == ("psu", 3_600.0)
    unknown = AckedRow(clean("env-a"), AckResult.UNKNOWN)
    assert (shared.results, shared.error) == (((rows[0], unknown), (rows[1], acked)), None)


async def test_an_error_of_a_server_is_returned_and_no_row_has_a_result() -> None:
    server = Server(answer=[AckedRow(clean("env-a"), AckResult.ACKED)], error=REFUSED)
    shared = await share(server, [offline("a")], Terms())
    assert (shared.results, shared.error) == ((), REFUSED)
    assert server.requests[0].for_s is None


@pytest.mark.parametrize("error", [None, REFUSED])
async def test_an_end_is_no_note_and_an_empty_note_is_no_end(error: SourceError | None) -> None:
    server = Server(error=error)
    for note in (None, EMPTY, clean("psu")):
        assert await change_shared(server, UUID, note) is error
    assert server.changes == [(UUID, None), (UUID, EMPTY), (UUID, "psu")]


def test_rows_of_one_acknowledgement_stand_together_and_rows_without_a_mark_nowhere() -> None:
    first, second = marked(offline("a")), marked(offline("b"))
    nameless = marked(offline("c"), uuid="")
    rows = [first, offline("d"), nameless, second]
    shared = shared_acks_of(rows, fleet_of(rows), WALL)
    assert shared == {(NO_PROFILE, UUID): [first, second], (NO_PROFILE, EMPTY): [nameless]}
