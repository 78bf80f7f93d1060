"""Problems that a person has acknowledged, with a note: they count as new no longer, until they recover.

Pure. Owns when an acknowledgement ends, and how acknowledgements are written down; where they are kept is `memory`'s
business. Goes by the environment's id alone: the same one under two profiles is one problem.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import Presence
from envwatch.model.text import Clean, clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment

LONGEST_NOTE: Final = 200
"""Characters of a note."""


@dataclass(frozen=True, slots=True)
class Ack:
    """That a person knows of a problem."""

    at: float
    """When it was said: milliseconds since the epoch, by the clock of the server that lists the environment."""
    note: Clean
    """What was said of it; at most `LONGEST_NOTE` characters, maybe none."""
    sign_at: float | None = None
    """The last sign of life that its row told then, by the server's own clock; None where an older file does not say.

    `at` may come from a local clock that is wrong: no answer may have told the time.
    """


Acks: TypeAlias = "Mapping[Clean, Ack]"
"""By the environment's id."""

NO_ACKS: Final[Acks] = MappingProxyType({})


def note_of(typed: str) -> Clean:
    """Return what a person typed as a note."""
    return clean(typed.strip(), LONGEST_NOTE)


def ack_of(tracked: TrackedEnvironment, at: float, note: Clean) -> Ack:
    """Return that a person knows of a problem as it is now; the rest as the fields of `Ack` have it."""
    return Ack(at, note, _sign_of(tracked.environment))


def recovered(acks: Acks, environments: Iterable[TrackedEnvironment]) -> frozenset[Clean]:
    """Return the ids of acknowledged environments that are no problem any more, or whose problem is another one.

    Only a row proves that: what is gone, or absent from the newest listing, may come back as ill as it was. What is
    offline and yet gave a sign of life since it was acknowledged had come back in between, when nobody watched.

    Args:
        acks: what is acknowledged.
        environments: after a listing, of all profiles: where one of two lists it as a problem, it still is one.
    """
    if not acks:
        return frozenset()
    listed = [
        tracked
        for tracked in environments
        if tracked.environment.id in acks and not tracked.absent and tracked.presence is not Presence.GONE
    ]
    ill = {tracked.environment.id for tracked in listed if tracked.is_problem and not _came_back(tracked, acks)}
    return frozenset(tracked.environment.id for tracked in listed) - ill


def _came_back(tracked: TrackedEnvironment, acks: Acks) -> bool:
    environment = tracked.environment
    ack = acks[environment.id]
    has_shown = _sign_of(environment) > (ack.at if ack.sign_at is None else ack.sign_at)
    return tracked.presence is Presence.OFFLINE and not tracked.is_flapping and has_shown


def losses_of(ended: Collection[Clean], environments: Iterable[TrackedEnvironment]) -> list[Event]:
    """Return the losses that nobody knows of any more: of what is down and whose acknowledgement has ended.

    Such a loss was heard of while it was acknowledged, when it was nobody's news, or not at all.

    Args:
        ended: ids of environments, as `recovered` returns them.
        environments: after the listing by which those ended.
    """
    return [
        Event(
            kind=Kind.OFFLINE,
            at=tracked.environment.last_sign_at if tracked.since_at is None else tracked.since_at,
            profile=tracked.profile,
            id=tracked.environment.id,
            name=tracked.environment.name,
            before=Clean("online"),
            after=Clean(Presence.OFFLINE),
            reason=Clean(tracked.verdict.reason),
        )
        for tracked in environments
        if tracked.environment.id in ended and tracked.presence is Presence.OFFLINE and not tracked.absent
    ]


def _sign_of(environment: Environment) -> float:
    """Return the newest instant of either kind: a row without its heartbeat is not newer for it."""
    return max(environment.last_seen_at, environment.last_sign_at)


def content_of(acks: Acks) -> dict[str, dict[str, Any]]:
    """Return acknowledgements as they are written down, as JSON: `{"<id>": {"at": 123.0, "note": "..."}}`.

    `sign_at` stands there too, where it is known.
    """
    return {id_: {name: value for name, value in asdict(ack).items() if value is not None} for id_, ack in acks.items()}


def acks_of(content: Mapping[str, object]) -> Acks:
    """Return what was written down, except each entry that is damaged; of two for one id, the newest counts."""
    acks: dict[Clean, Ack] = {}
    for told_id, told in content.items():
        id_, ack = clean(told_id), _ack_of(told)
        if ack is not None and (id_ not in acks or ack.at > acks[id_].at):
            acks[id_] = ack
    return acks


def _ack_of(told: object) -> Ack | None:
    if not isinstance(told, dict):
        return None
    at, note = _instant_of(told.get("at")), told.get("note", "")
    if at is None or not isinstance(note, str):
        return None
    return Ack(at, clean(note, LONGEST_NOTE), _instant_of(told.get("sign_at")))


def _instant_of(told: object) -> float | None:
    if isinstance(told, bool) or not isinstance(told, (int, float)):
        return None
    try:
        at = float(told)
    except OverflowError:
        return None
    return at if math.isfinite(at) else None
