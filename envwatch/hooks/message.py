"""The messages of hooks: text, variables, CloudEvents 1.0 in the structured JSON format.

Lists are bounded: 500 environments lost together give a short message.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from pydantic_core import to_json

from envwatch.fleet.alerting.incidents import Incident, losses_text, silenced_text
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
    from envwatch.fleet.monitor import Monitor
    from envwatch.model.clock import Clocks, ServerMs


_NAMES: Final = 20
_LISTED: Final = 1_000
"""Losses in an incident's CloudEvent, in some 200 KiB."""
_SUMMARY_CELLS: Final = 1_000
"""PagerDuty takes 1,024 characters of a summary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The origin of a message."""

    source: str
    host: str
    profile: str
    """Empty if the configuration has no such profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of a hook about an event or an incident. A delivery takes the form that it sends."""

    subject: Event | Incident
    hook: SafeText
    context: Context
    summary: SafeText
    resolved_at: ServerMs | None = None
    """The end of an incident; None if the incident is open."""
    row: ListedEnvironment | None = None
    """The row for variables; None for several rows or an unknown row."""
    event: dict[str, Any] | None = None
    """An event about the subject; None for an incident, whose event is made on demand."""

    @property
    def incident(self) -> SafeText | None:
        """The incident's id; None if the message is about an event."""
        return self.subject.id if isinstance(self.subject, Incident) else None

    @property
    def is_resolved(self) -> bool:
        """Whether the message is about the end of an incident."""
        return self.resolved_at is not None

    @property
    def text(self) -> str:
        """Lines for people: names and reasons."""
        lines = [f"{leaf.name or leaf.id or 'envwatch'}: {event_text(leaf, UTC)}" for leaf in self._leaves[:_NAMES]]
        if len(self._leaves) > _NAMES:
            lines.append(f"and {len(self._leaves) - _NAMES} more")
        return "\n".join(lines)

    @property
    def cloud_event(self) -> bytes:
        """The CloudEvent in JSON."""
        return to_json(_incident_event(self.subject, self) if isinstance(self.subject, Incident) else self.event)

    @property
    def variables(self) -> dict[str, SafeText]:
        """Variables for a command: the row's, and the subject's."""
        subject, count = self.subject, len(self._leaves)
        values: tuple[object, ...]
        if isinstance(subject, Incident):
            reason = subject.losses[0].reason if count == 1 else subject.shared
            what, at = _told(subject, self.resolved_at)
            values = (f"incident {what}", self.summary, reason, subject.id, len(_lost_in(subject)), iso(at))
        else:
            values = (word_of(subject), self.summary, subject.reason, subject.incident, count, iso(subject.at))
        texts = (composed("" if value is None else str(value)) for value in (self.hook, *values))
        return self._row_variables() | dict(zip(EVENT_VARIABLES, texts, strict=True))

    @property
    def _leaves(self) -> tuple[Event, ...]:
        return self.subject.losses if isinstance(self.subject, Incident) else self.subject.members or (self.subject,)

    def _row_variables(self) -> dict[str, SafeText]:
        if self.row is not None:
            return row_variables(self.row, self.context.profile)
        leaf = self._leaves[0]
        named = {"ENVWATCH_ID": leaf.id or EMPTY, "ENVWATCH_NAME": leaf.name or EMPTY} if len(self._leaves) == 1 else {}
        return {**NO_ROW, **named, "ENVWATCH_PROFILE": composed(self.context.profile)}


def message_of(  # noqa: PLR0913  the origins of a message
    subject: Event | Incident,
    hook: SafeText,
    context: Context,
    monitor: Monitor,
    now: Clocks,
    *,
    is_resolved: bool = False,
) -> Message:
    """Return a hook's message about an event, or about an incident that opened or resolved."""
    if isinstance(subject, Event):
        text = event_text(subject, UTC)
        return Message(
            subject=subject,
            hook=hook,
            context=context,
            summary=clean(f"{subject.name} {text}" if subject.name else text, _SUMMARY_CELLS),
            row=_row_then(subject.members or (subject,)),
            event=cloud_event(subject, monitor, now, context.source),
        )
    at = monitor.fleet.by_profile[subject.profile].clock.server_time(now.wall)
    resolved_at = at if is_resolved else None
    row = _row_then(subject.losses)
    if (
        resolved_at is not None
        and len(subject.losses) == 1
        and (back := monitor.fleet.tracked(key_of(subject.losses[0])))
    ):
        row = ListedEnvironment(back, resolved_at)
    summary = _incident_text(subject, resolved_at)
    return Message(subject=subject, hook=hook, context=context, summary=summary, resolved_at=resolved_at, row=row)


def _row_then(leaves: tuple[Event, ...]) -> ListedEnvironment | None:
    tracked = tracked_then(leaves[0]) if len(leaves) == 1 else None
    return None if tracked is None else ListedEnvironment(tracked, leaves[0].at)


def _lost_in(incident: Incident) -> tuple[Event, ...]:
    return () if incident.is_blindness else incident.losses


def _told(incident: Incident, resolved_at: ServerMs | None) -> tuple[str, ServerMs]:
    return ("opened", incident.began_at) if resolved_at is None else ("resolved", resolved_at)


def _incident_event(incident: Incident, message: Message) -> dict[str, Any]:
    what, at = _told(incident, message.resolved_at)
    lost = _lost_in(incident)
    data = {
        "incident": incident.id,
        "summary": message.summary,
        "profile": message.context.profile or None,
        "began_at": iso(incident.began_at),
        "resolved_at": None if message.resolved_at is None else iso(message.resolved_at),
        "count": len(lost),
        "shared": incident.shared,
        "environments": [_loss_json(loss) for loss in lost[:_LISTED]],
        "silenced": incident.silenced,
    }
    return envelope(
        f"envwatch.incident.{what}",
        data,
        source=message.context.source,
        at=at,
        subject=incident.id,
        identity=(incident.profile, incident.id, what),
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


class Sender(Protocol):
    """The part of a delivery that a hook's queue uses."""

    async def send(self, message: Message) -> SafeText:
        """See `Delivery.send`."""
