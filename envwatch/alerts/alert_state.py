"""The alert state for the next run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from envwatch.alerts.incident import Blindness, Incident
from envwatch.alerts.ledger import Announcement, Ledger, Progress
from envwatch.alerts.losses import LOSSES, Loss, key_of
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.last_run import NO_RUN, LastRun
from envwatch.fleet.presence import DISCONNECTED, GONE
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.model.environment import Environment
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.stored.codecs import CLOCK, FLAG, IDS, Codec, build_codecs, defaults_of, object_of, optional, record, word
from envwatch.stored.entries import readable
from envwatch.stored.rows import plain_row, row_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PARTS: Final = frozenset({"waiting", "open", "over", "ledger", "failing", "rows"})
"""The parts of the file with entries of their own."""
_LONGEST_ID: Final = 80
_OF_PROFILES: Final = frozenset({Kind.BLIND, Kind.STALLED})
_KINDS: Final = LOSSES | _OF_PROFILES | {Kind.FLAPPING}
_NOT_KEPT: Final = {
    name: value
    for name, value in defaults_of(Event).items()
    if name in {"field", "before", "after", "lasted", "of", "members", "then"}
}
_OF_ONE_RUN: Final = frozenset(
    {
        "absent",
        "clock_suspect",
        "has_impossible_time",
        "last_change",
        "last_known_heartbeat",
        "left_pod_id",
        "replaced_by",
        "replaced_by_name",
        "skew_check",
    }
)
"""Fields of a row that the next run finds out anew."""
_OBJECT: Final = Codec(dict[str, Any], object_of)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """One profile's alert state."""

    profile: SafeText = EMPTY
    last_run: LastRun = NO_RUN
    """The last look, with the rows that were up, have a loss, or remember other rows."""
    waiting: tuple[Loss, ...] = ()
    open: tuple[Incident, ...] = ()
    ledger: Ledger = field(default_factory=Ledger)
    """The file keeps only the profile's announcements on hooks."""
    blindness: Blindness | None = None
    failing: Mapping[SafeText, WallMs] = field(default_factory=dict)

    def with_rows_of_alerts(self) -> AlertState:
        """Return the state without rows that no loss can concern, lost rows first."""
        rows, lost = self.last_run.rows, self.lost
        kept = [id_ for id_ in lost if id_ in rows]
        kept += (
            id_ for id_, tracked in rows.items() if tracked.verdict.is_up or tracked.twins or tracked.offline_beside
        )
        last_run = self.last_run._replace(rows={id_: rows[id_] for id_ in kept}, is_whole=False)
        return replace(self, last_run=last_run)

    @property
    def known_run(self) -> LastRun:
        """The last look, with what a loss says about a row that the file lacks."""
        missing = {id_: _lost_row(loss) for id_, loss in self.lost.items() if id_ not in self.last_run.rows}
        return self.last_run._replace(rows={**missing, **self.last_run.rows}) if missing else self.last_run

    def is_like(self, other: AlertState) -> bool:
        """Whether the states differ in no more than the last look's time and the fields of its rows."""
        mine, others = self.last_run, other.last_run
        return (
            replace(self, last_run=others) == other
            and mine.is_stalled is others.is_stalled
            and mine.ids_up == others.ids_up
            and _siblings(mine) == _siblings(others)
        )

    @property
    def lost(self) -> Mapping[SafeText, Event]:
        """Waiting losses, and open incidents' losses of rows not back, by row id."""
        opened = (loss for each in self.open for loss in each.losses if key_of(loss) in each.remaining)
        return {loss.id: loss for loss in (*opened, *(each.event for each in self.waiting)) if loss.id is not None}


def _siblings(last_run: LastRun) -> Mapping[SafeText, tuple[frozenset[SafeText], frozenset[SafeText]]]:
    rows = last_run.rows.items()
    return {id_: (each.twins, each.offline_beside) for id_, each in rows if each.twins or each.offline_beside}


def alert_state_content(state: AlertState, now: Clocks) -> dict[str, Any]:
    """Return the file's content, with wall times for monotonic times."""
    codecs = _Codecs(state.profile, now)
    # The last message of an incident that is over names all losses.
    over = [each._replace(remaining=frozenset()) for each in state.ledger.over.values()]
    return {
        "written_at": now.wall,
        "looked_at": state.last_run.looked_at,
        "is_stalled": state.last_run.is_stalled,
        "waiting": {f"{each.event.id} {each.event.kind}": codecs.waiting.plain(each) for each in state.waiting},
        "open": {each.id: codecs.plain_incident(each) for each in state.open if each.profile == state.profile},
        "over": {each.id: codecs.plain_incident(each) for each in over if each.profile == state.profile},
        "ledger": ledger_content(state.ledger, state.profile, now),
        "blind": None if state.blindness is None else codecs.blindness.plain(state.blindness),
        "failing": dict(state.failing),
        "rows": {id_: plain_row(tracked, _OF_ONE_RUN) for id_, tracked in state.last_run.rows.items()},
    }


def ledger_content(ledger: Ledger, profile: SafeText, now: Clocks) -> dict[str, Any]:
    """Return a profile's announcements by incident id and hook name."""
    codec = _Codecs(profile, now).announcement
    found = {
        id_: {hook: codec.plain(each) for hook, each in ledger.of_hooks(id_) if each.profile == profile}
        for id_ in ledger.announcements
    }
    return {id_: channels for id_, channels in found.items() if channels}


def alert_state(
    content: Mapping[str, Any], profile: SafeText, now: Clocks, unread: list[SafeText] | None = None
) -> AlertState | None:
    """Return a file's alert state without unreadable values, whose places `unread` gets; None if empty.

    Missing times count as `now`; so do later times, because the clock was set back.
    """
    if not content:
        return None
    unread = [] if unread is None else unread
    codecs = _Codecs(profile, now)
    looked_at = _value(content, "looked_at", CLOCK, unread) or written_at(content) or now.wall
    waiting = readable(content.get("waiting", {}), codecs.waiting, unread, "waiting")
    opened = codecs.incidents(content, "open", unread)
    over = codecs.incidents(content, "over", unread)
    rows = readable(content.get("rows", {}), codecs.row, unread, "rows")
    return AlertState(
        profile=profile,
        last_run=LastRun(
            looked_at=WallMs(min(looked_at, now.wall)),
            rows={tracked.environment.id: tracked for tracked in rows.values()},
            is_stalled=_value(content, "is_stalled", FLAG, unread) or False,
        ),
        waiting=tuple(waiting.values()),
        open=tuple(sorted((each for each in opened if each.remaining), key=attrgetter("began_at"))),
        ledger=Ledger(codecs.announcements(content, unread), {each.id: each for each in over}),
        blindness=_value(content, "blind", codecs.blindness, unread),
        failing=failing_hooks(content, unread),
    )


def unreadable_in(content: Mapping[str, Any]) -> Sequence[SafeText]:
    """Return the places of a file's unreadable values: `rows env-1`."""
    unread: list[SafeText] = []
    alert_state(content, NO_PROFILE, Clocks(WallMs(0.0), MonotonicS(0.0)), unread)
    return unread


def failing_hooks(content: Mapping[str, Any], unread: list[SafeText] | None = None) -> Mapping[SafeText, WallMs]:
    """Return when each failing hook's failures began."""
    found = readable(content.get("failing", {}), CLOCK, [] if unread is None else unread, "failing")
    return {clean(hook): at for hook, at in found.items()}


def written_at(content: Mapping[str, Any]) -> float:
    """Return the time of writing in ms since the epoch; 0 if unreadable."""
    return _value(content, "written_at", CLOCK, []) or 0.0


def _value(content: Mapping[str, Any], name: str, codec: Codec[T], unread: list[SafeText]) -> T | None:
    members = {name: content[name]} if content.get(name) is not None else {}
    return readable(members, codec, unread).get(name)


def _lost_row(loss: Event) -> TrackedEnvironment:
    """Return what a loss says about a row that the file lacks."""
    row = Environment.unlisted(loss.id or EMPTY, loss.name or EMPTY)
    return TrackedEnvironment(row, GONE if loss.kind is Kind.GONE else DISCONNECTED, since_at=loss.at)


class _Codecs:
    """Codecs of a profile's state, which has wall times in the place of monotonic times.

    A missing or damaged monotonic time is `now`: a loss without its times still counts.
    """

    def __init__(self, profile: SafeText, now: Clocks) -> None:
        time = Codec(partial(_wall, now=now), partial(_monotonic, now=now))
        loss = record(
            partial(Event, profile=profile, **_NOT_KEPT),
            **build_codecs(Event, "profile", *_NOT_KEPT) | {"at": CLOCK, "since": optional(CLOCK)},
        )
        self._loss = Codec(loss.plain, lambda plain: _checked_loss(loss.value(plain)))
        waiting = record(
            partial(Loss, silent_since=now.monotonic, noticed_at=now.monotonic),
            **build_codecs(Loss, "event") | {"event": self._loss, "silent_since": time, "noticed_at": time},
        )
        self.waiting = Codec(waiting.plain, lambda plain: _checked_waiting(waiting.value(plain)))
        keys = Codec(
            lambda keys: sorted(id_ for _, id_ in keys),
            lambda plain: frozenset((profile, id_) for id_ in IDS.value(plain)),
        )
        self._incident = record(
            partial(Incident, id=EMPTY, profile=profile, losses=(), noticed_at=now.monotonic),
            **build_codecs(Incident, "id", "profile", "losses", "remaining")
            | {"began_at": CLOCK, "noticed_at": time, "remaining": keys},
        )
        self.announcement = record(
            partial(Announcement, profile=profile, at=now.monotonic),
            **build_codecs(Announcement, "profile", "progress") | {"progress": word(Progress), "at": time},
        )
        self.blindness = record(
            partial(Blindness, acked_at=None, noticed_at=now.monotonic), noticed_at=time, since=CLOCK
        )
        self.row = Codec(plain_row, lambda plain: row_of(plain, profile))

    def plain_incident(self, incident: Incident) -> dict[str, Any]:
        """Return an incident as a plain value."""
        return {**self._incident.plain(incident), "losses": [self._loss.plain(loss) for loss in incident.losses]}

    def incidents(self, content: Mapping[str, Any], part: str, unread: list[SafeText]) -> list[Incident]:
        """Return the incidents of a part with their readable losses, and at least one loss."""
        found: list[Incident] = []
        entries = content.get(part, {})
        for raw_id, incident in readable(entries, self._incident, unread, part).items():
            id_ = clean(raw_id, _LONGEST_ID)
            plain = entries[raw_id].get("losses")
            numbered = (
                {f"loss {number}": loss for number, loss in enumerate(plain)} if isinstance(plain, list) else None
            )
            losses = readable(numbered, self._loss, unread, part, id_)
            if losses:
                named = tuple(replace(loss, incident=id_) for loss in losses.values())
                whole = incident._replace(id=id_, losses=named)
                found.append(whole._replace(remaining=incident.remaining & whole.keys))
        return found

    def announcements(
        self, content: Mapping[str, Any], unread: list[SafeText]
    ) -> Mapping[SafeText, Mapping[SafeText, Announcement]]:
        """Return the announcements by incident id and hook name."""
        found: dict[SafeText, Mapping[SafeText, Announcement]] = {}
        for raw_id, entries in readable(content.get("ledger", {}), _OBJECT, unread, "ledger").items():
            id_ = clean(raw_id, _LONGEST_ID)
            channels = readable(entries, self.announcement, unread, "ledger", id_)
            if channels:
                found[id_] = {clean(hook): announcement for hook, announcement in channels.items()}
        return found


def _checked_loss(loss: Event) -> Event:
    if loss.kind not in _KINDS or loss.id == EMPTY or (loss.id is None) is not (loss.kind in _OF_PROFILES):
        raise ValueError("no loss")
    return loss


def _checked_waiting(loss: Loss) -> Loss:
    earliest, latest = map(CLOCK.value, loss.died)
    if loss.event.id is None or not loss.incident or earliest > latest:
        raise ValueError("no waiting loss")
    return loss._replace(event=replace(loss.event, incident=loss.incident))


def _wall(at: MonotonicS, now: Clocks) -> float:
    return now.wall - (now.monotonic - at) * 1000


def _monotonic(wall: object, now: Clocks) -> MonotonicS:
    try:
        at = CLOCK.value(wall)
    except ValueError:
        return now.monotonic
    return MonotonicS(now.monotonic - max(now.wall - at, 0.0) / 1000)
