"""What changed about an environment lately: one tag a row, for `limits.MARK_DURATION`.

Pure: the moment is an argument, by the server's clock. Source of the tags: the rule that a fresh loss looks fresh for
15 minutes. Must not know how a tag looks.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.diff import is_new_connection
from envwatch.model import limits
from envwatch.model.modes import mode_of
from envwatch.model.times import MS

if TYPE_CHECKING:
    from envwatch.fleet.presence import Verdict
    from envwatch.model.clock import ServerMs
    from envwatch.model.environment import Environment

_MARK_DURATION_MS: Final = limits.MARK_DURATION / MS


class ChangeTag(StrEnum):
    """A change in at most five letters, the most important first."""

    NEW = "NEW"
    """Went down, is gone, or appeared as offline."""
    BACK = "BACK"
    """Online or listed again."""
    JOINED = "JOIN"
    """Appeared, and is online."""
    MOVED = "MOVED"
    """Replaced by another row of its machine, see `replacement`."""
    MODE = "MODE"
    VERSION = "VER"
    CONNECTION = "CONN"
    """A new connection, without having been seen offline."""

    @property
    def is_loss(self) -> bool:
        """Whether the environment was lost."""
        return self is ChangeTag.NEW


_RANKS = {tag: rank for rank, tag in enumerate(ChangeTag)}


class RecentChange(NamedTuple):
    """A change with its moment."""

    tag: ChangeTag
    at: ServerMs
    """When the listing that proved it was asked for."""

    def is_recent(self, now: float) -> bool:
        """Whether it is still to be shown at a moment (server's clock, ms)."""
        return now - self.at < _MARK_DURATION_MS


def appearance(verdict: Verdict, at: ServerMs) -> RecentChange:
    """Return the change of an environment that was never listed before."""
    return RecentChange(ChangeTag.JOINED if verdict.is_up else ChangeTag.NEW, at)


def turn(verdict: Verdict, at: ServerMs) -> RecentChange:
    """Return the change of an environment that came or went, to a verdict."""
    return RecentChange(ChangeTag.BACK if verdict.is_up else ChangeTag.NEW, at)


def later_change(
    last: RecentChange | None, before: Environment, after: Environment, at: ServerMs
) -> RecentChange | None:
    """Return the change to show after a listing in which an environment neither came nor went.

    A change of less importance does not replace the last one while that is still recent.
    """
    if before is after:
        return last
    if mode_of(before.mode) != mode_of(after.mode):
        tag = ChangeTag.MODE
    elif before.version != after.version:
        tag = ChangeTag.VERSION
    elif is_new_connection(before, after):
        tag = ChangeTag.CONNECTION
    else:
        return last
    if last is not None and last.is_recent(at) and _RANKS[last.tag] < _RANKS[tag]:
        return last
    return RecentChange(tag, at)
