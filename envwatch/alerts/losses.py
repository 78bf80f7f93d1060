"""Losses of environments: status, death interval, and chains."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from hashlib import blake2s
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import HEARTBEAT_LOST, NEVER_BEAT, NEVER_LISTED, Presence
from envwatch.fleet.problems import is_old, is_problem
from envwatch.fleet.watched_time import Span
from envwatch.model import limits
from envwatch.model.clock import Clocks, MonotonicS, ServerMs
from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.model.times import MS, long_age, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import timedelta

    from envwatch.alerts.alert_policy import AlertPolicy
    from envwatch.fleet.last_run import LastRun
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment

_DEATH_WITHIN_MS: Final = limits.DEATH_WITHIN / MS
OFFLINE_TEXT: Final = clean(Presence.OFFLINE.value)
ACK_ENDED: Final = "acknowledgement ended"
LOSSES: Final = frozenset({Kind.OFFLINE, Kind.GONE, Kind.NOT_BACK})
RETURNS: Final = frozenset({Kind.ONLINE, Kind.RETURNED})
_LOST: Final = frozenset({Presence.OFFLINE.value, Presence.GONE.value})
"""Presences after which gone or off is no new loss."""

Key: TypeAlias = tuple[SafeText, SafeText]
"""Profile and row id; the id is empty for blindness."""


class LossStatus(Enum):
    """Status of a loss."""

    UNSEEN = auto()
    """Unknown: the profile is blind, quarantined or asleep, or the row proves nothing."""
    BACK = auto()
    """Up again for less than `limits.BACK_AFTER`: a new loss continues this loss."""
    OVER = auto()
    """Up again for long enough, replaced, out of the fleet, or acknowledged while absent."""
    SETTLED = auto()
    """Lost, but acknowledged or too old for a problem."""
    OUTSIDE = auto()
    SILENCED = auto()
    """Lost, but silenced: the row counts when the silence ends."""
    ALERTING = auto()


class Loss(NamedTuple):
    """A loss that has opened no incident."""

    event: Event
    """The loss, or the start of flapping."""
    died: Span
    silent_since: MonotonicS
    """Last sign of life, or the end of a silence."""
    noticed_at: MonotonicS
    """First listing with the loss, or the end of a silence."""
    incident: SafeText = EMPTY
    is_silenced: bool = False
    """Whether the loss was silenced at the last check."""
    is_doubtful: bool = False
    """Whether the platform may be wrong: the row was quarantined, or no heartbeat has arrived in this run. Doubtful
    losses wait for `blind_after`, and open separate incidents."""

    @property
    def is_not_back(self) -> bool:
        """Whether the loss counts from the end of a silence."""
        return self.event.kind is Kind.NOT_BACK

    @property
    def is_flapping(self) -> bool:
        """Whether the environment flaps."""
        return self.event.kind is Kind.FLAPPING

    def counts_at(self, policy: AlertPolicy, interval: timedelta) -> MonotonicS:
        """Return when the loss needs a person: after enough silence and time in the listings.

        Flapping counts at once.
        """
        if self.is_flapping:
            return self.noticed_at
        listed_for = min(limits.LISTED_AS_LOST_FOR, limits.LISTED_AS_LOST_SHARE * policy.alert_after)
        if self.is_doubtful and policy.blind_after is not None:
            listed_for = max(listed_for, policy.blind_after)
        silent_at = self.silent_since + policy.silence_needed(interval).total_seconds()
        return MonotonicS(max(silent_at, self.noticed_at + listed_for.total_seconds()))


class Poll(NamedTuple):
    """A profile's poll, which may prove losses."""

    before: ProfileState
    after: ProfileState
    now: Clocks
    beats_prove: bool = True
    """Whether an old heartbeat proves a loss: a heartbeat advanced in this run, or there are few rows."""

    def loss_of(self, event: Event, group: Event | None, tracked: TrackedEnvironment | None) -> Loss:
        """Return the loss of a row, proved by this poll."""
        after = self.after
        if event.profile == after.profile and event.id in self.before.last_run.rows:
            event = loss_between_runs(event, tracked, self.before.last_run, after)
        last_sign = last_sign_of_life(event, tracked, self.before, after)
        silent_ms = after.clock.server_time(self.now.wall) - last_sign
        return Loss(
            event=event,
            died=death_interval(event, group, tracked, last_sign),
            silent_since=MonotonicS(self.now.monotonic - silent_ms / 1000),
            noticed_at=self.now.monotonic,
            is_doubtful=self._is_doubtful(event, tracked),
        )

    def _is_doubtful(self, event: Event, tracked: TrackedEnvironment | None) -> bool:
        verdict = None if tracked is None else tracked.verdict
        if verdict == HEARTBEAT_LOST and not self.beats_prove:
            return True
        was_quarantined = self.before.quarantine is not None
        return was_quarantined and (event.kind is Kind.GONE or verdict == NEVER_BEAT)


def last_sign_of_life(
    loss: Event, tracked: TrackedEnvironment | None, before: ProfileState, after: ProfileState
) -> ServerMs:
    """Return a row's last sign of life before a loss.

    The sign is the lost heartbeat, or, at an uncertain age, the listing with the heartbeat's last advance; otherwise
    the last listing with the connection. `before` and `after` surround the listing that proved the loss.
    """
    if tracked is None or after.listed is None or after.listed_at is None:
        return loss.at
    row, known = tracked.environment, tracked.last_known_heartbeat
    if tracked.verdict == HEARTBEAT_LOST and tracked.clock_suspect:
        sign = after.listed_at - tracked.skew_check.least_age_ms(after.listed.monotonic)
    elif tracked.verdict == HEARTBEAT_LOST and row.last_heartbeat_at is not None:
        sign = row.last_heartbeat_at
    elif loss.since is not None:
        sign = loss.since
    else:
        # A heartbeat that only the run before listed has no time on this run's clocks.
        listed_ms = before.elapsed_ms if known is None or known.elapsed_ms == -inf else known.elapsed_ms
        sign = after.listed_at - after.elapsed_ms + listed_ms
    return ServerMs(min(sign, loss.at))


def death_interval(loss: Event, group: Event | None, tracked: TrackedEnvironment | None, last_sign: ServerMs) -> Span:
    """Return the earliest and latest possible time of a loss.

    A group's `since` starts a time without listings.
    """
    group = group or loss
    if group.since is not None:
        return Span(group.since, loss.at)
    if tracked is not None and tracked.verdict == HEARTBEAT_LOST:
        return Span(last_sign, ServerMs(last_sign + _DEATH_WITHIN_MS))
    return Span(last_sign, loss.at)


def loss_between_runs(loss: Event, tracked: TrackedEnvironment | None, last_run: LastRun, after: ProfileState) -> Event:
    """Return the loss of a row that only the run before had seen: nobody looked at the moment of the loss.

    If the last look is over `limits.LONG_AGO` ago, the reason says so.
    """
    since = min(after.clock.server_time(last_run.looked_at), loss.at)
    when = "while envwatch was not running"
    if loss.at - since > limits.LONG_AGO / MS:
        when += f", which last looked {long_age(span(loss.at - since))} before"
    reason = loss.reason if tracked is None else tracked.verdict.reason
    return replace(loss, since=since, reason=composed(f"{reason} {when}"))


def lost_now(tracked: TrackedEnvironment, at: ServerMs, now: Clocks) -> Loss:
    """Return the loss of a row that needs a person from now on."""
    event = tracked.event(Kind.OFFLINE, at, after=OFFLINE_TEXT, reason=clean(tracked.verdict.reason))
    return Loss(event=event, died=Span(at, at), silent_since=now.monotonic, noticed_at=now.monotonic)


def loss_of_row(tracked: TrackedEnvironment) -> Event:
    """Return the loss of a row that is off."""
    reason = clean(tracked.verdict.reason)
    return tracked.event(Kind.OFFLINE, tracked.lost_at, after=clean(tracked.presence), reason=reason)


def lost_again(loss: Event, at: ServerMs, now: Clocks, incident: SafeText) -> Loss:
    """Return an acknowledged loss, dated to the end of the acknowledgement, of a row silent before."""
    reason = composed(f"{loss.reason}, {ACK_ENDED}" if loss.reason else ACK_ENDED)
    event = replace(loss, at=at, reason=reason, since=None, lasted=None, incident=incident)
    silent_since = MonotonicS(now.monotonic - max(at - loss.at, 0.0) / 1000)
    return Loss(event=event, died=Span(at, at), silent_since=silent_since, noticed_at=now.monotonic, incident=incident)


def order(loss: Loss) -> tuple[float, float, str]:
    """Return a sort key: noticed first, then lost first."""
    return loss.noticed_at, loss.died.since, loss.event.id or EMPTY


def are_linked(one: Loss, other: Loss) -> bool:
    """Whether the death intervals of two losses overlap or touch."""
    return one.died.since <= other.died.until and other.died.since <= one.died.until


def chains(losses: Iterable[Loss]) -> list[list[Loss]]:
    """Return chains of linked losses; too many losses are one chain."""
    by_start = sorted(losses, key=lambda loss: loss.died.since)
    if len(by_start) > limits.MOST_LOSSES_WAITING:
        return [by_start]
    found: list[list[Loss]] = []
    latest = -inf
    for loss in by_start:
        if loss.died.since <= latest:
            found[-1].append(loss)
            latest = max(latest, loss.died.until)
        else:
            found.append([loss])
            latest = loss.died.until
    return found


def loss_status(
    tracked: TrackedEnvironment, at: ServerMs, *, is_acked: bool, is_news: bool, counts_from: float | None = None
) -> LossStatus:
    """Return the status of a row's loss, apart from silences and the policy.

    A loss that waits or belongs to an open incident (`is_news`) does not age.
    """
    if tracked.verdict.is_up and not tracked.is_flapping:
        return LossStatus.OVER if tracked.has_stayed_up(at) else LossStatus.BACK
    if tracked.replaced_by is not None or (is_acked and tracked.verdict.is_absent):
        return LossStatus.OVER
    ages = tracked.presence is Presence.GONE or is_old(tracked, at, counts_from)
    if is_acked or (not is_problem(tracked, at, counts_from) and not (is_news and ages)):
        return LossStatus.SETTLED
    return LossStatus.ALERTING


def missing_losses(before: ProfileState, after: ProfileState) -> Iterator[Event]:
    """Yield losses of expected environments that two successive listings lacked and no listing ever had."""
    if before.listed is None or after.listings == before.listings:
        return
    for id_, tracked in after.environments.items() if after.expect else ():
        was = before.environments.get(id_)
        if tracked.verdict == NEVER_LISTED and was is not None and was.verdict == NEVER_LISTED:
            yield loss_of_row(tracked)


def status_of_blindness(profile_state: ProfileState, now: Clocks) -> LossStatus:
    """Return the status of a profile's blindness."""
    if profile_state.listed is None and profile_state.failure is None:
        return LossStatus.UNSEEN
    return LossStatus.OVER if profile_state.blindness(now) is None else LossStatus.ALERTING


def is_loss(event: Event) -> bool:
    """Whether an event is a new loss."""
    return event.kind in LOSSES and event.before not in _LOST


def key_of(event: Event) -> Key:
    """Return an event's key."""
    return (event.profile, event.id or EMPTY)


def hashed_id(*parts: str) -> SafeText:
    """Return an incident's id."""
    digest = blake2s("\n".join(parts).encode(), digest_size=6).hexdigest()
    return clean(f"inc-{digest}")
