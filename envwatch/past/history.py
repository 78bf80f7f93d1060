"""What was recorded under one profile: its polls, what was known after each, and the events.

Values, and the protocol of their reader; `storage/history/recorder.py` writes them. Pure: how they are kept is decided
in `storage`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from envwatch.fleet.alerting.acknowledgements import NO_OWN_ACKS
from envwatch.model.text import EMPTY, SafeText, clean, composed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from envwatch.fleet.alerting.acknowledgements import OwnAcks
    from envwatch.fleet.events import Event
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.clock import Clocks, WallMs
    from envwatch.model.outcome import RecordedPoll


class HistoryError(Exception):
    """A history or a recording cannot be written or read; the message is one line for people, without its path."""


class DamagedError(HistoryError):
    """A file is no history, or the file's content cannot be right."""


class NewerError(HistoryError):
    """A newer envwatch wrote the file, in a form that this version does not know."""


class GoneError(HistoryError):
    """The file does not exist, or holds nothing yet."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was known of one profile right after a poll."""

    now: Clocks
    """The clocks of the machine that recorded it, when the outcome was taken."""
    profile_state: ProfileState
    acks: OwnAcks = field(default_factory=lambda: NO_OWN_ACKS)
    """Problems of its environments that were acknowledged, by id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The origin of a recording, as the recording says."""

    profile: SafeText
    """Its name in the settings."""
    base_url: SafeText
    """Of the server."""
    version: SafeText
    """Of the envwatch that made the file."""
    is_redacted: bool = False

    @classmethod
    def from_rows(cls, rows: Mapping[str, object]) -> About:
        """Return the origin from texts by name; a copy of a day has `host` and `envwatch` for base URL and version."""
        texts = {name: clean(str(value)) for name, value in rows.items()}
        base_url = texts.get("base_url") or composed(f"https://{texts.get('host', '')}")
        return cls(
            profile=texts.get("profile", EMPTY),
            base_url=base_url,
            version=texts.get("version", texts.get("envwatch", EMPTY)),
            is_redacted=texts.get("is_redacted") == str(True),
        )

    def rows(self) -> dict[str, str]:
        """Return the texts by name."""
        return {name: str(value) for name, value in asdict(self).items()}

    @property
    def host(self) -> SafeText:
        """Host and port of the server."""
        return composed(self.base_url.partition("://")[2].partition("/")[0])


class RecordedStep(NamedTuple):
    """One poll with what it changed, or what time alone changed."""

    at: WallMs
    """As in `RecordedPoll`."""
    poll: RecordedPoll | None
    events: Sequence[Event]


class Past(Protocol):
    """What was recorded under one profile. Every method reads a disk, so call it in a thread; all are safe there.

    All raise `HistoryError`.
    """

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        """Return the polls of a time, both ends included, in the order of recording."""

    def moment(self, poll: RecordedPoll) -> Moment:
        """Return what was known right after a poll, equal to what it was in the process that recorded it.

        The moment of the poll after the poll of the last call is much cheaper than any other moment.
        """

    def steps(self, since: WallMs, until: WallMs) -> Iterator[RecordedStep]:
        """Yield the polls of a time, both ends included, each with its events, in the order of recording.

        Events that came with no poll have a step of their own. A group has its members.
        """


def events_of(steps: Iterable[RecordedStep]) -> list[Event]:
    """Return the events of steps, in the order of recording."""
    return [event for step in steps for event in step.events]
