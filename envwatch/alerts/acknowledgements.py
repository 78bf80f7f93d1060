"""Acknowledged problems raise no alert until the environment recovers.

The key is (server, id): a server's profiles share environments, and servers may share ids.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import can_be_acked
from envwatch.fleet.profile_state import missing_id
from envwatch.model.acks import LONGEST_NAME, LONGEST_NOTE, Ack, AckedRow, AckResult
from envwatch.model.clock import ESTIMATES_DIFFER_MS
from envwatch.model.text import EMPTY, LONGEST, SafeText, clean, composed
from envwatch.model.times import MS, long_age, span
from envwatch.stored.codecs import CLOCK, Codec, object_of, optional, record, text_up_to
from envwatch.stored.entries import entries_in, readable

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping
    from datetime import timedelta

    from envwatch.fleet.profile_state import Fleet, ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.acks import AckAnswer, AckedLoss
    from envwatch.model.clock import ServerMs, WallMs
    from envwatch.model.environment import Environment

K = TypeVar("K")
T = TypeVar("T")


def with_changes(entries: Mapping[K, T], changes: Mapping[K, T | None]) -> dict[K, T]:
    """Return `entries` with `changes`; the value None removes an entry."""
    return {key: entry for key, entry in {**entries, **changes}.items() if entry is not None}


ServerKey: TypeAlias = tuple[SafeText, SafeText]

Acks: TypeAlias = "Mapping[ServerKey, Ack]"

OwnAcks: TypeAlias = "Mapping[SafeText, Ack]"

NO_ACKS: Final[Acks] = MappingProxyType({})
NO_OWN_ACKS: Final[OwnAcks] = MappingProxyType({})
NO_SERVERS: Final[Mapping[SafeText, SafeText]] = MappingProxyType({})


def own_acks(acks: Acks, server: SafeText, ids: Container[SafeText]) -> OwnAcks:
    """Return a server's acknowledgements of `ids`."""
    return {id_: ack for (each, id_), ack in acks.items() if each == server and id_ in ids} or NO_OWN_ACKS


def with_server(acks: OwnAcks, server: SafeText) -> Acks:
    """Return a server's acknowledgements by (server, id)."""
    return {(server, id_): ack for id_, ack in acks.items()}


def ack_of(
    tracked: TrackedEnvironment,
    at: float,
    note: SafeText,
    lasts: timedelta | None = None,
    uuid: SafeText = EMPTY,
) -> Ack:
    """Return this machine's acknowledgement; without `lasts`, until the row is back."""
    until = None if lasts is None else at + lasts / MS
    return Ack(at, note, newest_sign_at(tracked.environment), until=until, uuid=uuid)


def blindness_ack(at: float, note: SafeText, lasts: timedelta | None = None, uuid: SafeText = EMPTY) -> Ack:
    """Return this machine's acknowledgement of a blindness; without `lasts`, until envwatch sees again."""
    until = None if lasts is None else at + lasts / MS
    return Ack(at, note, until=until, uuid=uuid)


def ended_by_person(ack: Ack, at: float, by: SafeText = EMPTY) -> Ack:
    """Return an acknowledgement that a person ends at `at`.

    The stored end is earlier, because another process may estimate an earlier clock.
    """
    return replace(ack, until=at - ESTIMATES_DIFFER_MS, ended_by=by)


def ack_events(
    kind: Kind, rows: Iterable[tuple[TrackedEnvironment, Ack]], moments: Mapping[SafeText, ServerMs]
) -> list[Event]:
    """Return an event for each begun or ended acknowledgement; several rows are a group."""
    groups: dict[tuple[SafeText, Ack], list[Event]] = {}
    for row, ack in rows:
        change = {"after": ack.uuid} if kind is Kind.ACKNOWLEDGED else {"before": ack.uuid}
        event = row.event(kind, moments[row.profile], field="acknowledgement", reason=_reason(kind, ack), **change)
        groups.setdefault((row.profile, replace(ack, sign_at=None)), []).append(event)
    return [
        same[0] if len(same) == 1 else replace(same[0], id=None, name=None, then=None, members=tuple(same))
        for same in groups.values()
    ]


def blindness_ack_event(kind: Kind, loss: Event, name: SafeText | None, ack: Ack, at: ServerMs) -> Event:
    """Return the event of a begun or ended acknowledgement of the platform's or envwatch's own loss."""
    is_begin = kind is Kind.ACKNOWLEDGED
    return Event(
        kind=kind,
        at=at,
        profile=loss.profile,
        name=name,
        field="acknowledgement",
        before=None if is_begin else ack.uuid,
        after=ack.uuid if is_begin else None,
        reason=_reason(kind, ack),
        incident=loss.incident,
    )


def _reason(kind: Kind, ack: Ack) -> SafeText:
    if kind is Kind.ACK_ENDED:
        return composed(f"{f'by {ack.ended_by}; it was ' if ack.ended_by else ''}{_who(replace(ack, until=None))}")
    return _who(ack)


def _who(ack: Ack) -> SafeText:
    address = f" ({ack.address})" if ack.address else ""
    lasts = "" if ack.until is None else f" for {long_age(span(max(ack.until - ack.at, 0.0)))}"
    note = f": {ack.note}" if ack.note else ""
    return composed(f"{f'by {ack.by}' if ack.by else 'here'}{address}{lasts}{note}")


class SplitAcks(NamedTuple):
    """Acknowledgements in force, and ended acknowledgements."""

    in_force: Acks
    ended: Acks


def split_acks(acks: Acks, before: Acks, fleet: Fleet, wall: WallMs) -> SplitAcks:
    """Return acknowledgements in force and ended acknowledgements, by the clock of each server.

    Acknowledgements in `before` stay ended: a new estimate of the clock may be earlier.
    """
    if all(ack.until is None for ack in acks.values()):
        return SplitAcks(acks, NO_ACKS)
    moments = {each.server: each.clock.server_time(wall) for each in fleet}
    ended = {
        key: ack
        for key, ack in acks.items()
        if ack.until is not None and (ack.until <= moments.get(key[0], -inf) or before.get(key) == ack)
    }
    return SplitAcks({key: ack for key, ack in acks.items() if key not in ended}, ended)


def ended_acks(acks: Acks, fleet: Fleet) -> frozenset[ServerKey]:
    """Return the keys whose environment recovered, or has a different problem, in all profiles of the server.

    Only a row proves an end: an absent environment may come back with the same problem. An environment has recovered
    once it was up for `limits.BACK_AFTER`. A newer sign of life proves that an offline environment was up unseen. A
    missing environment's acknowledgement ends with the row `missing_id`.
    """
    return frozenset(key for key, ack in acks.items() if _has_ended(key, ack, fleet))


def _has_ended(key: ServerKey, ack: Ack, fleet: Fleet) -> bool:
    server, id_ = key
    profiles = [profile_state for profile_state in fleet if profile_state.server == server]
    rows = [(each, row) for each in profiles if (row := each.environments.get(id_)) is not None]
    if not rows:
        return not fleet.unlisted and any(id_ == missing_id(name) for each in profiles for name in each.expect)
    listed = [(each, row) for each, row in rows if not (row.absent or row.verdict.is_absent)]
    return bool(listed) and all(_is_well(each, row) or _came_back(row, ack) for each, row in listed)


def _is_well(profile_state: ProfileState, tracked: TrackedEnvironment) -> bool:
    if tracked.is_unhealthy:
        return False
    at = profile_state.listed_at
    return at is None or not tracked.verdict.is_up or tracked.has_stayed_up(at)


def _came_back(tracked: TrackedEnvironment, ack: Ack) -> bool:
    is_newer = newest_sign_at(tracked.environment) > (ack.at if ack.sign_at is None else ack.sign_at)
    return tracked.verdict.is_listed_off and not tracked.is_flapping and is_newer


def continued_acks(acks: Acks, before: ProfileState, after: ProfileState) -> Acks:
    """Return the acknowledgements of environments that came back too briefly to be back, with the new sign of life."""
    server = after.server
    return {
        (server, id_): replace(ack, sign_at=newest_sign_at(tracked.environment))
        for (each, id_), ack in acks.items()
        if each == server
        and (was := before.environments.get(id_)) is not None
        and (tracked := after.environments.get(id_)) is not None
        and was.verdict.is_up
        and tracked.verdict.is_listed_off
        and not was.has_stayed_up(tracked.lost_at)
    }


def losses_of(
    ended: Collection[ServerKey],
    environments: Iterable[TrackedEnvironment],
    servers: Mapping[SafeText, SafeText] = NO_SERVERS,
) -> list[Event]:
    """Return new losses of offline environments whose acknowledgement ended."""
    online, offline = clean(Presence.ONLINE), clean(Presence.OFFLINE)
    return [
        tracked.event(
            Kind.OFFLINE, tracked.lost_at, before=online, after=offline, reason=clean(tracked.verdict.reason), then=None
        )
        for tracked in environments
        if tracked.verdict.is_listed_off
        and not tracked.absent
        and (servers.get(tracked.profile, EMPTY), tracked.environment.id) in ended
    ]


def newest_sign_at(environment: Environment) -> ServerMs:
    """Return the last sign of life, which names a loss: a lost heartbeat does not change the sign."""
    return max(environment.last_seen_at, environment.last_seen_alive_at)


_SAME_SIGN_MS: Final = 1_000.0
"""Greatest difference of a loss's signs: viewer and server may have read different listings."""


def acks_of_uuid(acks: Acks, server: SafeText, uuid: SafeText) -> Acks:
    """Return the acknowledgements of a request."""
    return {key: ack for key, ack in acks.items() if key[0] == server and ack.uuid == uuid}


def contradicts(known: Ack, new: Ack) -> bool:
    """Whether two acknowledgements of a uuid differ in note, or in duration unless `known` has ended."""
    has_ended = known.until is not None and known.until <= new.at
    lasts, other = ((inf if ack.until is None else ack.until - ack.at) for ack in (known, new))
    return known.note != new.note or not (has_ended or lasts == other or abs(lasts - other) < _SAME_SIGN_MS)


def answered(  # noqa: PLR0913 - a request, and what is known of its rows
    losses: Iterable[AckedLoss],
    new: Ack,
    known: Acks,
    profile_state: ProfileState,
    host: SafeText,
    *,
    lost: Container[SafeText] = (),
) -> tuple[Acks, AckAnswer]:
    """Return the acknowledgements by a viewer's request, and the answer about each row.

    `new` has no sign of life yet. `known` includes ended acknowledgements; of two people the first stays. `host` names
    this machine's user on the wire. `lost` has the ids of rows with a waiting loss or an open incident.
    """
    made: dict[ServerKey, Ack] = {}
    answer: list[AckedRow] = []
    for loss in losses:
        key = profile_state.server, loss.id
        tracked, ack = profile_state.environments.get(loss.id), known.get(key)
        result = _result(loss, tracked, ack, new, is_in_incident=loss.id in lost)
        if result is AckResult.ACKED and tracked is not None and (ack is None or ack.uuid != new.uuid):
            ack = made[key] = replace(new, sign_at=newest_sign_at(tracked.environment))
        if ack is not None and result in {AckResult.ACKED, AckResult.ALREADY}:
            answer.append(AckedRow(loss.id, result, ack.by or host, ack.at))
        else:
            answer.append(AckedRow(loss.id, result))
    return made, tuple(answer)


def _result(
    loss: AckedLoss, tracked: TrackedEnvironment | None, ack: Ack | None, new: Ack, *, is_in_incident: bool
) -> AckResult:
    if ack is not None and ack.uuid == new.uuid:
        return AckResult.ACKED  # a late repetition
    if tracked is None:
        return AckResult.UNKNOWN
    if ack is not None and (ack.until is None or ack.until > new.at):
        return AckResult.ALREADY
    if not can_be_acked(tracked, new.at, is_in_incident=is_in_incident):
        return AckResult.RECOVERED
    sign_at = -inf if loss.sign_at is None else loss.sign_at
    if not tracked.is_flapping and newest_sign_at(tracked.environment) > sign_at + _SAME_SIGN_MS:
        return AckResult.OTHER_LOSS
    return AckResult.ACKED


def name_of(key: ServerKey) -> str:
    """Return an entry's name: `<server> <id>`."""
    return " ".join(filter(None, key))


_ID: Final = text_up_to(LONGEST)
_NAME: Final = text_up_to(LONGEST_NAME)


def of_environment(codec: Codec[T]) -> Codec[tuple[ServerKey, T]]:
    """Return the codec of a record about an environment, with `server` and `id`."""

    def plain(entry: tuple[ServerKey, T]) -> dict[str, Any]:
        (server, id_), value = entry
        return {"server": server, "id": id_, **codec.plain(value)}

    def value(plain: object) -> tuple[ServerKey, T]:
        fields = object_of(plain)
        return (_ID.value(fields["server"]), _ID.value(fields["id"])), codec.value(fields)

    return Codec(plain, value)


ACK_ENTRY: Final = of_environment(
    record(
        Ack,
        at=CLOCK,
        note=text_up_to(LONGEST_NOTE),
        sign_at=Codec(lambda at: at if at is None or isfinite(at) else None, optional(CLOCK).value),
        by=_NAME,
        until=optional(CLOCK),
        uuid=_NAME,
        address=_NAME,
        ended_by=_NAME,
    )
)
"""An entry of the file."""


def acks_of(content: Mapping[str, Any]) -> Acks:
    """Return a file's readable acknowledgements; the newest of duplicates counts."""
    acks: dict[ServerKey, Ack] = {}
    for key, ack in readable(entries_in(content), ACK_ENTRY, []).values():
        if key not in acks or ack.at > acks[key].at:
            acks[key] = ack
    return acks
