"""CloudEvents 1.0 in the structured JSON format, for programs and hooks.

The fields' names, order and types are a stable interface.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pydantic_core import to_json

from envwatch.fleet.events import Event, Kind, flatten
from envwatch.model.clock import Clocks, ServerMs
from envwatch.model.listing_api import LISTING_PATH
from envwatch.model.text import SafeText, clean
from envwatch.views.events.matching import tracked_then
from envwatch.views.output.environment_list import judged
from envwatch.views.output.formats import iso, json_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.tracking import TrackedEnvironment

_URI: Final = "/:?#[]@!$&'()*+,;=%"

_WORDS: Final[Mapping[Kind, str]] = {
    Kind.WHILE_BLIND: "while-blind",
    Kind.NOT_BACK: "not-back",
    Kind.DOES_NOT_PAGE: "does-not-page",
    Kind.ACK_ENDED: "ack-ended",
    Kind.VISIBLE: "resumed",
    Kind.RELEASED: "hold-ended",
    Kind.RESUMED: "stall-ended",
    Kind.CLOCK_WRONG: "clock-wrong",
    Kind.CLOCK_RIGHT: "clock-right",
    Kind.FAILING: "failing",
    Kind.REACHED: "reached",
    Kind.KEY_REFUSED: "refused",
    Kind.KEY_ACCEPTED: "accepted",
}


_NO_EVENT: Final = Event(kind=Kind.NOTICE, at=ServerMs(0.0))


def source_of(base_url: str) -> str:
    """Return the `source` attribute: the URI of the server's list."""
    return quote(f"{base_url.rstrip('/')}{LISTING_PATH}", safe=_URI)


def word_of(event: Event) -> SafeText:
    """Return an event's kind as a word: `offline`."""
    kind = event.kind if event.of is None else event.of
    return clean(_WORDS.get(kind, kind.value))


def type_of(event: Event) -> str:
    """Return the `type` attribute: `envwatch.group.offline`."""
    scope = "group." if event.members else "" if event.id is None else "environment."
    return f"envwatch.{scope}{word_of(event)}"


def cloud_event(event: Event, monitor: Monitor, now: Clocks, source: str) -> dict[str, Any]:
    """Return an event or a group as a CloudEvent; `monitor` is the state afterwards.

    The data holds the change, and an environment's row as in `list -o json`.
    """
    return envelope(
        type_of(event),
        _data(event, monitor, now),
        source=source,
        at=event.at,
        subject=None if event.members else event.id,
        identity=_identity(event),
    )


def initial_event(tracked: TrackedEnvironment, monitor: Monitor, now: Clocks, source: str) -> dict[str, Any]:
    """Return the CloudEvent of a row at the begin of watching."""
    at = _judged_at(tracked, monitor, now)
    return envelope(
        "envwatch.environment.initial",
        row_data(tracked, monitor, now) | {"members": []},
        source=source,
        at=at,
        subject=tracked.environment.id,
        identity=(tracked.profile, "initial", tracked.environment.id, f"{at:.3f}"),
    )


def envelope(  # noqa: PLR0913  the attributes of a CloudEvent, by keyword
    type_: str,
    data: Mapping[str, Any],
    *,
    source: str,
    at: ServerMs,
    subject: SafeText | None,
    identity: tuple[str, ...],
) -> dict[str, Any]:
    """Return a CloudEvent.

    The id is a hash of `identity`, which is unique within the source. `time` is by the server's clock, absent outside
    the calendar.
    """
    digest = blake2s("\0".join(identity).encode(), digest_size=12).hexdigest()
    attributes: dict[str, Any] = {"specversion": "1.0", "id": f"evt-{digest}", "source": source, "type": type_}
    if subject:
        attributes["subject"] = subject
    if (time := iso(at)) is not None:
        attributes["time"] = time
    return {**attributes, "datacontenttype": "application/json", "data": data}


def cloud_event_line(event: dict[str, Any]) -> bytes:
    """Return a CloudEvent as a line in UTF-8."""
    return to_json(event) + b"\n"


def row_data(tracked: TrackedEnvironment, monitor: Monitor, now: Clocks, event: Event = _NO_EVENT) -> dict[str, Any]:
    """Return a row as in `list -o json`, with the event's change."""
    judge = monitor.judge(now)
    ack, listed = judge.ack_of(tracked), judged(tracked, _judged_at(tracked, monitor, now), judge)
    row = dict(json_row(listed, None if ack is None else ack.note))
    change = _change(event)
    return row | change | {"reason": change["reason"] or row["reason"]}


def _data(event: Event, monitor: Monitor, now: Clocks) -> dict[str, Any]:
    members = [_data(member, monitor, now) for member in event.members]
    tracked = None if event.members else _environment_of(event, monitor)
    change = {"profile": event.profile or None, **_change(event)}
    return (change if tracked is None else row_data(tracked, monitor, now, event)) | {"members": members}


def _environment_of(event: Event, monitor: Monitor) -> TrackedEnvironment | None:
    if event.id is None:
        return None
    return monitor.fleet.tracked((event.profile, event.id)) or tracked_then(event)


def _change(event: Event) -> dict[str, Any]:
    return {
        "field": event.field,
        "before": event.before,
        "after": event.after,
        "reason": event.reason,
        "lasted_s": None if event.lasted is None else event.lasted.total_seconds(),
        "since": iso(event.since),
        "incident": event.incident,
    }


def _judged_at(tracked: TrackedEnvironment, monitor: Monitor, now: Clocks) -> ServerMs:
    profile_state = monitor.fleet.by_profile[tracked.profile]
    return profile_state.clock.server_time(now.wall if profile_state.listed is None else profile_state.listed.wall)


def _identity(event: Event) -> tuple[str, ...]:
    values = (event.profile, event.kind, event.of, event.id, event.field, event.before, event.after, f"{event.at:.3f}")
    members = flatten(event.members)
    return (
        *(value or "" for value in values),
        event.reason or "" if event.id is None else "",
        *(f"{member.kind} {member.field} {member.id}" for member in members),
    )
