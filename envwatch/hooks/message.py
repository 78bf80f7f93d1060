"""The messages of hooks, in every form; the protocol of delivery.

Formats: CloudEvents 1.0 (structured JSON), PagerDuty Events API v2. Lists are bounded: 500 environments lost together
give a short message.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from pydantic_core import to_json

from envwatch.fleet.alerting.alert_state import losses_text, silenced_text
from envwatch.fleet.alerting.losses import key_of
from envwatch.fleet.events import Event
from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.model.times import long_age, span
from envwatch.views.command_context import EVENT_VARIABLES, NO_ROW, row_variables
from envwatch.views.events.cloud_events import cloud_event, envelope, word_of
from envwatch.views.events.event_text import event_text
from envwatch.views.events.matching import tracked_then
from envwatch.views.output.environment_list import ListedEnvironment
from envwatch.views.output.formats import iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.fleet.alerting.incidents import Incident
    from envwatch.fleet.monitor import Monitor
    from envwatch.hooks.decision import Fired
    from envwatch.model.clock import Clocks, ServerMs


_NAMES: Final = 20
_LISTED: Final = 1_000
"""Losses in an incident's CloudEvent, in some 200 KiB."""
_SUMMARY_CELLS: Final = 1_000
"""PagerDuty takes 1,024 characters of a summary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message in every form."""

    summary: SafeText
    text: str
    """Lines for people: names and reasons."""
    cloud_event: bytes
    variables: Mapping[str, SafeText]
    pagerduty: Mapping[str, object] | None = None
    incident: SafeText | None = None
    """None if the message is about an event."""
    is_resolved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The origin of a message."""

    source: str
    host: str
    profile: str
    """Empty if the configuration has no such profile."""


def message_of(fired: Fired, hook: SafeText, context: Context, monitor: Monitor, now: Clocks) -> Message:
    """Return a hook's message about the subject that fired."""
    if isinstance(fired.subject, Event):
        cloud = to_json(cloud_event(fired.subject, monitor, now, context.source))
        return _of_event(fired.subject, hook, context, cloud)
    at = monitor.fleet.by_profile[fired.subject.profile].clock.server_time(now.wall)
    return _of_incident(fired.subject, at if fired.is_resolved else None, hook, context, monitor)


def _variables(*values: object) -> dict[str, SafeText]:
    texts = (composed("" if value is None else str(value)) for value in values)
    return dict(zip(EVENT_VARIABLES, texts, strict=True))


def _of_event(event: Event, hook: SafeText, context: Context, cloud: bytes) -> Message:
    leaves = event.members or (event,)
    summary = clean(f"{event.name} {event_text(event, UTC)}" if event.name else event_text(event, UTC), _SUMMARY_CELLS)
    variables = _variables(hook, word_of(event), summary, event.reason, event.incident, len(leaves), iso(event.at))
    return Message(
        summary=summary,
        text=_lines(leaves),
        cloud_event=cloud,
        variables=_row_variables(leaves, context) | variables,
    )


def _of_incident(
    incident: Incident, resolved_at: ServerMs | None, hook: SafeText, context: Context, monitor: Monitor
) -> Message:
    losses = incident.losses
    lost = [] if incident.is_blindness else losses
    what, summary = ("opened" if resolved_at is None else "resolved"), _incident_text(incident, resolved_at)
    at = incident.began_at if resolved_at is None else resolved_at
    reason = losses[0].reason if len(losses) == 1 else incident.shared
    variables = _variables(hook, clean(f"incident {what}"), summary, reason, incident.id, len(lost), iso(at))
    rows = _row_variables(losses, context)
    if resolved_at is not None and len(losses) == 1 and (tracked := monitor.fleet.tracked(key_of(losses[0]))):
        rows = row_variables(ListedEnvironment(tracked, resolved_at), context.profile)
    data = {
        "incident": incident.id,
        "summary": summary,
        "profile": context.profile or None,
        "began_at": iso(incident.began_at),
        "resolved_at": None if resolved_at is None else iso(resolved_at),
        "count": len(lost),
        "shared": incident.shared,
        "environments": [_loss_json(loss) for loss in lost[:_LISTED]],
        "silenced": incident.silenced,
    }
    event = envelope(
        f"envwatch.incident.{what}",
        data,
        source=context.source,
        at=at,
        subject=incident.id,
        identity=(incident.profile, incident.id, what),
    )
    return Message(
        summary=summary,
        text=_lines(losses),
        cloud_event=to_json(event),
        variables=rows | variables,
        pagerduty=_pagerduty(incident, summary, context, is_resolved=resolved_at is not None),
        incident=incident.id,
        is_resolved=resolved_at is not None,
    )


def _incident_text(incident: Incident, resolved_at: ServerMs | None) -> SafeText:
    losses = incident.losses
    if len(losses) == 1 and not incident.is_blindness:
        text = f"{losses[0].name or losses[0].id} {event_text(losses[0], UTC)}"
    else:
        shared = f", lost together: {incident.shared}" if incident.shared else ""
        text = f"{losses_text([incident])}{shared}"
    text += silenced_text([incident])
    if incident.is_storm:
        text = f"storm: {text}"
    if resolved_at is not None:
        lasted = long_age(span(resolved_at - incident.began_at))
        reason = f" ({incident.ended_by})" if incident.ended_by else ""
        text = f"resolved after {lasted}{reason}: {text}"
    return clean(text, _SUMMARY_CELLS)


def _pagerduty(incident: Incident, summary: SafeText, context: Context, *, is_resolved: bool) -> dict[str, object]:
    if is_resolved:
        return {"event_action": "resolve", "dedup_key": incident.id}
    losses = incident.losses
    lost = [] if incident.is_blindness else losses
    details = {
        "count": len(lost),
        "environments": [loss.name or loss.id for loss in lost[:_NAMES]],
        "reasons": sorted({loss.reason for loss in losses if loss.reason})[:_NAMES],
        "shared": incident.shared,
        "profile": context.profile or None,
    }
    payload = {
        "summary": summary,
        "source": context.host,
        "severity": "critical" if incident.is_mass else "error",
        "timestamp": iso(incident.began_at),
        "component": losses[0].name or losses[0].id if len(losses) == 1 else incident.shared,
        "class": losses[0].kind.value,
        "custom_details": _without_none(details),
    }
    return {
        "event_action": "trigger",
        "dedup_key": incident.id,
        "client": "envwatch",
        "payload": _without_none(payload),
    }


def _without_none(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _row_variables(leaves: tuple[Event, ...], context: Context) -> dict[str, SafeText]:
    leaf = leaves[0]
    if len(leaves) == 1 and (tracked := tracked_then(leaf)) is not None:
        return row_variables(ListedEnvironment(tracked, leaf.at), context.profile)
    named = {"ENVWATCH_ID": leaf.id or EMPTY, "ENVWATCH_NAME": leaf.name or EMPTY} if len(leaves) == 1 else {}
    return {**NO_ROW, **named, "ENVWATCH_PROFILE": composed(context.profile)}


def _loss_json(loss: Event) -> dict[str, object]:
    environment = None if loss.then is None else loss.then.environment
    return {
        "id": loss.id,
        "name": loss.name,
        "device_id": environment and environment.device_id,
        "pod_id": environment and environment.pod_id,
        "kind": loss.kind.value,
        "reason": loss.reason,
        "at": iso(loss.at),
    }


def _lines(leaves: tuple[Event, ...]) -> str:
    lines = [f"{leaf.name or leaf.id or 'envwatch'}: {event_text(leaf, UTC)}" for leaf in leaves[:_NAMES]]
    if len(leaves) > _NAMES:
        lines.append(f"and {len(leaves) - _NAMES} more")
    return "\n".join(lines)


class DeliveryError(Exception):
    """A failed delivery; the text is a line.

    `why` continues a sentence after the hook's name. `is_final` means that no later try can succeed.
    """

    def __init__(
        self, why: str, *, is_final: bool = False, wait: timedelta | None = None, output: SafeText | None = None
    ) -> None:
        super().__init__(clean(why))
        self.is_final = is_final
        self.wait = wait
        self.output = output


class Delivery(Protocol):
    """Delivers messages to a program or web service."""

    async def send(self, message: Message) -> SafeText:
        """Deliver a message; return text for the log. Cancelling ends delivery at once.

        Raises:
            DeliveryError: if delivery fails.
        """
