"""Problems that a user has acknowledged, with a note: they do not count as new until they recover.

Pure. Owns when an acknowledgement ends, and its JSON form; `storage` owns the file. The key is (server, id): two
profiles of one server that list one id list one environment, and two servers may use one id for two environments.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.inventory import missing_id
from envwatch.fleet.presence import Presence
from envwatch.model.text import EMPTY, SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping

    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import ServerMs
    from envwatch.model.environment import Environment


def finite_number(raw: object) -> float | None:
    """Return a value of JSON as a finite number; None if it is none."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        return None
    try:
        number = float(raw)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


LONGEST_NOTE: Final = 200
"""Characters of a note."""


@dataclass(frozen=True, slots=True)
class Ack:
    """One acknowledgement."""

    at: float
    """When it was given, in ms since the epoch: the server's clock, or the local one while that is unknown."""
    note: SafeText
    """At most `LONGEST_NOTE` characters, maybe none."""
    sign_at: float | None = None
    """The last sign of life in its row at that time, server's clock in ms; None in older files.

    Unlike `at` it cannot come from a local clock that is wrong.
    """


ServerKey: TypeAlias = tuple[SafeText, SafeText]
"""Which environment: `ProfileState.server`, and the id. The server is `EMPTY` for every server that lists the id."""

Acks: TypeAlias = "Mapping[ServerKey, Ack]"
"""By the environment. envwatch 1.0.0 knew no server: its acknowledgements count for every server that lists the id."""

OwnAcks: TypeAlias = "Mapping[SafeText, Ack]"
"""The acknowledgements of one profile's environments, by id."""

NO_ACKS: Final[Acks] = MappingProxyType({})
NO_OWN_ACKS: Final[OwnAcks] = MappingProxyType({})
NO_SERVERS: Final[Mapping[SafeText, SafeText]] = MappingProxyType({})


def keys_of(server: SafeText, id_: SafeText) -> tuple[ServerKey, ...]:
    """Return the keys under which acknowledgements and silences of an environment are kept, its own first."""
    return ((server, id_), (EMPTY, id_)) if server else ((EMPTY, id_),)


def ack_in(acks: Acks, server: SafeText, id_: SafeText) -> Ack | None:
    """Return the acknowledgement that counts for an environment of a server."""
    return acks.get((server, id_)) or acks.get((EMPTY, id_)) if acks else None


def own_acks(acks: Acks, server: SafeText, ids: Container[SafeText]) -> OwnAcks:
    """Return the acknowledgements that count for some environments of a server."""
    found = {id_: ack for (each, id_), ack in acks.items() if not each and id_ in ids}
    found.update((id_, ack) for (each, id_), ack in acks.items() if each and each == server and id_ in ids)
    return found or NO_OWN_ACKS


def with_server(acks: OwnAcks, server: SafeText) -> Acks:
    """Return the acknowledgements of a profile's environments by (server, id)."""
    return {(server, id_): ack for id_, ack in acks.items()}


def note_of(typed: str) -> SafeText:
    """Return typed text as a note."""
    return clean(typed.strip(), LONGEST_NOTE)


def ack_of(tracked: TrackedEnvironment, at: float, note: SafeText) -> Ack:
    """Return the acknowledgement of a problem as it is now; the arguments are as the fields of `Ack` describe them."""
    return Ack(at, note, _newest_seen_at(tracked.environment))


def recovered(
    acks: Acks,
    environments: Iterable[TrackedEnvironment],
    servers: Mapping[SafeText, SafeText] = NO_SERVERS,
    *,
    are_all_listed: bool = True,
) -> frozenset[ServerKey]:
    """Return the keys of acknowledgements whose environment is no problem any more, or has another problem.

    Only a row proves the end of a problem: an environment that is gone or absent may come back with the same problem.
    An offline environment with a sign of life after its acknowledgement was up in between, unseen. The environments
    are the rows of all profiles, and `servers` has the server of each profile. An acknowledgement for one server ends
    once the id is a problem under no profile of the server. An acknowledgement for every server ends once a server
    lists the id and the id is a problem on no server. Before every profile is listed (`are_all_listed`), an
    acknowledgement for every server does not end.
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
    """Return the acknowledgements of environments that were missing, never listed, and are listed now."""
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
    """Return the losses of offline environments whose acknowledgement has ended: they need an alert again.

    `servers` has the server of each profile.
    """
    return [
        Event(
            kind=Kind.OFFLINE,
            at=tracked.lost_at,
            profile=tracked.profile,
            id=tracked.environment.id,
            name=tracked.environment.label,
            before=clean("online"),
            after=clean(Presence.OFFLINE),
            reason=clean(tracked.verdict.reason),
        )
        for tracked in environments
        if tracked.presence is Presence.OFFLINE
        and not tracked.absent
        and any(key in ended for key in keys_of(servers.get(tracked.profile, EMPTY), tracked.environment.id))
    ]


def _newest_seen_at(environment: Environment) -> ServerMs:
    """Return the newest sighting, with or without a heartbeat: a row is no newer because the row lost its heartbeat."""
    return max(environment.last_seen_at, environment.last_seen_alive_at)


def name_of(key: ServerKey) -> str:
    """Return the name of an entry in a JSON file: `<server> <id>`, or `<id>` for every server."""
    return " ".join(filter(None, key))


def entry_of(key: ServerKey, ack: Ack) -> dict[str, Any]:
    """Return the value of an entry: `{"at": 123.0, "note": "...", "sign_at": 120.0}`, with `server` and `id` if any."""
    server, id_ = key
    entry = {name: value for name, value in asdict(ack).items() if value is not None}
    return {**entry, "server": server, "id": id_} if server else entry


def acks_of(content: Mapping[str, object]) -> Acks:
    """Return the acknowledgements of a file without damaged entries; of two for one key, the newest counts."""
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
