"""Rows and pages in the API's form."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_OID, uuid5

from envwatch.alerts.acknowledgements import ACK_ENTRY, name_of
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import ENDS, NO_PROFILE, Kind
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerMs, WallMs
from envwatch.model.environment import METADATA_FIELDS, WIRE_FIELDS, ValueKind
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Listed, ListedPage, RelayInfo, Slept, Snapshot
from envwatch.model.page import parse_environment
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.views.output.environment_list import environment_list
from envwatch.views.table.block import build_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from envwatch.alerts.acknowledgements import Acks, ServerKey
    from envwatch.fleet.events import Event
    from envwatch.fleet.presence import Presence
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome
    from envwatch.views.output.environment_list import EnvironmentList

TEXT_MEMBERS: Final = [each.wire for each in WIRE_FIELDS if each.kind is ValueKind.TEXT and each.wire != "id"]

TEXT_KEYS: Final = [key for key, each in METADATA_FIELDS.items() if each.kind is str]

NOW = ServerMs(1_760_000_000_000.0)

PERIODS = frozenset({*ENDS, *ENDS.values(), Kind.SLEPT}) - {Kind.HELD, Kind.STALLED, Kind.RESUMED}
"""Begins and ends of periods, which are no events of rows; `tests/alerts/test_monitor.py` covers all periods."""


def wire_row(id: str = "env-1", **changes: Any) -> dict[str, Any]:  # noqa: A002  # the field's name on the wire
    """Return a healthy row with every field of the platform; `changes` use wire names."""
    return {
        "id": id,
        "connectionName": f"laptop of {id}",
        "deviceId": f"device-of-{id}",
        "organizationId": "org-1",
        "connectionId": f"conn-of-{id}",
        "connectedAt": NOW - 3_600_000,
        "lastHeartbeat": NOW - 12_000,
        "firstSeenAt": NOW - 86_400_000,
        "lastSeenAt": NOW - 12_000,
        "podId": "pod-1",
        "currentMode": "standard",
        "metadata": {
            "lettaCodeVersion": "0.34.12",
            "os": "linux",
            "nodeVersion": "v22.1.0",
            "gitBranch": "main",
            "workingDirectory": "/home/hiro/code/portal",
            "self_update": {"supported": True, "writable": True},
            "supported_commands": ["abort", "reload"],
            "machine": {"architecture": "x64", "cpu": "Ryzen 7", "memoryBytes": 34_359_738_368},
        },
        "listenerInstanceId": f"server-{id}",
    } | changes


def own_device_id(id: str = "env-1") -> str:  # noqa: A002  # the field's name on the wire
    """Return a device id as a machine has it for itself: `letta server` starts the row without `--org`."""
    return str(uuid5(NAMESPACE_OID, id))


def wire_rows(count: int) -> list[dict[str, Any]]:
    return [wire_row(f"env-{number}") for number in range(1, count + 1)]


def page_bytes(rows: Sequence[Any], has_next: bool = False) -> bytes:  # noqa: FBT001, FBT002  # as the wire has it
    return json.dumps({"connections": list(rows), "hasNextPage": has_next}).encode()


def environment(id: str = "env-1", **changes: Any) -> Environment:  # noqa: A002  # the field's name on the wire
    """Return a healthy row as a value; `changes` use wire names."""
    return parse_environment(wire_row(id, **changes))


def reading(at: float = NOW, skew: float = 0.0) -> Clocks:
    """Return this machine's clocks at a server's moment; the wall clock is wrong by `skew` milliseconds."""
    return Clocks(WallMs(at + skew), MonotonicS((at - NOW) / 1000))


def listed(
    rows: Sequence[Environment],
    at: float = NOW,
    *,
    skew: float = 0.0,
    dated: bool = True,
    page_size: int = 100,
    interval: timedelta = timedelta(seconds=5),
) -> Listed:
    """Return a complete listing, requested at a server's moment; `dated` responses have an exact `Date`."""
    started = reading(at, skew)
    pages = [
        ListedPage(list(rows[first : first + page_size]), started.wall) for first in range(0, len(rows), page_size)
    ]
    clock = (OffsetBounds(-skew - 500, -skew + 500),) if dated else ()
    snapshot = Snapshot.of_pages(pages=tuple(pages), clock=clock, requests=max(len(pages), 1))
    return Listed(snapshot, started, started, interval)


def with_pages(outcome: Listed, *pages: ListedPage, **changes: Any) -> Listed:
    """Return a listing with other pages."""
    snapshot = Snapshot.of_pages(pages)
    return outcome._replace(snapshot=outcome.snapshot._replace(pages=pages, rows=snapshot.rows, **changes))


def failed(cause: Cause = Cause.TIMEOUT, at: float = NOW, *, skew: float = 0.0, pages_read: int = 0) -> Failed:
    return Failed(
        cause=cause,
        message=clean(cause),
        started=reading(at, skew),
        ended=reading(at, skew),
        interval=timedelta(seconds=5),
        pages_read=pages_read,
    )


def slept(last_awake_at: float, awake_at: float, *, skew: float = 0.0) -> Slept:
    """Return a sleep of this machine between two server's moments; the monotonic clock went on."""
    return Slept(reading(last_awake_at, skew), reading(awake_at, skew))


def beating(count: int, at: float = NOW, **changes: Any) -> list[Environment]:
    """Return rows `env-1`, `env-2`, …, each with a heartbeat ten seconds before a moment."""
    return [environment(f"env-{n}", **({"lastHeartbeat": at - 10_000} | changes)) for n in range(1, count + 1)]


def watched(outcomes: Iterable[Outcome], profile_state: ProfileState | None = None) -> tuple[ProfileState, list[Event]]:
    """Return a fleet after some outcomes, with the events of rows, holds and stalls."""
    profile_state = profile_state or ProfileState()
    all_events: list[Event] = []
    for outcome in outcomes:
        profile_state, events = profile_state.apply(outcome)
        all_events += (event for event in events if event.kind not in PERIODS)
    return profile_state, all_events


def list_of(outcome: Listed) -> EnvironmentList:
    """Return the environments of a first listing, as commands print them."""
    return list_of_profiles({NO_PROFILE: outcome})


def list_of_profiles(outcomes: Mapping[str, Listed], *unlisted: str) -> EnvironmentList:
    """Return the environments of the profiles' first listings, as commands print them."""
    listings = {clean(profile): outcome for profile, outcome in outcomes.items()}
    monitor = Monitor.create(dict.fromkeys(listings, Limits()))
    for profile, outcome in listings.items():
        monitor, _ = monitor.apply(profile, outcome, outcome.asked)
    block = build_block(monitor, next(iter(listings.values())).asked)
    return replace(environment_list(listings, monitor, [*map(clean, unlisted)]), block=block)


def counts_of(profile_state: ProfileState) -> Mapping[Presence, int]:
    """Return how many environments there are of each presence."""
    return Counter(tracked.verdict.presence for tracked in profile_state.environments.values())


def entries_of(acks: Acks) -> dict[str, dict[str, Any]]:
    """Return the entries of acknowledgements in a JSON file."""
    return {name_of(key): ACK_ENTRY.plain((key, ack)) for key, ack in acks.items()}


def key_of(id_: str) -> ServerKey:
    """Return an environment's key on an unknown server, as in every monitor without `servers`."""
    return EMPTY, clean(id_)


def uncleaned(text: str) -> SafeText:
    """Return uncleaned text as cleaned, for tests of code that must survive such text."""
    return SafeText(text)


def later(at: Clocks, seconds: float) -> Clocks:
    return Clocks(WallMs(at.wall + seconds * 1000), MonotonicS(at.monotonic + seconds))


def served(outcome: Listed, age_s: float, *, is_repeat: bool = False, jitter_s: float = 0.0) -> Listed:
    """Return a viewer's copy of a listing at an age; the viewer overestimates the age by `jitter_s`."""
    snapshot = outcome.snapshot._replace(served=RelayInfo(age_s + jitter_s, is_repeat=is_repeat))
    pages = tuple(replace(page, asked_at=WallMs(page.asked_at - jitter_s * 1000)) for page in snapshot.pages)
    return outcome._replace(
        snapshot=snapshot._replace(pages=pages),
        started=later(outcome.started, age_s),
        ended=later(outcome.ended, age_s),
    )
