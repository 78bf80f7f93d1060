"""Hook messages for tests of delivery."""

from __future__ import annotations

from support.builders import NOW

from envwatch.fleet.alerting.incidents import Incident
from envwatch.fleet.alerting.ledger import Progress
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.hooks.message import Context, Message
from envwatch.model.clock import MonotonicS
from envwatch.model.text import EMPTY, SafeText, clean

CONTEXT = Context(source="https://letta.example/v1/environments", host="letta.example", profile="")
LOSS = Event(kind=Kind.OFFLINE, at=NOW, id=clean("env-1"), name=clean("web"))


def message(
    summary: str = "web went offline", *, incident: SafeText | None = None, is_resolved: bool = False
) -> Message:
    """Return a message about an incident, or about an event without an incident."""
    subject = (
        LOSS
        if incident is None
        else Incident(
            id=incident,
            profile=NO_PROFILE,
            began_at=NOW,
            losses=(LOSS,),
            noticed_at=MonotonicS(0.0),
            remaining=frozenset(),
        )
    )
    return Message(
        subject=subject,
        hook=EMPTY,
        context=CONTEXT,
        summary=clean(summary),
        progress=Progress.END_DUE if is_resolved else Progress.DUE,
        told_at=NOW if is_resolved else None,
        event={"specversion": "1.0", "id": "evt-1"} if incident is None else None,
    )
