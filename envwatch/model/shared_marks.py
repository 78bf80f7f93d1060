"""Acknowledgements, silences and alert decisions of the serving host.

`envwatch serve` sends these in a row's field, which foreign clients ignore. Acknowledgements count here, silences are
only shown, and decisions count unless a person on this machine decided. The client drops the field of servers whose
health does not name envwatch, and ignores unfit values of all servers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model import limits
from envwatch.model.acks import LONGEST_NAME, LONGEST_NOTE, UUID, Ack, finite_number, text_in
from envwatch.model.clock import WallMs
from envwatch.model.environment import whole_if_exact
from envwatch.model.text import EMPTY, SafeText, clean

if TYPE_CHECKING:
    from pydantic import JsonValue

    from envwatch.model.environment import Environment

SHARED_FIELD: Final = "envwatch"
"""Optional members: `{"by", "at", "note", "until", "uuid"}` as `ack`, `{"by", "until", "reason"}` as `silence`,
`{"pages", "why", "share"}` as `alerts`, and the id of an open or waiting incident as `incident`."""

_LONGEST_NAME: Final = 40
_LONGEST_MS: Final = limits.LONGEST_SILENCE.total_seconds() * 1000


class SharedSilence(NamedTuple):
    """A silence on the serving host."""

    by: SafeText
    note: SafeText
    until: WallMs

    @property
    def text(self) -> SafeText:
        """The host, and the reason if any."""
        return clean(f"by {self.by}{f': {self.note}' if self.note else ''}")


def mark_of(ack: Ack, host: SafeText) -> dict[str, JsonValue]:
    """Return an acknowledgement as the member `ack`; `host` names the serving machine's user."""
    mark: dict[str, JsonValue] = {"by": ack.by or host, "at": whole_if_exact(ack.at), "note": ack.note}
    if ack.until is not None:
        mark["until"] = whole_if_exact(ack.until)
    if ack.uuid:
        mark["uuid"] = ack.uuid
    return mark


def shared_ack_of(environment: Environment) -> Ack | None:
    """Return the row's named and timed acknowledgement."""
    if not environment.unknown:
        return None  # nearly all rows
    mark = _mark(environment, "ack")
    by, at = text_in(mark.get("by"), _LONGEST_NAME), finite_number(mark.get("at"))
    if not by or at is None:
        return None
    uuid = text_in(mark.get("uuid"), _LONGEST_NAME)
    return Ack(
        at=at,
        note=text_in(mark.get("note"), LONGEST_NOTE),
        by=by,
        until=finite_number(mark.get("until")),
        uuid=uuid if UUID.fullmatch(uuid) else EMPTY,
    )


def shared_silence_of(environment: Environment, wall: float) -> SharedSilence | None:
    """Return the row's named silence, if in force (local clock, ms)."""
    mark = _mark(environment, "silence")
    by, until = text_in(mark.get("by"), _LONGEST_NAME), mark.get("until")
    if not by or not isinstance(until, int | float) or not wall < until <= wall + _LONGEST_MS:
        return None
    return SharedSilence(by, text_in(mark.get("reason"), LONGEST_NOTE), WallMs(until))


class SharedAlerts(NamedTuple):
    """The serving host's decision whether a machine pages."""

    counts: bool
    why: SafeText
    """The reason, without `pages: ` or `does not page: `."""
    share: float | None = None
    """The share of the watched week up, 0 to 1; None before two watched days."""


def shared_alerts_of(environment: Environment) -> SharedAlerts | None:
    """Return the decision about the row."""
    if not environment.unknown:
        return None  # nearly all rows
    mark = _mark(environment, "alerts")
    counts, why, share = mark.get("pages"), text_in(mark.get("why"), LONGEST_NOTE), mark.get("share")
    if not isinstance(counts, bool) or not why:
        return None
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
        share = None
    reason = why.removeprefix("pages: " if counts else "does not page: ")
    return SharedAlerts(counts, clean(reason), share)


def shared_incident_of(environment: Environment) -> SafeText:
    """Return the id of the row's incident on the serving host; empty without an incident."""
    marks = environment.unknown.get(SHARED_FIELD)
    return text_in(marks.get("incident"), LONGEST_NAME) if isinstance(marks, dict) else EMPTY


def without_marks(environment: Environment) -> Environment:
    """Return a row without the field."""
    if SHARED_FIELD not in environment.unknown:
        return environment
    return replace(environment, unknown={key: each for key, each in environment.unknown.items() if key != SHARED_FIELD})


def _mark(environment: Environment, name: str) -> dict[str, JsonValue]:
    marks = environment.unknown.get(SHARED_FIELD)
    mark = marks.get(name) if isinstance(marks, dict) else None
    return mark if isinstance(mark, dict) else {}
