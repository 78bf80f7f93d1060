"""Uptime of a profile's rows over all runs, kept on this machine.

Watched time lies between two believed listings of a process, at most `blind_after` apart. No time is watched while the
profile sleeps, is quarantined, or has stalled heartbeats.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from envwatch.alerts.acknowledgements import with_changes
from envwatch.fleet.events import blind_after
from envwatch.fleet.presence import NEVER_LISTED
from envwatch.fleet.uptime import Uptime
from envwatch.model import limits
from envwatch.model.text import SafeText, clean
from envwatch.model.times import MS
from envwatch.stored.codecs import CLOCK, FLAG, Codec, list_of, optional
from envwatch.stored.entries import readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import Environments, TrackedEnvironment
    from envwatch.model.clock import ServerMs

_REFRESHED_MS: Final = limits.UPTIME_REFRESHED / MS
_FORGOTTEN_MS: Final = limits.UPTIME_FORGOTTEN_AFTER / MS
_CONNECTED_MS: Final = limits.FIRST_CONNECTED_FOR / MS
_MOST_REFRESHED: Final = 500
"""Rows refreshed per listing, in about 2 ms."""


@dataclass(frozen=True, slots=True)
class UptimeRecord:
    """Uptime of each row of a profile."""

    watched_ms: float = 0.0
    rows: Mapping[SafeText, Uptime] = field(default_factory=dict)
    """Uptimes by row id, also of unlisted rows."""
    has_begun: bool = False
    damaged: frozenset[SafeText] = frozenset()
    """Rows whose entries in the file were damaged; the next listing is their first."""
    takeovers: int = field(default=0, compare=False)
    """Number of uptimes taken over in this run; the platform may drop the old row at any time."""

    def with_rows_of(self, rebuilt: UptimeRecord) -> UptimeRecord:
        """Return the record with the damaged rows of a record rebuilt from the history, which has another clock."""
        later_ms = self.watched_ms - rebuilt.watched_ms
        found = {
            id_: uptime._replace(at=max(uptime.at + later_ms, 0.0))
            for id_, uptime in rebuilt.rows.items()
            if id_ in self.damaged
        }
        return replace(self, rows={**self.rows, **found}, damaged=self.damaged - found.keys())

    def apply(  # noqa: C901  one loop over all rows
        self, before: ProfileState, after: ProfileState
    ) -> tuple[UptimeRecord, Mapping[SafeText, Uptime]]:
        """Return the record after a poll, and the changed uptimes."""
        if after.listings == before.listings or (at := after.listed_at) is None:
            return self, {}
        watched_ms = self.watched_ms + _watched_ms(before, after)
        changed: dict[SafeText, Uptime] = {}
        refreshed = 0
        fresh_from = watched_ms - _REFRESHED_MS
        replaced: list[TrackedEnvironment] = []
        takeovers = self.takeovers
        for id_, tracked in after.environments.items():
            known, is_up = tracked.uptime, tracked.verdict.is_up
            is_same = known is not None and known.is_up is is_up and not tracked.clock_suspect
            if is_same and known is not None:
                if known.at > fresh_from if is_up else tracked.replaced_by is None:
                    continue  # nearly all rows
                if is_up and refreshed >= _MOST_REFRESHED:
                    continue
                refreshed += 1
            if tracked.replaced_by is not None:
                replaced.append(tracked)
            elif (uptime := known or self.rows.get(id_)) is not None:
                changed[id_] = uptime.after(watched_ms, is_up=_state(tracked, after))
            elif tracked.verdict != NEVER_LISTED:
                is_first = (not self.has_begun or id_ in self.damaged) and is_server(tracked, at)
                changed[id_] = Uptime(at=watched_ms, is_up=_state(tracked, after), is_first=is_first)
        rows = {**self.rows, **changed} if changed else self.rows
        if replaced:
            taken_over = _taken_over(replaced, rows, after.environments, watched_ms)
            rows = with_changes(rows, taken_over)
            takeovers += len(taken_over)
            changed |= {id_: uptime for id_, uptime in taken_over.items() if uptime is not None}
        if before.listed is None or self.watched_ms // _REFRESHED_MS != watched_ms // _REFRESHED_MS:
            rows = _tidied(rows, after.environments, watched_ms)
        return UptimeRecord(watched_ms, rows, has_begun=True, takeovers=takeovers), changed


def _state(tracked: TrackedEnvironment, profile_state: ProfileState) -> bool | None:
    is_proven = not (tracked.clock_suspect or profile_state.is_unreadable(tracked))
    return tracked.verdict.is_up if is_proven else None


def with_uptimes(profile_state: ProfileState, uptimes: Mapping[SafeText, Uptime]) -> ProfileState:
    """Return a profile's state with uptimes of its rows."""
    rows = profile_state.environments
    changed = {id_: replace(rows[id_], uptime=uptime) for id_, uptime in uptimes.items() if id_ in rows}
    return replace(profile_state, environments=MappingProxyType({**rows, **changed})) if changed else profile_state


def _watched_ms(before: ProfileState, after: ProfileState) -> float:
    is_seen = before.listed is not None and before.unseen_since is None
    is_believed = before.quarantine is None and after.quarantine is None
    if not is_seen or not is_believed or before.stall_detector.is_stalled or after.stall_detector.is_stalled:
        return 0.0
    lasted_ms = after.elapsed_ms - before.elapsed_ms
    return lasted_ms if lasted_ms <= blind_after(max(before.interval, after.interval)) / MS else 0.0


def is_server(tracked: TrackedEnvironment, at: ServerMs) -> bool:
    """Whether a row has been connected for a day, on a system that does not sleep."""
    since = tracked.up_since
    return since is not None and at - since >= _CONNECTED_MS and not tracked.environment.may_sleep


def _taken_over(
    replaced: list[TrackedEnvironment], rows: Mapping[SafeText, Uptime], environments: Environments, watched_ms: float
) -> dict[SafeText, Uptime | None]:
    """Return the uptimes of replacing rows, and None for replaced rows.

    The time from loss to replacement was no outage.
    """
    found: dict[SafeText, Uptime | None] = {}
    for tracked in replaced:
        old = found.get(tracked.environment.id) or rows.get(tracked.environment.id)
        new = environments.get(tracked.replaced_by) if tracked.replaced_by is not None else None
        if old is None or new is None:
            continue
        found[tracked.environment.id] = None
        own = found.get(new.environment.id) or rows.get(new.environment.id)
        if own is None or (own.watched, own.is_first) < (old.watched, old.is_first):
            known = old._replace(is_up=None) if old.is_up is False else old
            found[new.environment.id] = known.after(watched_ms, is_up=new.verdict.is_up)
    return found


def _tidied(
    rows: Mapping[SafeText, Uptime], environments: Environments, watched_ms: float
) -> Mapping[SafeText, Uptime]:
    """Return the uptimes: unlisted rows are down, and are forgotten after `limits.UPTIME_FORGOTTEN_AFTER`."""
    absent = {id_: rows[id_].after(watched_ms, is_up=False) for id_ in rows.keys() - environments.keys()}
    forgotten = {id_ for id_, uptime in absent.items() if watched_ms - uptime.at > _FORGOTTEN_MS}
    return {id_: absent.get(id_, uptime) for id_, uptime in rows.items() if id_ not in forgotten}


def uptime_content(record: UptimeRecord) -> dict[str, Any]:
    """Return a file's content in ms: `{"watched_ms": …, "rows": {"<id>": [up, watched, at, is_up, is_first]}}`."""
    return {
        "watched_ms": round(record.watched_ms),
        "rows": {id_: _plain_uptime(uptime) for id_, uptime in record.rows.items()},
    }


def parse_record(content: Mapping[str, object]) -> UptimeRecord | None:
    """Return a file's record, if any, without the unreadable rows, which the record names."""
    try:
        watched_ms = CLOCK.value(content.get("watched_ms"))
    except ValueError:
        return None
    rows = content.get("rows")
    if watched_ms < 0.0 or not isinstance(rows, dict):
        return None
    found = readable(rows, _uptime_codec(watched_ms), [])
    named = {clean(id_): uptime for id_, uptime in found.items()}
    damaged = frozenset(clean(id_) for id_ in rows.keys() - found.keys())
    return UptimeRecord(watched_ms, named, has_begun=True, damaged=damaged - named.keys())


def unreadable_uptimes(content: Mapping[str, object]) -> Sequence[SafeText]:
    """Return what cannot be read of a file's content: ids of rows, or all."""
    if not content:
        return ()
    record = parse_record(content)
    return (clean("the watched time"),) if record is None else sorted(record.damaged)


def _plain_uptime(uptime: Uptime) -> list[Any]:
    plain = [round(uptime.up), round(uptime.watched), round(uptime.at), uptime.is_up]
    return [*plain, True] if uptime.is_first and not uptime.is_known else plain


def _uptime_codec(watched_ms: float) -> Codec[Uptime]:
    def value(plain: object) -> Uptime:
        up, watched, at, is_up, *is_first = list_of(plain)
        uptime = Uptime(CLOCK.value(up), CLOCK.value(watched), CLOCK.value(at), _IS_UP.value(is_up), bool(is_first))
        if is_first not in ([], [True]):
            raise ValueError("no flag")
        if not (0.0 <= uptime.up <= uptime.watched and 0.0 <= uptime.at <= watched_ms):
            raise ValueError("an impossible uptime")
        return uptime

    return Codec(_plain_uptime, value)


_IS_UP: Final = optional(FLAG)
