"""The scripted fleets of the transcripts, by the name after `fleet` in a transcript."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from support.builders import own_device_id, wire_row
from support.faulty_server import How, Stop, Where, says, sends, skewed
from support.hostile_fleet import hostile_error, hostile_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.faulty_server import Fault, Reply, Script

MINUTE: Final = 60_000
"""Milliseconds."""
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
STARTED: Final = 1_795_597_200_000
"""The moment of every first command: Wednesday, 25 November 2026, 09:00:00 UTC, in milliseconds."""


class Fleet(NamedTuple):
    """A listing, and the faults of the listing's server."""

    rows: Script
    faults: tuple[Fault, ...] = ()
    hangs: bool = False
    """Whether waits for the server end only by time."""


def up(name: str, now: float, *, beat_s: float = 5, **changes: Any) -> dict[str, Any]:
    """Return a row that connected a day before the start, with a heartbeat some seconds ago."""
    seen = now - beat_s * 1000
    usual = {
        "connectionName": name,
        "deviceId": own_device_id(name),
        "connectedAt": STARTED - DAY,
        "firstSeenAt": STARTED - 30 * DAY,
        "lastHeartbeat": seen,
        "lastSeenAt": seen,
    }
    return wire_row(f"env-{name}", **(usual | changes))


def down(name: str, since: float, **changes: Any) -> dict[str, Any]:
    """Return a row without connection, last seen at an instant."""
    return up(name, 0, connectionId=None, lastHeartbeat=None, lastSeenAt=since, **changes)


def _metadata(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = wire_row()["metadata"]
    return known | changes


def healthy(now: float) -> list[dict[str, Any]]:
    """Return three servers that are up."""
    return [
        up("web-1", now, metadata=_metadata(team="web")),
        up("web-2", now, beat_s=12, metadata=_metadata(team="web")),
        up("db-1", now, beat_s=20, podId="pod-2", metadata=_metadata(team="data", gitBranch="release/1.2")),
    ]


def mixed(now: float) -> list[dict[str, Any]]:
    """Return every state of a first listing, with long and wide names."""
    return [
        *healthy(now),
        down("web-3", STARTED - 10 * MINUTE, metadata=_metadata(team="web")),
        up("build-1", STARTED - 3 * MINUTE, beat_s=0, podId="pod-2", metadata=_metadata(team="ci")),
        up("cache-1", now, beat_s=60, podId=None),
        up("gpu-1", now, currentMode="unrestricted", metadata=_metadata(lettaCodeVersion="0.33.0", team="ml")),
        up("laptop of hiro", now, metadata=_metadata(os="darwin", gitBranch="feature/a-long-branch-of-a-person")),
        down("archive-1", STARTED - 9 * DAY),
        up("sandbox-1", now, deviceId="sandbox-agent-7", listenerInstanceId="sandbox:7"),
        up("東京-1", now, podId="pod-東京"),
        down("a-very-long-name-of-a-machine-in-the-cellar-behind-the-door", STARTED - 2 * HOUR),
    ]


def _changing(now: float) -> list[dict[str, Any]]:
    """Return a fleet that loses `web-2` after 20 s, gets it back after 50 s, and changes the mode of `db-1`."""
    after_s = (now - STARTED) / 1000
    rows = healthy(now)
    if 20 <= after_s < 50:
        rows[1] = down("web-2", STARTED + 18_000, metadata=_metadata(team="web"))
    if after_s >= 30:
        rows[2]["currentMode"] = "unrestricted"
    return rows


def _shrinking(now: float) -> list[dict[str, Any]]:
    """Return a fleet whose listing is empty after 20 s."""
    return healthy(now) if now - STARTED < 20_000 else []


def _many(now: float) -> list[dict[str, Any]]:
    return [up(f"node-{number}", now) for number in range(1, 131)]


def _hostile(now: float) -> list[dict[str, Any]]:
    return hostile_rows(now)[:16]


def _damaged(now: float) -> list[dict[str, Any]]:
    """Return rows that are unreadable, or have impossible times."""
    rows = [*healthy(now), *(up(f"node-{number}", now) for number in range(1, 13))]
    return [
        *rows,
        up("bad-1", now, connectionName=5),
        up("clock-1", now, lastHeartbeat=now + 3 * DAY, lastSeenAt=now + 3 * DAY),
    ]


def _without_date(reply: Reply) -> Reply:
    return replace(reply, headers={**reply.headers, "Date": None})


def _status(status: int, body: str = "", **headers: str) -> Fleet:
    return Fleet(healthy, (says(status, body, **headers),))


def _empty(_: float) -> Sequence[dict[str, Any]]:
    return ()


FLEETS: Final = {
    "healthy": Fleet(healthy),
    "mixed": Fleet(mixed),
    "changing": Fleet(_changing),
    "shrinking": Fleet(_shrinking),
    "empty": Fleet(_empty),
    "of 130": Fleet(_many),
    "hostile": Fleet(_hostile),
    "damaged": Fleet(_damaged),
    "answers 401": _status(401, '{"message":"Unauthorized"}'),
    "answers 403": _status(403, '{"message":"This key may not list environments"}'),
    "answers 404": _status(404, '{"detail":"Not Found"}'),
    "answers 407": _status(407),
    "answers 418": _status(418, "teapot"),
    "answers 429": _status(429, '{"message":"Too many requests"}', Retry_After="30"),
    "answers 429 at once": _status(429),
    "answers 500": _status(500, '{"message":"Internal error"}'),
    "answers 503": _status(503, "<html>Service Unavailable</html>", Retry_After="120"),
    "answers 302": _status(302, Location="https://login.example/"),
    "answers hostile errors": _status(500, hostile_error()),
    "answers HTML": _status(200, "<html>Welcome to the hotel</html>", Content_Type="text/html"),
    "answers no JSON": _status(200, '{"connections": [', Content_Type="application/json"),
    "answers without connections": _status(200, "{}"),
    "answers no HTTP": Fleet(healthy, (sends(b"SSH-2.0-OpenSSH_9.6\r\n"),)),
    "closes": Fleet(healthy, (Stop(Where.REQUEST, How.CLOSE),)),
    "resets": Fleet(healthy, (Stop(Where.BODY, How.RESET),)),
    "hangs": Fleet(healthy, (Stop(Where.REQUEST, How.HANG),), hangs=True),
    "without a date": Fleet(healthy, (_without_date,)),
    "an hour ahead": Fleet(mixed, (skewed(3600),)),
}
