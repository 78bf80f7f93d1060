"""What `GET /v1/environments` means: its routes, parameters, filters, pages and refusals.

The demo and `envwatch serve` answer by these rules. Where the API page is silent, they are those of the official
clients, or a choice that suits every client. Here too are the names of the two headers that `envwatch serve` adds and
its viewers read. Pure and of the standard library alone: the demo's child process imports it, and must start at once.
Must not know what a row consists of.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal, TypeVar, cast
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTING_PATH: Final = "/v1/environments"
HEALTH_PATH: Final = "/v1/health"
"""Needs no key."""
DEFAULT_LIMIT: Final = 50
"""Rows of a page for which no `limit` is given: what the official CLI asks for."""
ONLINE_MS: Final = 120_000
"""A heartbeat of this age or older means offline: the rule of the official client."""
WRONG_BASE_URL: Final = "the base URL must end with"
"""How `envwatch serve` begins the text of a 404 where a path names no profile; the right endings follow."""
GZIP_FROM_BYTES: Final = 1_400
"""A smaller body fits into one packet, and is not compressed."""
AGE_HEADER: Final = "Envwatch-Listing-Age"
"""Seconds since upstream was asked for the listing, so that a viewer does not take it for fresher than it is."""
INTERVAL_HEADER: Final = "Envwatch-Listing-Interval"
"""Seconds from one such listing to the next, so that a viewer expects no other before that."""

_LOCAL: Final = "local"
"""The organization of the Desktop app's rows."""

_Row = TypeVar("_Row")


class RefusedError(Exception):
    """An answer other than 200, with its body, and the headers that only this answer has."""

    def __init__(self, status: HTTPStatus, body: dict[str, str], headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers


def not_found() -> RefusedError:
    """Return the refusal of a path that does not exist."""
    return RefusedError(HTTPStatus.NOT_FOUND, {"detail": "Not Found"})


def unknown_device() -> RefusedError:
    """Return the refusal of a device of which there is no row."""
    return RefusedError(HTTPStatus.NOT_FOUND, {"error": "Environment connection not found"})


def unauthorized() -> RefusedError:
    """Return the refusal of a request without the right key."""
    return RefusedError(HTTPStatus.UNAUTHORIZED, {"message": "Unauthorized"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PageParams:
    """The parameters of one request for a page."""

    limit: int = DEFAULT_LIMIT
    """The most rows."""
    after: str | None = None
    """`id` of the last row of the page before; None for the first page."""
    online_only: bool = False
    source: Literal["local", "remote"] | None = None
    user_id: str | None = None

    @classmethod
    def from_query(cls, query: str, largest_page: int) -> PageParams:
        """Return the parameters in the query of a URL; unknown ones are ignored, and of two of a name the last holds.

        Args:
            query: what follows the question mark.
            largest_page: a larger limit is reduced to it silently.

        Raises:
            RefusedError: a value is not allowed (400).
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
        """Whether a row with these fields passes `source` and `userId`; `onlineOnly` is not looked at."""
        is_of_source = self.source is None or (organization_id == _LOCAL) == (self.source == "local")
        return is_of_source and (self.user_id is None or user_id == self.user_id)


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise _bad_request("limit must be a positive whole number")
    return int(text)


def _bad_request(why: str) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, {"error": why})


def device_in(path: str) -> str | None:
    """Return the device id that a path asks for, unquoted; None if it asks for the listing.

    Raises:
        RefusedError: it is neither (404).
    """
    if path == LISTING_PATH:
        return None
    segment = path.removeprefix(f"{LISTING_PATH}/")
    if segment == path or "/" in segment:
        raise not_found()
    return unquote(segment)


def is_online(connection_id: str | None, last_heartbeat: float | None, now_ms: float) -> bool:
    """Return what the official client says: a connection, and a heartbeat younger than 120,000 ms.

    Args:
        connection_id: empty or None without a connection.
        last_heartbeat: in ms since the epoch, by the server's clock.
        now_ms: the moment, by the same clock.
    """
    return bool(connection_id) and last_heartbeat is not None and now_ms - last_heartbeat < ONLINE_MS


def page_of_rows(rows: Iterable[_Row], limit: int | None) -> tuple[list[_Row], bool]:
    """Return the rows of one page, and whether there are more; reads at most one row beyond the page.

    Args:
        rows: that the filter lets pass, from the first one after the cursor on.
        limit: the most rows; None for all.
    """
    page: list[_Row] = []
    for row in rows:
        if len(page) == limit:
            return page, True
        page.append(row)
    return page, False


def listing_body(rows: Iterable[bytes], *, has_next_page: bool) -> bytes:
    """Return the body of a page, from rows that are JSON already."""
    return b'{"connections":[%b],"hasNextPage":%b}' % (b",".join(rows), b"true" if has_next_page else b"false")


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client accepts gzip, by the value of its `Accept-Encoding`."""
    codings = (coding.replace(" ", "").lower().partition(";q=") for coding in accept_encoding.split(","))
    return any(name == "gzip" and (quality == "" or quality.strip("0.") != "") for name, _, quality in codings)
