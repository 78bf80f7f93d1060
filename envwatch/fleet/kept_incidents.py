"""Open incidents, as a JSON file keeps them from run to run for hooks, so that their end is sent too.

Pure; `storage` owns the file. Of the environments it keeps what a message names; their rows come with the next listing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.finite import finite_number
from envwatch.fleet.incidents import LOSSES, Incident
from envwatch.model.clock import ServerMs
from envwatch.model.text import EMPTY, SafeText, clean

if TYPE_CHECKING:
    from envwatch.model.clock import MonotonicS

_LONGEST_ID: Final = 80
_KINDS: Final[Mapping[str | None, Kind]] = {kind.value: kind for kind in LOSSES}


@dataclass(frozen=True, slots=True)
class KeptIncident:
    """An open incident, and which hooks have sent it."""

    incident: Incident
    source: str
    """The listing that it is about, as in CloudEvents: the same profile may lead to another server later."""
    hooks: frozenset[SafeText]
    """Names of the hooks that have sent its opening; maybe none has yet."""


def content_of(kept: KeptIncident) -> dict[str, Any]:
    """Return an incident's entry in the file, which has its id as the name."""
    incident = kept.incident
    losses = [
        {"id": loss.id, "name": loss.name, "kind": loss.kind.value, "reason": loss.reason, "at": loss.at}
        for loss in incident.losses
    ]
    return {
        "source": kept.source,
        "hooks": sorted(kept.hooks),
        "began_at": incident.began_at,
        "is_mass": incident.is_mass,
        "shared": incident.shared,
        "losses": losses,
    }


def kept_incidents(
    content: Mapping[str, object], profiles: Mapping[str, SafeText], at: MonotonicS
) -> list[KeptIncident]:
    """Return the incidents of a file, the oldest first, without damaged ones and those of other listings.

    `profiles` are the names by which profiles are watched now, by the source of their events. The incidents count as
    noticed now (`at`).
    """
    found = [_kept_in(clean(id_, _LONGEST_ID), raw, profiles, at) for id_, raw in content.items()]
    return sorted((kept for kept in found if kept is not None), key=lambda kept: kept.incident.began_at)


def _kept_in(id_: SafeText, raw: object, profiles: Mapping[str, SafeText], at: MonotonicS) -> KeptIncident | None:
    if not isinstance(raw, dict) or not isinstance(source := raw.get("source"), str) or source not in profiles:
        return None
    began_at, entries, hooks = finite_number(raw.get("began_at")), raw.get("losses"), raw.get("hooks")
    if began_at is None or not isinstance(entries, list) or not isinstance(hooks, list):
        return None
    losses = [loss for entry in entries if (loss := _loss_in(entry, profiles[source], id_)) is not None]
    if not losses:
        return None
    incident = Incident(
        id=id_,
        profile=profiles[source],
        began_at=ServerMs(began_at),
        losses=tuple(losses),
        is_mass=raw.get("is_mass") is True,
        shared=_text(raw.get("shared")),
        noticed_at=at,
        remaining=frozenset((loss.profile, loss.id or EMPTY) for loss in losses),
    )
    return KeptIncident(incident, source, frozenset(clean(hook) for hook in hooks if isinstance(hook, str)))


def _loss_in(raw: object, profile: SafeText, incident: SafeText) -> Event | None:
    if not isinstance(raw, Mapping):
        return None
    at, kind, id_ = finite_number(raw.get("at")), _text(raw.get("kind")), _text(raw.get("id"))
    if at is None or kind not in _KINDS or id_ is None:
        return None
    return Event(
        kind=_KINDS[kind],
        at=ServerMs(at),
        profile=profile,
        id=id_,
        name=_text(raw.get("name")),
        reason=_text(raw.get("reason")),
        incident=incident,
    )


def _text(raw: object) -> SafeText | None:
    return clean(raw) if isinstance(raw, str) and raw else None
