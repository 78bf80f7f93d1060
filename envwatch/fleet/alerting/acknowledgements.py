"""Acknowledged problems, which raise no alert until the environment recovers.

The key is (server, id): two profiles of a server share environments, and two servers may use the same id for two
environments.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import Presence
from envwatch.fleet.profile_state import missing_id
from envwatch.model.text import EMPTY, SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping

    from envwatch.fleet.profile_state import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import ServerMs
    from envwatch.model.environment import Environment


def finite_number(raw: object) -> float | None:
    """Return a JSON value as a finite number, if possible."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        return None
    try:
        number = float(raw)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


LONGEST_NOTE: Final = 200
LONGEST_NAME: Final = 80
"""Most characters of a user's name on this machine, or of an id."""


@dataclass(frozen=True, slots=True)
class Ack:
    """An acknowledged problem."""

    at: float
    """Ms since the epoch by the server's clock; by the local clock if the server's is unknown."""
    note: SafeText
    sign_at: float | None = None
    """The row's last sign of life at the acknowledgement (server's clock, ms), right despite a wrong local clock. None
    in older files."""


ServerKey: TypeAlias = tuple[SafeText, SafeText]

Acks: TypeAlias = "Mapping[ServerKey, Ack]"
"""By server and id. An acknowledgement of envwatch 1.0.0, which knew no server, has the server `EMPTY` and counts for
every server with the id."""

OwnAcks: TypeAlias = "Mapping[SafeText, Ack]"

NO_ACKS: Final[Acks] = MappingProxyType({})
NO_OWN_ACKS: Final[OwnAcks] = MappingProxyType({})
NO_SERVERS: Final[Mapping[SafeText, SafeText]] = MappingProxyType({})


def keys_of(server: SafeText, id_: SafeText) -> tuple[ServerKey, ...]:
    """Return an environment's keys in order of precedence: for the server, then for every server."""
    return ((server, id_), (EMPTY, id_)) if server else ((EMPTY, id_),)


def ack_in(acks: Acks, server: SafeText, id_: SafeText) -> Ack | None:
    """Return an environment's acknowledgement."""
    return acks.get((server, id_)) or acks.get((EMPTY, id_)) if acks else None


def own_acks(acks: Acks, server: SafeText, ids: Container[SafeText]) -> OwnAcks:
    """Return the acknowledgements of a server's environments, by id."""
    found = {id_: ack for (each, id_), ack in acks.items() if not each and id_ in ids}
    found.update((id_, ack) for (each, id_), ack in acks.items() if each and each == server and id_ in ids)
    return found or NO_OWN_ACKS


def with_server(acks: OwnAcks, server: SafeText) -> Acks:
    """Return a profile's acknowledgements by (server, id)."""
    return {(server, id_): ack for id_, ack in acks.items()}


def note_of(typed: str) -> SafeText:
    """Return a typed note, cleaned and shortened."""
    return clean(typed.strip(), LONGEST_NOTE)


def ack_of(tracked: TrackedEnvironment, at: float, note: SafeText) -> Ack:
    """Return an acknowledgement of a present problem."""
    return Ack(at, note, _newest_seen_at(tracked.environment))


def recovered(
    acks: Acks,
    environments: Iterable[TrackedEnvironment],
    servers: Mapping[SafeText, SafeText] = NO_SERVERS,
    *,
    are_all_listed: bool = True,
) -> frozenset[ServerKey]:
    """Return the keys of acknowledgements whose environment has recovered, or has a different problem.

    Only a row proves an end: an absent environment may come back with the same problem. An offline environment with a
    sign of life after the acknowledgement was up unseen. An acknowledgement for one server ends once no profile of the
    server has the problem. An acknowledgement for every server ends once every profile is listed (`are_all_listed`), a
    server lists the id, and no server has the problem.
    """
    if not acks:
        return frozenset()
    ids = {id_ for _, id_ in acks}
    listed: set[ServerKey] = set()
    problems: set[ServerKey] = set()
    for tracked in environments:
        id_ = tracked.environment.id
        if id_ not in ids or tracked.absent or tracked.presence.is_absent:
            continue
        for key in keys_of(servers.get(tracked.profile, EMPTY), id_):
            if (ack := acks.get(key)) is not None:
                listed.add(key)
                if tracked.is_unhealthy and not _came_back(tracked, ack):
                    problems.add(key)
    return frozenset(key for key in listed - problems if key[0] or are_all_listed)


def _came_back(tracked: TrackedEnvironment, ack: Ack) -> bool:
    is_newer = _newest_seen_at(tracked.environment) > (ack.at if ack.sign_at is None else ack.sign_at)
    return tracked.presence is Presence.OFFLINE and not tracked.is_flapping and is_newer


def listed_after_all(acks: Acks, fleet: Fleet) -> frozenset[ServerKey]:
    """Return the acknowledgements of expected environments that were missing and are listed now."""
    if not acks or fleet.unlisted:
        return frozenset()
    expected: set[ServerKey] = set()
    still: set[ServerKey] = set()
    for profile_state in fleet:
        for id_ in map(missing_id, profile_state.expect):
            keys = keys_of(profile_state.server, id_)
            expected.update(keys)
            if id_ in profile_state.environments:
                still.update(keys)
    return frozenset(expected & acks.keys()) - still


def losses_of(
    ended: Collection[ServerKey],
    environments: Iterable[TrackedEnvironment],
    servers: Mapping[SafeText, SafeText] = NO_SERVERS,
) -> list[Event]:
    """Return the losses of offline environments whose acknowledgement ended, for a new alert."""
    online, offline = clean(Presence.ONLINE), clean(Presence.OFFLINE)
    return [
        tracked.event(
            Kind.OFFLINE, tracked.lost_at, before=online, after=offline, reason=clean(tracked.verdict.reason), then=None
        )
        for tracked in environments
        if tracked.presence is Presence.OFFLINE
        and not tracked.absent
        and any(key in ended for key in keys_of(servers.get(tracked.profile, EMPTY), tracked.environment.id))
    ]


def _newest_seen_at(environment: Environment) -> ServerMs:
    """Return the newest sighting, which losing a heartbeat does not change."""
    return max(environment.last_seen_at, environment.last_seen_alive_at)


def name_of(key: ServerKey) -> str:
    """Return the name of an entry in the file: `<server> <id>`, or `<id>` for every server."""
    return " ".join(filter(None, key))


def entry_of(key: ServerKey, ack: Ack) -> dict[str, Any]:
    """Return the value of an entry: `{"at": 123.0, "note": "...", "sign_at": 120.0}`, with `server` and `id` if any."""
    server, id_ = key
    entry = {name: value for name, value in asdict(ack).items() if value is not None}
    return {**entry, "server": server, "id": id_} if server else entry


def acks_of(content: Mapping[str, object]) -> Acks:
    """Return a file's acknowledgements; damaged entries are dropped, the newest of duplicates counts."""
    acks: dict[ServerKey, Ack] = {}
    for name, raw in content.items():
        if (entry := _entry_in(name, raw)) is not None:
            key, ack = entry
            if key not in acks or ack.at > acks[key].at:
                acks[key] = ack
    return acks


def _entry_in(name: str, raw: object) -> tuple[ServerKey, Ack] | None:
    if not isinstance(raw, dict):
        return None
    at, note = finite_number(raw.get("at")), raw.get("note", "")
    server, id_ = raw.get("server", ""), raw.get("id") if "server" in raw else name
    if at is None or not (isinstance(note, str) and isinstance(server, str) and isinstance(id_, str)):
        return None
    ack = Ack(at, clean(note, LONGEST_NOTE), finite_number(raw.get("sign_at")))
    return (clean(server), clean(id_)), ack
