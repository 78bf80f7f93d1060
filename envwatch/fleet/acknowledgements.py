"""Problems that a user has acknowledged, with a note: they do not count as new until they recover.

Pure. Owns when an acknowledgement ends, and its JSON form; `storage` owns the file. The key is the environment's id
alone: the same one under two profiles is one problem.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.finite import finite_number
from envwatch.fleet.presence import Presence
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import ServerMs
    from envwatch.model.environment import Environment

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


Acks: TypeAlias = "Mapping[SafeText, Ack]"
"""By the environment's id."""

NO_ACKS: Final[Acks] = MappingProxyType({})


def note_of(typed: str) -> SafeText:
    """Return typed text as a note."""
    return clean(typed.strip(), LONGEST_NOTE)


def ack_of(tracked: TrackedEnvironment, at: float, note: SafeText) -> Ack:
    """Return the acknowledgement of a problem as it is now; the arguments are as the fields of `Ack` describe them."""
    return Ack(at, note, _newest_seen_at(tracked.environment))


def recovered(acks: Acks, environments: Iterable[TrackedEnvironment]) -> frozenset[SafeText]:
    """Return the ids of acknowledged environments that are no problem any more, or whose problem is another one.

    Only a row proves that: an environment that is gone or absent may come back with the same problem. One that is
    offline and gave a sign of life since it was acknowledged was up in between, unseen. The environments are those of
    all profiles: an id that is a problem under any of them still is one.
    """
    if not acks:
        return frozenset()
    listed = [
        tracked
        for tracked in environments
        if tracked.environment.id in acks and not tracked.absent and not tracked.presence.is_absent
    ]
    problems = {tracked.environment.id for tracked in listed if tracked.is_unhealthy and not _came_back(tracked, acks)}
    return frozenset(tracked.environment.id for tracked in listed) - problems


def _came_back(tracked: TrackedEnvironment, acks: Acks) -> bool:
    ack = acks[tracked.environment.id]
    is_newer = _newest_seen_at(tracked.environment) > (ack.at if ack.sign_at is None else ack.sign_at)
    return tracked.presence is Presence.OFFLINE and not tracked.is_flapping and is_newer


def losses_of(ended: Collection[SafeText], environments: Iterable[TrackedEnvironment]) -> list[Event]:
    """Return the losses of offline environments whose acknowledgement, by id, has ended: they need an alert again."""
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
        if tracked.environment.id in ended and tracked.presence is Presence.OFFLINE and not tracked.absent
    ]


def _newest_seen_at(environment: Environment) -> ServerMs:
    """Return the newest sighting, with or without a heartbeat: a row is no newer because the row lost its heartbeat."""
    return max(environment.last_seen_at, environment.last_seen_alive_at)


def content_of(acks: Acks) -> dict[str, dict[str, Any]]:
    """Return acknowledgements for a JSON file: `{"<id>": {"at": 123.0, "note": "...", "sign_at": 120.0}}`."""
    return {id_: {name: value for name, value in asdict(ack).items() if value is not None} for id_, ack in acks.items()}


def acks_of(content: Mapping[str, object]) -> Acks:
    """Return the acknowledgements of a file without damaged entries; of two for one id, the newest counts."""
    acks: dict[SafeText, Ack] = {}
    for raw_id, raw_ack in content.items():
        id_, ack = clean(raw_id), _ack_in(raw_ack)
        if ack is not None and (id_ not in acks or ack.at > acks[id_].at):
            acks[id_] = ack
    return acks


def _ack_in(raw: object) -> Ack | None:
    if not isinstance(raw, dict):
        return None
    at, note = finite_number(raw.get("at")), raw.get("note", "")
    if at is None or not isinstance(note, str):
        return None
    return Ack(at, clean(note, LONGEST_NOTE), finite_number(raw.get("sign_at")))
