"""The ledger of deliveries by incident and channel, like Alertmanager's notification log.

    due ──> told ──> end due ──> ended
     │      │  ↑        └──────> given up
     │      │  └─> reminder due          (nobody acknowledged the incident for long enough)
     │      └────> ack due ──> acked     (all remaining rows are acknowledged)
     ├────> over        (resolved before the channel was told)
     └────> given up    (the receiver never takes the message)

A channel is a hook's name, the bell, or a dead man's switch. No further value keeps deliveries.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model import limits
from envwatch.model.text import SafeText, composed

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from envwatch.alerts.incident import Incident
    from envwatch.model.clock import MonotonicS

BELL: Final = composed(" bell")
PING: Final = composed(" ping")
"""Channels that only memory keeps; the space keeps both apart from hooks' names."""
_KEPT_S: Final = limits.LEDGER_KEPT.total_seconds()
_TRIED_FOR_S: Final = limits.HOOK_TRIED_FOR.total_seconds()


class Progress(Enum):
    """Progress of an announcement."""

    DUE = "due"
    TOLD = "told"
    REMINDER_DUE = "reminder due"
    ACK_DUE = "ack due"
    ACKED = "acked"
    END_DUE = "end due"
    ENDED = "ended"
    OVER = "over"
    GIVEN_UP = "given up"


_AFTER: Final = {
    Progress.DUE: Progress.TOLD,
    Progress.REMINDER_DUE: Progress.TOLD,
    Progress.ACK_DUE: Progress.ACKED,
    Progress.END_DUE: Progress.ENDED,
}
_KNOWN: Final = frozenset({Progress.TOLD, Progress.REMINDER_DUE, Progress.ACK_DUE, Progress.ACKED})
"""The channel took the opening, and must get the end."""
_KEPT_OUTSIDE: Final = _KNOWN | {Progress.GIVEN_UP}
_NOT_IN_FILE: Final = composed("told, and not in the file now")
_FINAL: Final = frozenset({Progress.ENDED, Progress.OVER, Progress.GIVEN_UP})


class Announcement(NamedTuple):
    """An incident's announcement on a channel."""

    profile: SafeText
    progress: Progress
    at: MonotonicS
    tries: int = 0
    failures: int = 0
    """Number of failed tries of the due message."""
    error: SafeText | None = None
    """Reason of the newest failed try; None before and during a try."""

    @property
    def is_unsure(self) -> bool:
        """Whether the opening may have arrived: a try runs, or was killed."""
        return self.progress is Progress.DUE and self.tries > self.failures

    @property
    def is_unsent(self) -> bool:
        """Whether a message is due."""
        return self.progress in _AFTER

    def reached(self, progress: Progress, at: MonotonicS) -> Announcement:
        """Return the announcement at another progress."""
        return Announcement(self.profile, progress, at)


class Ledger(NamedTuple):
    """Announcements of all profiles; the keys are also the used incident ids.

    An incident's announcements stay for `limits.LEDGER_KEPT` after the last final one.
    """

    announcements: Mapping[SafeText, Mapping[SafeText, Announcement]] = {}
    """Announcements by incident id and channel, oldest first."""
    over: Mapping[SafeText, Incident] = {}
    """Resolved incidents with an unsent message."""

    def of(self, incident: SafeText, channel: SafeText) -> Announcement | None:
        """Return an incident's announcement on a channel."""
        return self.announcements.get(incident, {}).get(channel)

    def of_hooks(self, incident: SafeText) -> Iterator[tuple[SafeText, Announcement]]:
        """Yield an incident's announcements by hook name."""
        for channel, announcement in self.announcements.get(incident, {}).items():
            if channel not in (BELL, PING):
                yield channel, announcement

    def unsent(self, incidents: Iterable[Incident], channel: SafeText) -> Iterator[tuple[Incident, Announcement]]:
        """Yield open `incidents` and resolved incidents with a due message on a channel."""
        for incident in (*incidents, *self.over.values()):
            announcement = self.of(incident.id, channel)
            if announcement is not None and announcement.is_unsent:
                yield incident, announcement

    def after(self, opened: Sequence[Incident], resolved: Sequence[Incident], at: MonotonicS) -> Ledger:
        """Return the ledger after incidents opened and resolved.

        The bell is due each opening. A channel with a delivered opening is due the end; after an uncertain try, the
        opening comes first.
        """
        if not opened and not resolved:
            return self
        announcements, over = dict(self.announcements), dict(self.over)
        for incident in opened:
            bell = Announcement(incident.profile, Progress.DUE, at)
            announcements[incident.id] = {**announcements.get(incident.id, {}), BELL: bell}
        for incident in resolved:
            channels = announcements.get(incident.id, {})
            announcements[incident.id] = {name: _resolved(each, name, at) for name, each in channels.items()}
            over[incident.id] = incident
        return _tidied(announcements, over, at)

    def end_due(self, incident: SafeText, channel: SafeText, at: MonotonicS) -> Ledger:
        """Return the ledger with the end due on a channel; an untried opening becomes `OVER`."""
        before = self.of(incident, channel)
        return self if before is None else self._with(incident, channel, _resolved(before, channel, at))

    def due(self, incident: SafeText, channel: SafeText, profile: SafeText, at: MonotonicS) -> Ledger:
        """Return the ledger with an opening due on a channel."""
        return self._with(incident, channel, Announcement(profile, Progress.DUE, at))

    def next_due(self, incident: SafeText, channel: SafeText, progress: Progress, at: MonotonicS) -> Ledger:
        """Return the ledger with a reminder or acknowledgement due on a channel."""
        before = self.of(incident, channel)
        return self if before is None else self._with(incident, channel, before.reached(progress, at))

    def tried(self, incident: SafeText, channel: SafeText) -> Ledger:
        """Return the ledger at the start of a try. Write this ledger to the disk before the try."""
        if (before := self.of(incident, channel)) is None:
            return self
        return self._with(incident, channel, before._replace(tries=before.tries + 1, error=None))

    def told(self, incident: SafeText, channel: SafeText, sent: Progress, at: MonotonicS) -> Ledger:
        """Return the ledger after a channel took `sent`, if still due."""
        if (before := self.of(incident, channel)) is None or before.progress is not sent:
            return self
        progress = _AFTER[sent]
        if sent is Progress.DUE and incident in self.over:
            progress = Progress.END_DUE
        return self._with(incident, channel, before.reached(progress, at))

    def failed(  # noqa: PLR0913  the facts about a try
        self,
        incident: SafeText,
        channel: SafeText,
        sent: Progress,
        error: SafeText,
        at: MonotonicS,
        *,
        is_final: bool = False,
    ) -> Ledger:
        """Return the ledger after a failed try of `sent`; a final failure gives the message up.

        A resolved incident's opening is dropped, unless an earlier try may have arrived. A refused reminder or
        acknowledgement does not prevent the end.
        """
        if (before := self.of(incident, channel)) is None or before.progress is not sent:
            return self
        after = before._replace(failures=before.failures + 1, error=error)
        may_be_told = after.is_unsure and at - after.at < _TRIED_FOR_S
        if before.progress is Progress.DUE and incident in self.over and not may_be_told:
            return self._with(incident, channel, before.reached(Progress.OVER, at))
        if is_final:
            progress = _AFTER[sent] if sent in _KNOWN else Progress.GIVEN_UP
            return self._with(incident, channel, before.reached(progress, at)._replace(error=error))
        return self._with(incident, channel, after)

    def ringing(self, incidents: Iterable[Incident], at: MonotonicS) -> tuple[Ledger, tuple[Incident, ...]]:
        """Return the ledger after a bell for all due `incidents`, and these incidents.

        No bell rings within `limits.BELL_EVERY` of the last.
        """
        due = tuple(incident for incident, each in self.unsent(incidents, BELL) if each.progress is Progress.DUE)
        if not due:
            return self, ()
        bells = (channels[BELL] for channels in self.announcements.values() if BELL in channels)
        rang_at = max((bell.at for bell in bells if bell.progress is Progress.TOLD), default=-inf)
        if at - rang_at < limits.BELL_EVERY.total_seconds():
            return self, ()
        ledger = self
        for incident in due:
            ledger = ledger.told(incident.id, BELL, Progress.DUE, at)
        return ledger, due

    def with_earlier(self, other: Ledger, incidents: Iterable[Incident]) -> Ledger:
        """Return the ledger with the announcements of an earlier run or another process, which take precedence.

        No bell rings for the run's open `incidents`.
        """
        announcements = {**self.announcements}
        for id_, channels in other.announcements.items():
            announcements[id_] = {**announcements.get(id_, {}), **channels}
        for incident in incidents:
            silent = {BELL: Announcement(incident.profile, Progress.OVER, incident.noticed_at)}
            announcements[incident.id] = {**silent, **announcements.get(incident.id, {})}
        return Ledger(announcements, {**self.over, **other.over})

    def only(self, hooks: Container[SafeText]) -> Ledger:
        """Return the ledger with nothing due outside `hooks`.

        A further hook may come back, and is not told again what it was told.
        """
        found = {
            id_: {
                name: _back(each) if name in hooks else _outside(each)
                for name, each in channels.items()
                if name in hooks or (id_ not in self.over and each.progress in _KEPT_OUTSIDE)
            }
            for id_, channels in self.announcements.items()
        }
        return Ledger(
            {id_: channels for id_, channels in found.items() if channels},
            {id_: incident for id_, incident in self.over.items() if not _is_sent(found.get(id_, {}))},
        )

    def _with(self, incident: SafeText, channel: SafeText, announcement: Announcement) -> Ledger:
        channels = {**self.announcements.get(incident, {}), channel: announcement}
        over = self.over
        if incident in over and _is_sent(channels):
            over = {id_: each for id_, each in over.items() if id_ != incident}
        return Ledger({**self.announcements, incident: channels}, over)


def _tidied(
    announcements: Mapping[SafeText, Mapping[SafeText, Announcement]], over: Mapping[SafeText, Incident], at: MonotonicS
) -> Ledger:
    kept = {
        id_: channels
        for id_, channels in announcements.items()
        if not all(_is_final(name, each) and at - each.at >= _KEPT_S for name, each in channels.items())
    }
    return Ledger(kept, {id_: each for id_, each in over.items() if id_ in kept and not _is_sent(kept[id_])})


def _outside(announcement: Announcement) -> Announcement:
    if announcement.progress is Progress.GIVEN_UP:
        return announcement
    return announcement.reached(Progress.GIVEN_UP, announcement.at)._replace(error=_NOT_IN_FILE)


def _back(announcement: Announcement) -> Announcement:
    if announcement.error != _NOT_IN_FILE:
        return announcement
    return announcement.reached(Progress.TOLD, announcement.at)


def _is_sent(channels: Mapping[SafeText, Announcement]) -> bool:
    return not any(each.is_unsent for each in channels.values())


def _is_final(channel: SafeText, announcement: Announcement) -> bool:
    """Whether no progress can follow; a bell rings for no end."""
    return announcement.progress in _FINAL or (channel == BELL and announcement.progress is Progress.TOLD)


def _resolved(before: Announcement, channel: SafeText, at: MonotonicS) -> Announcement:
    if before.progress is Progress.DUE and not before.is_unsure:
        return before.reached(Progress.OVER, at)
    if before.progress in _KNOWN and channel != BELL:
        return before.reached(Progress.END_DUE, at)
    return before
