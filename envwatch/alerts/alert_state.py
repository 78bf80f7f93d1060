"""The alert state for the next run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass, field, replace
from typing import Any, Final

from envwatch.alerts.incident import Blindness, Incident
from envwatch.alerts.ledger import Announcement, Ledger, Progress
from envwatch.alerts.losses import LOSSES, Loss, key_of
from envwatch.fleet.events import Event, Kind
from envwatch.fleet.last_run import NO_RUN, LastRun
from envwatch.fleet.presence import DISCONNECTED, GONE, Presence, Reason, Verdict
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.fleet.watched_time import Span
from envwatch.model.acks import finite_number
from envwatch.model.clock import Clocks, MonotonicS, ServerMs, WallMs
from envwatch.model.environment import Environment, wire_row
from envwatch.model.page import environment_of
from envwatch.model.text import EMPTY, SafeText, clean, composed

VERSION: Final = 1
"""The version of the file's format."""
_LONGEST_ID: Final = 80
_OF_PROFILES: Final = frozenset({Kind.BLIND, Kind.STALLED})
_PROGRESS: Final[Mapping[str, Progress]] = {progress.value: progress for progress in Progress}
_KINDS: Final[Mapping[object, Kind]] = {kind.value: kind for kind in LOSSES | _OF_PROFILES | {Kind.FLAPPING}}


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


def _wall(at: MonotonicS, now: Clocks) -> float:
    return now.wall - (now.monotonic - at) * 1000


def alert_state_content(state: AlertState, now: Clocks) -> dict[str, Any]:
    """Return the file's content, with wall times for monotonic times."""

    def wall(at: MonotonicS) -> float:
        return _wall(at, now)

    return {
        "version": VERSION,
        "written_at": now.wall,
        "looked_at": state.last_run.looked_at,
        "is_stalled": state.last_run.is_stalled,
        "waiting": [
            _loss_content(loss.event)
            | {
                "died": list(loss.died),
                "silent_since": wall(loss.silent_since),
                "noticed_at": wall(loss.noticed_at),
                "incident": loss.incident,
                "is_silenced": loss.is_silenced,
                "is_doubtful": loss.is_doubtful,
            }
            for loss in state.waiting
        ],
        "open": {
            incident.id: {
                "began_at": incident.began_at,
                "noticed_at": wall(incident.noticed_at),
                "shared": incident.shared,
                "is_storm": incident.is_storm,
                "silenced": incident.silenced,
                "losses": [_loss_content(loss) for loss in incident.losses],
                "back": sorted(id_ for _, id_ in incident.keys - incident.remaining),
            }
            # An incident without a loss that remains is not read.
            | ({"is_over": True, "back": [], "ended_by": incident.ended_by} if incident.id in state.ledger.over else {})
            for incident in (*state.open, *state.ledger.over.values())
            if incident.profile == state.profile
        },
        "ledger": ledger_content(state.ledger, state.profile, now),
        "blind": None
        if state.blindness is None
        else {"noticed_at": wall(state.blindness.noticed_at), "since": state.blindness.since},
        "failing": dict(state.failing),
        "rows": {id_: _row_content(tracked) for id_, tracked in state.last_run.rows.items()},
    }


def ledger_content(ledger: Ledger, profile: SafeText, now: Clocks) -> dict[str, Any]:
    """Return a profile's announcements by incident id and hook name."""
    found = {
        id_: {hook: _announcement_content(each, now) for hook, each in ledger.of_hooks(id_) if each.profile == profile}
        for id_ in ledger.announcements
    }
    return {id_: channels for id_, channels in found.items() if channels}


def _announcement_content(announcement: Announcement, now: Clocks) -> dict[str, Any]:
    content = {"progress": announcement.progress.value, "at": _wall(announcement.at, now)}
    return content | {"tries": announcement.tries, "failures": announcement.failures, "error": announcement.error}


def _row_content(tracked: TrackedEnvironment) -> dict[str, Any]:
    content: dict[str, Any] = {"row": wire_row(tracked.environment), "verdict": list(tracked.verdict)}
    if tracked.since_at is not None:
        content["since_at"] = tracked.since_at
    if tracked.transitions:
        content |= {"transitions": list(tracked.transitions), "is_flapping": tracked.is_flapping}
    if tracked.twins or tracked.offline_beside:
        content |= {"twins": sorted(tracked.twins), "offline_beside": sorted(tracked.offline_beside)}
    return content


def _loss_content(loss: Event) -> dict[str, Any]:
    return {"id": loss.id, "name": loss.name, "kind": loss.kind.value, "reason": loss.reason, "at": loss.at}


def alert_state(content: Mapping[str, object], profile: SafeText, now: Clocks) -> AlertState | None:
    """Return a file's alert state without damaged values; None if empty, or of another version.

    Missing times count as `now`; so do later times, because the clock was set back.
    """
    if content.get("version") != VERSION:
        return None
    looked_at = finite_number(content.get("looked_at")) or written_at(content) or now.wall
    losses = content.get("waiting")
    incidents, over = _incidents_in(content.get("open"), profile, now)
    waiting = (_waiting_in(_members(raw), profile, now) for raw in (losses if isinstance(losses, list) else ()))
    rows = dict(_rows_in(content.get("rows")))
    looked_at = WallMs(min(looked_at, now.wall))
    return AlertState(
        profile=profile,
        last_run=LastRun(looked_at, rows, is_stalled=content.get("is_stalled") is True),
        waiting=tuple(loss for loss in waiting if loss is not None),
        open=incidents,
        ledger=Ledger(dict(_announcements_in(content.get("ledger"), profile, now)), over),
        blindness=_blindness_in(_members(content.get("blind")), now),
        failing=failing_hooks(content),
    )


def dropped_values(content: Mapping[str, object], state: AlertState) -> Mapping[str, SafeText]:
    """Return texts about a file's damaged values, by part of the file."""
    parts: Mapping[str, Sized] = {
        "waiting": state.waiting,
        "open": (*state.open, *state.ledger.over),
        "ledger": state.ledger.announcements,
        "failing": state.failing,
        "rows": state.last_run.rows,
    }
    dropped = {}
    for name, kept in parts.items():
        raw = content.get(name)
        given = len(raw) if isinstance(raw, (list, dict)) else int(raw is not None or name == "rows")
        if (lost := given - len(kept)) > 0:
            dropped[name] = composed(f"{name} ({lost} of {given})" if given > 1 else name)
    if content.get("blind") is not None and state.blindness is None:
        dropped["blind"] = clean("blind")
    if finite_number(content.get("looked_at")) is None:
        dropped["looked_at"] = clean("looked_at")
    return dropped


def _lost_row(loss: Event) -> TrackedEnvironment:
    """Return what a loss says about a row that the file lacks."""
    row = Environment.unlisted(loss.id or EMPTY, loss.name or EMPTY)
    return TrackedEnvironment(row, GONE if loss.kind is Kind.GONE else DISCONNECTED, since_at=loss.at)


def _rows_in(raw: object) -> Iterator[tuple[SafeText, TrackedEnvironment]]:
    for id_, entry in _members(raw).items():
        members = _members(entry)
        verdict = _verdict_in(members.get("verdict"))
        try:
            environment = replace(environment_of(members.get("row")), id=clean(id_))
        except ValueError:
            continue
        if verdict is None:
            continue
        since_at, transitions = finite_number(members.get("since_at")), members.get("transitions")
        at = [finite_number(each) for each in transitions] if isinstance(transitions, list) else []
        yield (
            environment.id,
            TrackedEnvironment(
                environment,
                verdict,
                members.get("is_flapping") is True,
                since_at=None if since_at is None else ServerMs(since_at),
                transitions=tuple(ServerMs(each) for each in at if each is not None),
                twins=_texts(members.get("twins")),
                offline_beside=_texts(members.get("offline_beside")),
            ),
        )


def _verdict_in(raw: object) -> Verdict | None:
    match raw:
        case [str(presence), str(reason), bool(is_up)]:
            try:
                return Verdict(Presence(presence), Reason(reason), is_up)
            except ValueError:
                return None
    return None


def failing_hooks(content: Mapping[str, object]) -> Mapping[SafeText, WallMs]:
    """Return when each failing hook's failures began."""
    since = {clean(hook): finite_number(at) for hook, at in _members(content.get("failing")).items()}
    return {hook: WallMs(at) for hook, at in since.items() if at is not None}


def written_at(content: Mapping[str, object]) -> float:
    """Return the time of writing in ms since the epoch; 0 if damaged."""
    return finite_number(content.get("written_at")) or 0.0


def _incidents_in(
    entries: object, profile: SafeText, now: Clocks
) -> tuple[tuple[Incident, ...], Mapping[SafeText, Incident]]:
    """Return open incidents, oldest first, and resolved incidents by id, without damaged entries."""
    found: list[Incident] = []
    over: dict[SafeText, Incident] = {}
    for raw_id, raw in _members(entries).items():
        id_, members = clean(raw_id, _LONGEST_ID), _members(raw)
        if (incident := _incident_in(id_, members, profile, now)) is None:
            continue
        if members.get("is_over") is True:
            over[id_] = incident._replace(remaining=frozenset(), ended_by=_text(members.get("ended_by")))
        else:
            found.append(incident)
    return tuple(sorted(found, key=lambda incident: incident.began_at)), over


def _announcements_in(
    raw: object, profile: SafeText, now: Clocks
) -> Iterator[tuple[SafeText, Mapping[SafeText, Announcement]]]:
    for raw_id, entries in _members(raw).items():
        read = {
            clean(hook): _announcement_in(_members(entry), profile, now) for hook, entry in _members(entries).items()
        }
        if channels := {hook: each for hook, each in read.items() if each is not None}:
            yield clean(raw_id, _LONGEST_ID), channels


def _announcement_in(raw: Mapping[str, object], profile: SafeText, now: Clocks) -> Announcement | None:
    name = raw.get("progress")
    if not isinstance(name, str) or (progress := _PROGRESS.get(name)) is None:
        return None
    tries, failures = (int(finite_number(raw.get(name)) or 0) for name in ("tries", "failures"))
    return Announcement(profile, progress, _monotonic(raw.get("at"), now), tries, failures, _text(raw.get("error")))


def _incident_in(id_: SafeText, raw: Mapping[str, object], profile: SafeText, now: Clocks) -> Incident | None:
    began_at, entries, over = finite_number(raw.get("began_at")), raw.get("losses"), _texts(raw.get("back"))
    if began_at is None or not isinstance(entries, list):
        return None
    found = (_loss_in(_members(entry), profile, id_) for entry in entries)
    losses = tuple(loss for loss in found if loss is not None)
    remaining = frozenset(key_of(loss) for loss in losses if loss.id not in over)
    if not remaining:
        return None
    return Incident(
        id=id_,
        profile=profile,
        began_at=ServerMs(began_at),
        losses=losses,
        is_storm=raw.get("is_storm") is True,
        shared=_text(raw.get("shared")),
        noticed_at=_monotonic(raw.get("noticed_at"), now),
        remaining=remaining,
        silenced=int(finite_number(raw.get("silenced")) or 0),
    )


def _loss_in(raw: Mapping[str, object], profile: SafeText, incident: SafeText) -> Event | None:
    at, kind, id_ = finite_number(raw.get("at")), raw.get("kind"), _text(raw.get("id"))
    if at is None or not isinstance(kind, str) or kind not in _KINDS or (id_ is None) is not (kind in _OF_PROFILES):
        return None
    return Event(
        kind=_KINDS[kind],
        at=ServerMs(at),
        profile=profile,
        id=id_,
        name=_text(raw.get("name")),
        reason=_text(raw.get("reason")),
        since=ServerMs(at) if id_ is None else None,
        incident=incident,
    )


def _waiting_in(raw: Mapping[str, object], profile: SafeText, now: Clocks) -> Loss | None:
    incident, died = _text(raw.get("incident")), raw.get("died")
    loss = None if incident is None else _loss_in(raw, profile, incident)
    if incident is None or loss is None or loss.id is None or not isinstance(died, list):
        return None
    match [finite_number(at) for at in died]:
        case [float(earliest), float(latest)] if earliest <= latest:
            return Loss(
                event=loss,
                died=Span(ServerMs(earliest), ServerMs(latest)),
                silent_since=_monotonic(raw.get("silent_since"), now),
                noticed_at=_monotonic(raw.get("noticed_at"), now),
                incident=incident,
                is_silenced=raw.get("is_silenced") is True,
                is_doubtful=raw.get("is_doubtful") is True,
            )
    return None


def _blindness_in(raw: Mapping[str, object], now: Clocks) -> Blindness | None:
    since = finite_number(raw.get("since"))
    return None if since is None else Blindness(_monotonic(raw.get("noticed_at"), now), ServerMs(since))


def _monotonic(wall: object, now: Clocks) -> MonotonicS:
    at = finite_number(wall)
    return now.monotonic if at is None else MonotonicS(now.monotonic - max(now.wall - at, 0.0) / 1000)


def _members(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _texts(raw: object) -> frozenset[SafeText]:
    return frozenset(clean(each) for each in raw if isinstance(each, str)) if isinstance(raw, list) else frozenset()


def _text(raw: object) -> SafeText | None:
    return clean(raw) if isinstance(raw, str) and raw else None
