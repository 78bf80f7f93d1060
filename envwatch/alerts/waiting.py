"""Waiting losses at a moment: which still wait, and from when a silenced loss counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from envwatch.alerts.losses import OFFLINE_TEXT, Key, Loss, LossStatus, hashed_id, key_of
from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import Presence
from envwatch.fleet.watched_time import Span
from envwatch.model.clock import ESTIMATES_DIFFER_MS, MonotonicS, ServerMs
from envwatch.model.text import EMPTY, SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping
    from datetime import tzinfo

    from envwatch.alerts.judge import Judge
    from envwatch.fleet.profile_state import ProfileState


def still_waiting(
    losses: Iterable[Loss], judge: Judge, used: Container[SafeText]
) -> tuple[list[Loss], Mapping[Key, LossStatus], tuple[Event, ...]]:
    """Return the waiting losses, all statuses, and the events of rows not back."""
    waiting: list[Loss] = []
    statuses: dict[Key, LossStatus] = {}
    late: dict[SafeText, list[Event]] = {}
    for loss in losses:
        key = key_of(loss.event)
        status = statuses[key] = judge.status_of(key)
        if status is LossStatus.SILENCED:
            waiting.append(loss if loss.is_silenced else loss._replace(is_silenced=True))
        elif status is LossStatus.ALERTING:
            waiting.append(following := _counting(loss, judge, used))
            if following.is_not_back and following is not loss:
                late.setdefault(following.incident, []).append(following.event)
        elif status not in (LossStatus.OVER, LossStatus.SETTLED) and not _is_of_no_concern(key, status, judge):
            waiting.append(loss)
    events = (
        replace(same[0], id=None, name=None, then=None, members=tuple(same)) if len(same) > 1 else same[0]
        for same in late.values()
    )
    return waiting, statuses, tuple(events)


def _is_of_no_concern(key: Key, status: LossStatus, judge: Judge) -> bool:
    """Whether a gone row is outside the policy; an expected row never is."""
    tracked = judge.fleet.tracked(key)
    return status is LossStatus.OUTSIDE and tracked is not None and tracked.presence is Presence.GONE


def _counting(loss: Loss, judge: Judge, used: Container[SafeText]) -> Loss:
    profile, tracked = loss.event.profile, judge.fleet.tracked(key_of(loss.event))
    silenced = None if tracked is None else judge.silenced_time(tracked)
    if not loss.is_silenced and (silenced is None or loss.is_flapping or loss.is_not_back):
        return loss
    moment = judge.moments[profile]
    if loss.is_flapping:
        event = replace(loss.event, at=moment)
        return loss._replace(
            event=event,
            died=Span(moment, moment),
            silent_since=judge.now.monotonic,
            noticed_at=judge.now.monotonic,
            is_silenced=False,
        )
    end, name = (moment, moment) if silenced is None else (min(silenced.until, moment), silenced.end)
    late = _not_back(loss, end, moment, judge.policy_of(profile).zone, judge.now.monotonic)
    id_ = hashed_id(profile, f"{late.event.kind}\0{name:.0f}")
    if id_ in used:  # rows visible at the end of the silence opened the incident
        id_ = hashed_id(id_, loss.event.id or EMPTY)
    return late._replace(event=replace(late.event, incident=id_), incident=id_)


def _not_back(loss: Loss, end: ServerMs, at: ServerMs, zone: tzinfo | None, noticed_at: MonotonicS) -> Loss:
    from envwatch.alerts.recurring_hours import not_back_by_text  # noqa: PLC0415 - only with silences

    reason = not_back_by_text(end, at, zone)
    event = replace(
        loss.event,
        kind=Kind.NOT_BACK,
        at=end,
        before=OFFLINE_TEXT,
        after=OFFLINE_TEXT,
        reason=reason,
        lasted=None,
        since=None,
    )
    noticed_at = MonotonicS(noticed_at - max(at - end, 0.0) / 1000)
    died = Span(end, ServerMs(end + ESTIMATES_DIFFER_MS))
    return loss._replace(event=event, died=died, silent_since=noticed_at, noticed_at=noticed_at, is_silenced=False)


def silenced_losses(profile_state: ProfileState, known: Container[SafeText], judge: Judge) -> Iterator[Event]:
    """Yield the losses of silenced rows without `known` losses.

    These losses may lack an event: a silence may begin after the loss, and the first listing is a silent baseline.
    """
    at = judge.moments[profile_state.profile]
    for tracked in profile_state.environments.values():
        if not tracked.verdict.is_listed_off or tracked.environment.id in known:
            continue
        if judge.status_of(tracked.key) is LossStatus.SILENCED:
            yield tracked.event(Kind.OFFLINE, at, reason=clean(tracked.verdict.reason))
