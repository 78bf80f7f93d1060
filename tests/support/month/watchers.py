"""Watchers of a script: two naive watchers, and envwatch with several alert policies."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from support.month.playing import steps
from support.month.scoring import Message
from support.month.script import EXPIRY

from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.alerting.alert_state import Alerts, alert_state, content_of
from envwatch.fleet.events import NO_PROFILE, Event, EventLog
from envwatch.fleet.fleet import Fleet
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.limits import Limits
from envwatch.model.outcome import Listed
from envwatch.views.events.matching import matcher_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from support.month.playing import Step
    from support.month.script import Script

    from envwatch.fleet.monitor import MonitorChanges
    from envwatch.model.clock import Clocks
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText


class Watcher(Protocol):
    messages: list[Message]

    def take(self, step: Step) -> None:
        """Look at the world once."""


class Naive:
    """The official rule by this machine's clock: a message for each row that is not online for `polls` consecutive
    polls.
    """

    def __init__(self, polls: int) -> None:
        self._polls = polls
        self._armed: set[str] = set()
        self._missing: dict[str, int] = {}
        self.messages: list[Message] = []

    def take(self, step: Step) -> None:
        outcome = step.outcome
        if outcome is None:
            self._armed, self._missing = set(), {}
        if not isinstance(outcome, Listed):
            return
        oldest = outcome.started.wall - EXPIRY
        online = {
            env.id
            for env in outcome.snapshot.pages[0].environments
            if env.connection_id and env.last_heartbeat_at is not None and env.last_heartbeat_at > oldest
        }
        lost = self._armed - online
        if lost or self._missing:
            self._missing = {id_: self._missing.get(id_, 0) + 1 for id_ in lost}
        told = {id_ for id_, count in self._missing.items() if count >= self._polls}
        self.messages += [Message(step.at, frozenset({id_})) for id_ in sorted(told)]
        self._armed = (self._armed | online) - told
        for id_ in told:
            del self._missing[id_]


def restarted(monitor: Monitor, now: Clocks) -> Monitor:
    """Return the monitor after a restart, with the alert state as a file keeps it."""
    content = json.loads(json.dumps(content_of(monitor.alert_state(NO_PROFILE, {}, (), {}, now), now)))
    following = new_monitor(monitor.policies[NO_PROFILE])
    state = alert_state(content, NO_PROFILE, now)
    return following if state is None else following.with_alert_state(NO_PROFILE, state)


def new_monitor(policy: AlertPolicy) -> Monitor:
    return Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: policy})


class Envwatch:
    def __init__(self, policy: AlertPolicy) -> None:
        self.messages: list[Message] = []
        self._monitor = _shared(new_monitor(policy))

    def take(self, step: Step) -> None:
        if step.outcome is None:
            self._monitor = _shared(restarted(self._monitor, step.now))
            return
        self._monitor, changes = self._monitor.apply(NO_PROFILE, step.outcome, step.now)
        if changes.opened:
            self._note(step.at, changes)
        if len(self._monitor.event_log) > _EVENTS_KEPT:
            self._monitor = replace(self._monitor, event_log=EventLog(), watched={})

    def _note(self, at: int, changes: MonitorChanges) -> None:
        for incident in changes.opened:
            ids = frozenset(str(loss.id) for loss in incident.losses if loss.id)
            # A message about envwatch names no row.
            if ids:
                self.messages.append(Message(at, ids))
        self._monitor = replace(self._monitor, alerts=Alerts())  # nothing rings


_EVENTS_KEPT: Final = 200


class _SharedState(ProfileState):
    """A profile's state that computes each next state once for all monitors that share the state."""

    __slots__ = ()
    applied: ClassVar[
        tuple[ProfileState, Outcome, Collection[SafeText], tuple[ProfileState, tuple[Event, ...]]] | None
    ] = None
    ticked: ClassVar[tuple[ProfileState, Clocks, tuple[ProfileState, tuple[Event, ...]]] | None] = None

    def apply(
        self, outcome: Outcome, kept: Collection[SafeText] = frozenset()
    ) -> tuple[ProfileState, tuple[Event, ...]]:
        known = _SharedState.applied
        if known is None or known[0] is not self or known[1] is not outcome or known[2] != kept:
            known = _SharedState.applied = (self, outcome, kept, super().apply(outcome, kept))
        return known[3]

    def tick(self, now: Clocks) -> tuple[ProfileState, tuple[Event, ...]]:
        known = _SharedState.ticked
        if known is None or known[0] is not self or known[1] is not now:
            known = _SharedState.ticked = (self, now, super().tick(now))
        return known[2]


_newest_shared: list[_SharedState] = []


def _shared(monitor: Monitor) -> Monitor:
    (state,) = monitor.fleet
    shared = _SharedState(**{each.name: getattr(state, each.name) for each in fields(ProfileState)})
    if _newest_shared and _newest_shared[0] == shared:
        shared = _newest_shared[0]
    _newest_shared[:] = [shared]
    return replace(monitor, fleet=Fleet(MappingProxyType({state.profile: shared})))


_NO_LAPTOPS: Final = "!os:darwin,win32"


def settings() -> Mapping[str, AlertPolicy]:
    quiet: dict[str, Any] = {"alert": matcher_of(_NO_LAPTOPS)}
    found = {"default": AlertPolicy(), f'alert = "{_NO_LAPTOPS}"': AlertPolicy(**quiet)}
    if "ephemeral" in {each.name for each in fields(AlertPolicy)}:
        found['… and ephemeral = "name:ci-*"'] = AlertPolicy(**quiet | {"ephemeral": matcher_of("name:ci-*")})
    return found


def watchers() -> Mapping[str, Watcher]:
    envwatch = {f"envwatch, {name}": Envwatch(policy) for name, policy in settings().items()}
    return {"naive, each poll": Naive(1), "naive, twice in a row": Naive(2), **envwatch}


def watched(script: Script, by: Iterable[Watcher], polls: Sequence[int] | None = None) -> None:
    by = tuple(by)
    for step in steps(script, polls):
        for watcher in by:
            watcher.take(step)
