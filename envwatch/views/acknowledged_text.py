"""The answer to an acknowledgement: until when it holds, and whether a message about the loss can still be sent.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.fleet.losses import key_of
from envwatch.model.text import counted

if TYPE_CHECKING:
    from collections.abc import Collection

    from envwatch.fleet.losses import Key, Loss
    from envwatch.fleet.monitor import Monitor
    from envwatch.model.clock import Clocks


def acknowledged_text(name: str, keys: Collection[Key], monitor: Monitor, now: Clocks) -> str:
    """Return the answer to an acknowledgement.

    Args:
        name: the name of the acknowledged environments.
        keys: the acknowledged environments.
        monitor: the state with the acknowledgement.
        now: this machine's clocks.
    """
    recovery = "it recovers" if len(keys) == 1 else "they recover"
    return f"acknowledged on this machine until {recovery}: {name}{_about_message(keys, monitor, now)}"


def _about_message(keys: Collection[Key], monitor: Monitor, now: Clocks) -> str:
    """Return what becomes of the message about losses; empty if the message may have been sent already."""
    waiting = {key_of(loss.event): loss for loss in monitor.incidents.waiting}
    if not waiting.keys() >= set(keys):
        return ""
    incidents = {waiting[key].incident for key in keys}
    losses = [loss for loss in waiting.values() if loss.incident in incidents]
    if not all(_is_in_time(loss, monitor, now) for loss in losses):
        return ""
    others = sum(not _is_acked(loss, monitor) for loss in losses)
    if others:
        return f"; a message about {counted(others, 'other')} may be sent"
    return "; no message will be sent from here"


def _is_in_time(loss: Loss, monitor: Monitor, now: Clocks) -> bool:
    """Whether a process with hooks on this machine reads the acknowledgement before it sends its message.

    Such a process reads acknowledgements at each poll.
    """
    profile = loss.event.profile
    held_s = now.monotonic - loss.noticed_at + monitor.fleet.by_profile[profile].interval.total_seconds()
    return not loss.is_flapping and held_s < monitor.alert_after(profile).total_seconds()


def _is_acked(loss: Loss, monitor: Monitor) -> bool:
    tracked = monitor.fleet.tracked(key_of(loss.event))
    return tracked is not None and monitor.is_acked(tracked)
