"""The rules of `GET /v1/environments` for the demo and `envwatch serve`.

Where the API page is silent, the official clients' rules apply. Only the standard library is imported, because the
demo's child process must start at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar, cast
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LISTING_PATH: Final = "/v1/environments"
HEALTH_PATH: Final = "/v1/health"
ENVWATCH_VERSION: Final = "envwatch-"
"""Prefix of the version in `envwatch serve`'s health, which foreign servers lack."""
DEFAULT_LIMIT: Final = 50
"""Page size of the official CLI."""
ONLINE_MS: Final = 120_000
WRONG_BASE_URL: Final = "the base URL must end with"
"""Start of the 404 of `envwatch serve` for a path without a profile; the valid endings follow."""
NOT_PASSED_ON: Final = "not passed on: "
"""Begin of the 502 of a server whose upstream refused an act about an acknowledgement."""
GZIP_FROM_BYTES: Final = 1_400
"""A smaller body fits into one packet."""
AGE_HEADER: Final = "Envwatch-Listing-Age"
"""Seconds since the request upstream."""
RIGHTS_HEADER: Final = "Envwatch-Rights"
"""`read` if the token of a viewer may not acknowledge; absent otherwise."""
READ_ONLY: Final = "read"
INTERVAL_HEADER: Final = "Envwatch-Listing-Interval"
"""Seconds between listings."""

_LOCAL: Final = "local"

_Row = TypeVar("_Row")


@dataclass(eq=False)
class RefusedError(Exception):
    """An answer with a status other than 200."""

    status: HTTPStatus
    body: Mapping[str, Any]
    headers: tuple[tuple[str, str], ...] = ()


def not_found() -> RefusedError:
    """Return the 404 for an unknown path."""
    return RefusedError(HTTPStatus.NOT_FOUND, {"detail": "Not Found"})


def unknown_device() -> RefusedError:
    """Return the 404 for a device without rows."""
    return RefusedError(HTTPStatus.NOT_FOUND, {"error": "Environment connection not found"})


def unauthorized() -> RefusedError:
    """Return the 401 for a missing or wrong key."""
    return RefusedError(HTTPStatus.UNAUTHORIZED, {"message": "Unauthorized"})


class PageParams(NamedTuple):
    """The parameters of a page."""

    limit: int = DEFAULT_LIMIT
    after: str | None = None
    """The previous page's last `id`; None for the first page."""
    online_only: bool = False
    source: Literal["local", "remote"] | None = None
    user_id: str | None = None

    @classmethod
    def from_query(cls, query: str, largest_page: int) -> PageParams:
        """Return the parameters in a query, with `limit` reduced to `largest_page`.

        Unknown names are ignored; the last duplicate counts.

        Raises:
            RefusedError: for a forbidden value (400).
        """
        values = dict(parse_qsl(query, keep_blank_values=True))
        limit = min(_whole_number(values.get("limit", str(DEFAULT_LIMIT))), largest_page)
        online_only, source = values.get("onlineOnly", "false"), values.get("source")
        if online_only not in {"true", "false"}:
            raise _bad_request('onlineOnly must be "true" or "false"')
        if source not in {None, "local", "remote"}:
            raise _bad_request('source must be "local" or "remote"')
        return cls(
            limit=limit,
            after=values.get("after"),
            online_only=online_only == "true",
            source=cast('Literal["local", "remote"] | None', source),
            user_id=values.get("userId"),
        )

    def admits(self, organization_id: str, user_id: str | None) -> bool:
        """Whether a row passes the filters `source` and `userId`."""
        is_of_source = self.source is None or (organization_id == _LOCAL) == (self.source == "local")
        return is_of_source and (self.user_id is None or user_id == self.user_id)


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise _bad_request("limit must be a positive whole number")
    return int(text)


def _bad_request(why: str) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, {"error": why})


def device_in(path: str) -> str | None:
    """Return a path's unquoted device id; None for the listing's path.

    Raises:
        RefusedError: for other paths (404).
    """
    if path == LISTING_PATH:
        return None
    segment = path.removeprefix(f"{LISTING_PATH}/")
    if segment == path or "/" in segment:
        raise not_found()
    return unquote(segment)


def is_online(connection_id: str | None, last_heartbeat: float | None, now_ms: float) -> bool:
    """Whether the official client calls a row online: connected, with a heartbeat in the last 120,000 ms."""
    return bool(connection_id) and last_heartbeat is not None and now_ms - last_heartbeat < ONLINE_MS


def page_of_rows(rows: Iterable[_Row], limit: int | None) -> tuple[list[_Row], bool]:
    """Return a page's rows, and whether more follow; reads at most a row beyond the page."""
    page = list(islice(rows, None if limit is None else limit + 1))
    return page[:limit], len(page) > len(page[:limit])


def listing_body(rows: Iterable[bytes], *, has_next_page: bool) -> bytes:
    """Return a page's body."""
    return b'{"connections":[%b],"hasNextPage":%b}' % (b",".join(rows), b"true" if has_next_page else b"false")


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an `Accept-Encoding` accepts gzip."""
    codings = (coding.replace(" ", "").lower().partition(";q=") for coding in accept_encoding.split(","))
    return any(name == "gzip" and (quality == "" or quality.strip("0.") != "") for name, _, quality in codings)
