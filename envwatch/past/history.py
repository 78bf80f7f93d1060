"""Values and protocol of recorded time."""

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
    """Base of the errors of recorded time. The message is a line for people, without a path."""


class DamagedError(HistoryError):
    """The file is no history, or has impossible content."""


class NewerError(HistoryError):
    """A newer envwatch wrote the file in an unknown format."""


class GoneError(HistoryError):
    """The file does not exist, or is empty so far."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of a profile right after a poll."""

    now: Clocks
    profile_state: ProfileState
    acks: OwnAcks = field(default_factory=lambda: NO_OWN_ACKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The origin of a recording."""

    profile: SafeText
    base_url: SafeText
    version: SafeText
    """Of the envwatch that recorded."""
    is_redacted: bool = False

    @classmethod
    def from_rows(cls, rows: Mapping[str, object]) -> About:
        """Return the origin; a copied day file has `host` and `envwatch` for base URL and version."""
        texts = {name: clean(str(value)) for name, value in rows.items()}
        base_url = texts.get("base_url") or composed(f"https://{texts.get('host', '')}")
        return cls(
            profile=texts.get("profile", EMPTY),
            base_url=base_url,
            version=texts.get("version", texts.get("envwatch", EMPTY)),
            is_redacted=texts.get("is_redacted") == str(True),
        )

    def rows(self) -> dict[str, str]:
        """Return the fields as texts."""
        return {name: str(value) for name, value in asdict(self).items()}

    @property
    def host(self) -> SafeText:
        """The server's host, with a port."""
        return composed(self.base_url.partition("://")[2].partition("/")[0])


class RecordedStep(NamedTuple):
    """A poll with events, or events without a poll."""

    at: WallMs
    poll: RecordedPoll | None
    events: Sequence[Event]


class Past(Protocol):
    """Reads a profile's records from a disk, in any thread. Methods raise `HistoryError`."""

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        """Return the polls of a period, both ends included, in recording order."""

    def moment(self, poll: RecordedPoll) -> Moment:
        """Return the moment right after a poll, equal to the recorded moment.

        The moment after the previous call's moment is much cheaper than others.
        """

    def steps(self, since: WallMs, until: WallMs) -> Iterator[RecordedStep]:
        """Yield the polls of a period with events, both ends included, in recording order.

        Events without a poll are a separate step. A group has its members.
        """

    def forget(self) -> None:
        """Free the memory that makes the next moment cheap."""


def events_of(steps: Iterable[RecordedStep]) -> list[Event]:
    """Return the events in recording order."""
    return [event for step in steps for event in step.events]
