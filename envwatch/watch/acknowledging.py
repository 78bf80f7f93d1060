"""How machines are acknowledged: the rules of the key `a` and of `envwatch ack`, which choose rows and show answers.

All functions are pure, except `share` and `change_shared`, which ask a team's server. Moments are in ms.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.alerts.acknowledgements import ack_of, blindness_ack, ended_by_person, newest_sign_at
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import can_be_acked
from envwatch.model.acks import ROWS_AT_ONCE, AckedLoss, AckedRow, AckRequest, AckResult, new_uuid
from envwatch.model.outcome import SourceError
from envwatch.model.shared_marks import shared_ack_of
from envwatch.model.text import EMPTY, SafeText
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from envwatch.alerts.acknowledgements import Acks, ServerKey
    from envwatch.alerts.incident import Incident
    from envwatch.alerts.judge import Judge
    from envwatch.fleet.profile_state import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.letta.poller import Team
    from envwatch.model.acks import Ack
    from envwatch.model.clock import WallMs


class TeamServers(NamedTuple):
    """The profiles whose server is `envwatch serve`, which keeps acknowledgements for a team."""

    profiles: frozenset[SafeText] = frozenset()
    read_only: frozenset[SafeText] = frozenset()
    """Those of `profiles` whose token may not acknowledge, as far as the server says."""

    def keeps_ack_of(self, row: TrackedEnvironment) -> bool:
        """Whether a row's server keeps its acknowledgement; a server does not know this machine's `expect`."""
        return row.profile in self.profiles and not row.verdict.is_missing

    def refuses(self, row: TrackedEnvironment) -> bool:
        """Whether a row's server keeps its acknowledgement, and the token only reads."""
        return row.profile in self.read_only and self.keeps_ack_of(row)


NO_TEAM_SERVERS: Final = TeamServers()


class Answer(Enum):
    """Whether a row can be acknowledged, or why not."""

    OPEN = auto()
    """Down or flapping, and acknowledged by nobody."""
    ACKED = auto()
    """Acknowledged for everybody who should know."""
    ACKED_HERE = auto()
    """Acknowledged on this machine, though the team's server would tell everybody."""
    LATE = auto()
    """Nothing is lost yet; a silence can be made beforehand."""
    UP = auto()
    NO_LOSS = auto()
    """Down, but nothing that needs a person, such as a replaced row."""


class RowAnswer(NamedTuple):
    """The answer about a row."""

    row: TrackedEnvironment
    answer: Answer
    ack: Ack | None = None
    """The acknowledgement in force."""


def answers_for(rows: Iterable[TrackedEnvironment], judge: Judge, servers: TeamServers) -> list[RowAnswer]:
    """Return the answer about each row, in order."""
    answers = []
    for row in rows:
        ack = ack_in_force(row, judge)
        if ack is None:
            answer = _answer_without_ack(row, judge)
        elif servers.keeps_ack_of(row) and shared_ack_of(row.environment) is None:
            answer = Answer.ACKED_HERE
        else:
            answer = Answer.ACKED
        answers.append(RowAnswer(row, answer, ack))
    return answers


def _answer_without_ack(row: TrackedEnvironment, judge: Judge) -> Answer:
    if can_be_acked(row, judge.moments[row.profile], is_in_incident=row.key in judge.lost):
        return Answer.OPEN
    if row.presence is Presence.LATE:
        return Answer.LATE
    return Answer.UP if row.verdict.is_up else Answer.NO_LOSS


def common_answer(answers: Iterable[RowAnswer]) -> Answer:
    """Return the answer that is true of all rows without a loss; late rows are up."""
    found = {each.answer for each in answers}
    if found == {Answer.LATE}:
        return Answer.LATE
    return Answer.UP if found <= {Answer.LATE, Answer.UP} else Answer.NO_LOSS


def ack_in_force(row: TrackedEnvironment, judge: Judge) -> Ack | None:
    """Return a row's acknowledgement, this machine's or the server's, if it has not ended by the server's clock.

    A server's mark stays in the listing until the next poll.
    """
    ack = judge.ack_of(row)
    return ack if ack is not None and ack.is_in_force(judge.moments[row.profile]) else None


class Terms(NamedTuple):
    """What a person says about a new acknowledgement."""

    note: SafeText = EMPTY
    lasts: timedelta | None = None
    """None until the machine is back."""

    def until(self, at: float) -> float | None:
        """Return the end of an acknowledgement of `at`."""
        return None if self.lasts is None else at + self.lasts / MS


def server_key(row: TrackedEnvironment, fleet: Fleet) -> ServerKey:
    """Return a row's key among acknowledgements."""
    return fleet.server_of(row.profile), row.environment.id


def acks_here(rows: Iterable[TrackedEnvironment], terms: Terms, fleet: Fleet, wall: WallMs, uuid: SafeText) -> Acks:
    """Return this machine's new acknowledgements, each by the clock of the row's server."""
    return {
        server_key(row, fleet): ack_of(row, _server_now(row.profile, fleet, wall), terms.note, terms.lasts, uuid)
        for row in rows
    }


def known_acks_here(rows: Iterable[TrackedEnvironment], own: Acks, fleet: Fleet) -> Acks:
    """Return those of this machine's acknowledgements that are about the rows."""
    keys = [server_key(row, fleet) for row in rows]
    return {key: own[key] for key in keys if key in own}


def ended_here(acks: Acks, fleet: Fleet | None, wall: WallMs) -> Acks:
    """Return this machine's acknowledgements, ended; the local clock decides for servers outside of the fleet."""
    moments = {} if fleet is None else server_moments(fleet, wall)
    return {key: ended_by_person(ack, moments.get(key[0], wall)) for key, ack in acks.items()}


def server_moments(fleet: Fleet, wall: WallMs) -> Mapping[SafeText, float]:
    """Return the time of each server."""
    return {each.server: each.clock.server_time(wall) for each in fleet}


def _server_now(profile: SafeText, fleet: Fleet, wall: WallMs) -> float:
    return fleet.by_profile[profile].clock.server_time(wall)


def blindness_key(server: SafeText) -> ServerKey:
    """Return the key of the acknowledgement of a blindness, which is about no row."""
    return server, EMPTY


def acked_blindness(incident: Incident, server: SafeText, terms: Terms, at: float, uuid: SafeText) -> Acks:
    """Return this machine's acknowledgement of a blindness.

    Another process may estimate an earlier clock, and an acknowledgement covers only what began before.
    """
    ack = blindness_ack(max(at, incident.began_at), terms.note, terms.lasts, uuid)
    return {blindness_key(server): ack}


def parts_of(rows: Sequence[TrackedEnvironment]) -> Iterator[Sequence[TrackedEnvironment]]:
    """Yield the rows of each request: of one profile, and no more than fit."""
    for profile in dict.fromkeys(row.profile for row in rows):
        same = [row for row in rows if row.profile == profile]
        for start in range(0, len(same), ROWS_AT_ONCE):
            yield same[start : start + ROWS_AT_ONCE]


class Shared(NamedTuple):
    """A team's server's answer to a new acknowledgement."""

    uuid: SafeText
    results: Sequence[tuple[TrackedEnvironment, AckedRow]] = ()
    """The result for each row; empty after an error."""
    error: SourceError | None = None
    """Why the request surely or maybe failed."""


async def share(team: Team, rows: Sequence[TrackedEnvironment], terms: Terms) -> Shared:
    """Ask a team's server to acknowledge rows of one request (`parts_of`)."""
    uuid = new_uuid()
    losses = tuple(AckedLoss(row.environment.id, newest_sign_at(row.environment)) for row in rows)
    seconds = None if terms.lasts is None else terms.lasts.total_seconds()
    try:
        answer = await team.acknowledge(uuid, AckRequest(losses, terms.note, seconds))
    except SourceError as error:
        return Shared(uuid, error=error)
    by_id = {each.id: each for each in answer}
    # A row without an answer is unknown there: no silence may look like a success.
    ids = [row.environment.id for row in rows]
    results = [by_id.get(id_, AckedRow(id_, AckResult.UNKNOWN)) for id_ in ids]
    return Shared(uuid, tuple(zip(rows, results, strict=True)))


def shared_acks_of(
    rows: Iterable[TrackedEnvironment], fleet: Fleet, wall: WallMs
) -> Mapping[tuple[SafeText, SafeText], Sequence[TrackedEnvironment]]:
    """Return the rows with a server's acknowledgement in force, by (profile, uuid).

    The uuid is empty for acknowledgements that only a user of the serving host can change.
    """
    shared: dict[tuple[SafeText, SafeText], list[TrackedEnvironment]] = {}
    for row in rows:
        ack = shared_ack_of(row.environment)
        if ack is not None and ack.is_in_force(_server_now(row.profile, fleet, wall)):
            shared.setdefault((row.profile, ack.uuid), []).append(row)
    return shared


async def change_shared(team: Team, uuid: SafeText, note: SafeText | None) -> SourceError | None:
    """Change the note of a team's acknowledgement, or end it if `note` is None; return why that failed."""
    try:
        if note is None:
            await team.end(uuid)
        else:
            await team.change_note(uuid, note)
    except SourceError as error:
        return error
    return None
