"""Messages of hooks: text, variables, and CloudEvents 1.0 in structured JSON.

Lists are bounded, so that a mass loss gives a short message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from pydantic_core import to_json

from envwatch.alerts.incident import Incident, losses_text, silenced_count_text
from envwatch.alerts.ledger import Progress
from envwatch.alerts.losses import key_of
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
    from collections.abc import Mapping, Sequence

    from envwatch.alerts.judge import Judge
    from envwatch.alerts.monitor import Monitor
    from envwatch.model.acks import Ack
    from envwatch.model.clock import Clocks, ServerMs


_WORDS: Final[Mapping[Progress, str]] = {
    Progress.DUE: "opened",
    Progress.REMINDER_DUE: "opened",
    Progress.ACK_DUE: "acknowledged",
    Progress.END_DUE: "resolved",
}
_SOMEBODY: Final = clean("somebody")
_NAMES: Final = 20
_LISTED: Final = 1_000
"""Losses in a CloudEvent, in some 200 KiB."""
_SUMMARY_CELLS: Final = 1_000
"""PagerDuty takes 1,024 characters of a summary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The origin of a message."""

    source: str
    host: str
    profile: str
    """The profile in the configuration, else empty."""
    user: SafeText = _SOMEBODY
    """Who acknowledges on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A hook's message, in the form of each delivery."""

    subject: Event | Incident
    hook: SafeText
    context: Context
    summary: SafeText
    progress: Progress = Progress.DUE
    told_at: ServerMs | None = None
    """Time of the reminder, acknowledgement or end."""
    acks: tuple[Ack, ...] = ()
    row: ListedEnvironment | None = None
    """None for several rows or an unknown row."""
    event: dict[str, Any] | None = None
    """An event's CloudEvent; an incident's is made on demand."""

    @property
    def incident(self) -> SafeText | None:
        """The incident's id; None for an event."""
        return self.subject.id if isinstance(self.subject, Incident) else None

    @property
    def is_resolved(self) -> bool:
        """Whether the message is about the end."""
        return self.progress is Progress.END_DUE

    @property
    def text(self) -> str:
        """Names and reasons as lines."""
        lines = [f"{leaf.name or leaf.id or 'envwatch'}: {event_text(leaf, UTC)}" for leaf in self._leaves[:_NAMES]]
        if len(self._leaves) > _NAMES:
            lines.append(f"and {len(self._leaves) - _NAMES} more")
        return "\n".join(lines)

    @property
    def cloud_event(self) -> bytes:
        """The CloudEvent as JSON."""
        return to_json(_incident_event(self.subject, self) if isinstance(self.subject, Incident) else self.event)

    @property
    def variables(self) -> dict[str, SafeText]:
        """Variables about row and subject."""
        subject, count = self.subject, len(self._leaves)
        values: tuple[object, ...]
        if isinstance(subject, Incident):
            reason = subject.losses[0].reason if count == 1 else subject.shared
            at = subject.began_at if self.told_at is None else self.told_at
            what = f"incident {_WORDS[self.progress]}"
            values = (what, self.summary, reason, subject.id, len(_lost_in(subject)), iso(at))
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


def build_message(  # noqa: PLR0913  the origins of a message
    subject: Event | Incident,
    hook: SafeText,
    context: Context,
    monitor: Monitor,
    now: Clocks,
    *,
    progress: Progress = Progress.DUE,
) -> Message:
    """Return a message about an event, or the due message of an incident."""
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
    row = _row_then(subject.losses)
    if (
        progress is Progress.END_DUE
        and len(subject.losses) == 1
        and (back := monitor.fleet.tracked(key_of(subject.losses[0])))
    ):
        row = ListedEnvironment(back, at)
    acks = _acks_of(subject, monitor.judge(now), context.user) if progress is Progress.ACK_DUE else ()
    return Message(
        subject=subject,
        hook=hook,
        context=context,
        summary=_incident_text(subject, progress, at, acks),
        progress=progress,
        told_at=None if progress is Progress.DUE else at,
        acks=acks,
        row=row,
    )


def _acks_of(incident: Incident, judge: Judge, user: SafeText) -> tuple[Ack, ...]:
    rows = filter(None, map(judge.fleet.tracked, sorted(incident.remaining)))
    found = [judge.blindness_ack_of(incident)] if incident.is_blindness else map(judge.ack_of, rows)
    acks = filter(None, found)
    return tuple(dict.fromkeys(replace(ack, sign_at=None, by=ack.by or user) for ack in acks))


def _row_then(leaves: tuple[Event, ...]) -> ListedEnvironment | None:
    tracked = tracked_then(leaves[0]) if len(leaves) == 1 else None
    return None if tracked is None else ListedEnvironment(tracked, leaves[0].at)


def _lost_in(incident: Incident) -> tuple[Event, ...]:
    return () if incident.is_blindness else incident.losses


def _incident_event(incident: Incident, message: Message) -> dict[str, Any]:
    what, lost = _WORDS[message.progress], _lost_in(incident)
    at = incident.began_at if message.told_at is None else message.told_at
    identity: tuple[str, ...] = (incident.profile, incident.id, what)
    data = {
        "incident": incident.id,
        "summary": message.summary,
        "profile": message.context.profile or None,
        "began_at": iso(incident.began_at),
        "resolved_at": iso(message.told_at) if message.is_resolved else None,
        "count": len(lost),
        "shared": incident.shared,
        "environments": [_loss_json(loss) for loss in lost[:_LISTED]],
        "silenced": incident.silenced,
    }
    if message.progress is Progress.REMINDER_DUE:
        data["reminder"] = True
        identity = (*identity, f"{at:.0f}")
    if message.progress is Progress.ACK_DUE:
        data["acknowledgements"] = [
            {"by": ack.by, "at": iso(ack.at), "until": iso(ack.until), "note": ack.note} for ack in message.acks
        ]
    return envelope(
        f"envwatch.incident.{what}",
        data,
        source=message.context.source,
        at=at,
        subject=incident.id,
        identity=identity,
    )


def _incident_text(incident: Incident, progress: Progress, at: ServerMs, acks: Sequence[Ack]) -> SafeText:
    losses = incident.losses
    if len(losses) == 1 and not incident.is_blindness:
        text = f"{losses[0].name or losses[0].id} {event_text(losses[0], UTC)}"
    else:
        shared = f", lost together: {incident.shared}" if incident.shared else ""
        text = f"{losses_text([incident])}{shared}"
    text += silenced_count_text([incident])
    if incident.is_storm:
        text = f"many at once: {text}"
    lasted = long_age(span(at - incident.began_at))
    if progress is Progress.END_DUE:
        reason = f" ({incident.ended_by})" if incident.ended_by else ""
        text = f"resolved after {lasted}{reason}: {text}"
    elif progress is Progress.REMINDER_DUE:
        text = f"still open after {lasted}: {text}"
    elif progress is Progress.ACK_DUE:
        people = ", ".join(dict.fromkeys(ack.text for ack in acks))
        text = f"acknowledged{f' {people}' if people else ''}: {text}"
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
    """A failed delivery, as a line.

    `why` continues a sentence after the hook's name. No try can succeed after `is_final`.
    """

    def __init__(
        self, why: str, *, is_final: bool = False, wait: timedelta | None = None, output: SafeText | None = None
    ) -> None:
        super().__init__(clean(why))
        self.is_final = is_final
        self.wait = wait
        self.output = output


class Sender(Protocol):
    """A delivery for a hook's queue."""

    async def send(self, message: Message) -> SafeText:
        """See `Delivery.send`."""
