"""Incidents and hook messages without a monitor, and a runner of hooks with a ledger, as `HookDispatch` joins both."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from support.builders import NOW

from envwatch.alerts.incident import Incident
from envwatch.alerts.ledger import Ledger, Progress
from envwatch.alerts.losses import key_of
from envwatch.deliver.message import Context, Message
from envwatch.deliver.runner import Runner
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.model.clock import MonotonicS
from envwatch.model.text import EMPTY, SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from support.fake_clock import VirtualTime

    from envwatch.deliver.message import DeliveryError, Sender
    from envwatch.deliver.runner import HookReport
    from envwatch.letta.poller import Runtime


def incident_of(*losses: Event) -> Incident:
    return Incident(
        id=clean(f"inc-{losses[0].id}"),
        profile=losses[0].profile,
        began_at=losses[0].at,
        losses=losses,
        noticed_at=MonotonicS(0.0),
        remaining=frozenset(map(key_of, losses)),
    )


CONTEXT = Context(source="https://letta.example/v1/environments", host="letta.example", profile="")
LOSS = Event(kind=Kind.OFFLINE, at=NOW, id=clean("env-1"), name=clean("web"))


def message(
    summary: str = "web went offline", *, incident: SafeText | None = None, is_resolved: bool = False
) -> Message:
    """Return a message about an incident, or about an event without an incident."""
    return Message(
        subject=LOSS if incident is None else incident_of(LOSS)._replace(id=incident, remaining=frozenset()),
        hook=EMPTY,
        context=CONTEXT,
        summary=clean(summary),
        progress=Progress.END_DUE if is_resolved else Progress.DUE,
        told_at=NOW if is_resolved else None,
        event={"specversion": "1.0", "id": "evt-1"} if incident is None else None,
    )


@dataclass
class Book:
    hook: SafeText
    time: VirtualTime
    ledger: Ledger = field(default_factory=Ledger)
    open: dict[SafeText, Incident] = field(default_factory=dict)
    messages: dict[tuple[SafeText, bool], Message] = field(default_factory=dict)
    runner: Runner | None = None

    def take(self, message: Message) -> None:
        """Put an event; open or resolve the incident of any other message."""
        assert self.runner is not None
        at, incident = self.time.clocks().monotonic, message.subject
        if not isinstance(incident, Incident):
            self.runner.put(self.hook, message)
            return
        self.messages[incident.id, message.is_resolved] = message
        if not message.is_resolved:
            self.open[incident.id] = incident
            self.ledger = self.ledger.after([incident], (), at).due(incident.id, self.hook, NO_PROFILE, at)
        else:
            if self.open.pop(incident.id, None) is None:  # an earlier run opened the incident
                due = self.ledger.due(incident.id, self.hook, NO_PROFILE, at)
                self.ledger = due.told(incident.id, self.hook, Progress.DUE, at)
            self.ledger = self.ledger.after((), [incident], at)
            announcement = self.ledger.of(incident.id, self.hook)
            if announcement is not None and announcement.progress is Progress.OVER:
                self.runner.drop(self.hook, incident.id)
        self._put_unsent()

    async def before_try(self, _hook: SafeText, message: Message) -> None:
        self.ledger = self.ledger.tried(message.incident or EMPTY, self.hook)

    def after_try(self, _hook: SafeText, message: Message, error: DeliveryError | None) -> bool:
        id_, at = message.incident or EMPTY, self.time.clocks().monotonic
        if error is not None:
            self.ledger = self.ledger.failed(id_, self.hook, message.progress, EMPTY, at, is_final=error.is_final)
            announcement = self.ledger.of(id_, self.hook)
            return announcement is None or error.is_final or announcement.progress is message.progress
        self.ledger = self.ledger.told(id_, self.hook, message.progress, at)
        self._put_unsent()
        return True

    def _put_unsent(self) -> None:
        assert self.runner is not None
        queued = {(message.incident, message.is_resolved) for message in self.runner.unsent(self.hook)}
        for incident, announcement in self.ledger.unsent(self.open.values(), self.hook):
            what = incident.id, announcement.progress is Progress.END_DUE
            if what not in queued:
                self.runner.put(self.hook, self.messages[what])


def runner_of(
    receivers: Mapping[SafeText, Sender],
    time: VirtualTime,
    report: Callable[[HookReport], None] = lambda _: None,
    runtime: Runtime | None = None,
    farewell: timedelta = timedelta(),
) -> tuple[Runner, dict[SafeText, Book]]:
    """Return a runner with a book for each hook."""
    books = {hook: Book(hook, time) for hook in receivers}
    runner = Runner(
        receivers,
        report,
        runtime or time.runtime,
        farewell,
        before_try=lambda hook, message: books[hook].before_try(hook, message),
        after_try=lambda hook, message, error: books[hook].after_try(hook, message, error),
    )
    for book in books.values():
        book.runner = runner
    return runner, books
