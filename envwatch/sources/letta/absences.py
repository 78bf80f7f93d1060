"""Confirms absences: requests each row that a complete listing lacks before its absence is believed.

A listing may shift while it is read, and then lacks rows that exist. `GET /v1/environments/{deviceId}` shows which do:
a response with the row adds it to the listing; 404 confirms the absence, if in the same poll another such request was
answered with a row, which proves that the route works. All else proves nothing, and fails no listing.

Owns what to request and what the responses prove. Which absence makes a row gone is the fleet's rule.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from envwatch.model import limits
from envwatch.model.outcome import ListedPage
from envwatch.model.page import page_of
from envwatch.sources.letta.errors import FAILURES
from envwatch.sources.letta.pagination import asked_at_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Snapshot
    from envwatch.model.text import SafeText
    from envwatch.sources.letta.transport import Response

_DEVICE_ID: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._~:-]{1,256}")
"""Device ids that can be requested: those that the API documents.

For any other a 404 proves nothing: cleaning may have changed it, and gateways may reject a quoted slash.
"""


@dataclass(slots=True)
class _Missing:
    """A row that an earlier listing held."""

    row: Environment
    listings: int = 0
    """Listings in a row that lacked it; counted anew when any missing row turns out to exist."""
    tries: int = 0
    """Requests for it that proved nothing."""


@dataclass(slots=True)
class _Results:
    """The results of one poll."""

    found: list[ListedPage] = field(default_factory=list)
    """Missing rows that exist, each on a page of its own."""
    not_found: set[SafeText] = field(default_factory=set)
    """Ids of missing rows whose requests got 404."""
    is_route_proven: bool = False
    requests: int = 0
    received: int = 0


class Absences:
    """The rows that the newest complete listing lacks; `get_device` requests one device by its id."""

    def __init__(self, get_device: Callable[[str], Awaitable[Response]]) -> None:
        self._get_device = get_device
        self._missing: dict[SafeText, _Missing] = {}
        """By id, the longest missing first."""
        self._failed_polls = limits.ABSENCE_TRIES
        """Polls in a row with requests of which none got a row."""
        self._polls = 0

    async def checked(self, snapshot: Snapshot, before: Mapping[SafeText, Environment], until: float) -> Snapshot:
        """Return a complete listing with the missing rows that exist, and the ids of those that do not or are in doubt.

        The rows of the listing before it are given by id. It stops at a moment of the event loop's clock, in seconds.
        """
        listed = {row.id: row for page in snapshot.pages for row in page.environments}
        self._note(before, listed.keys() | snapshot.rejected_ids)
        results = _Results()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._request(listed, results)
        confirmed = self._settle(results)
        return replace(
            snapshot,
            pages=(*snapshot.pages, *results.found),
            confirmed_absent=confirmed,
            in_doubt=frozenset(self._missing if self._failed_polls < limits.ABSENCE_TRIES else ()),
            requests=snapshot.requests + results.requests,
            received=snapshot.received + results.received,
        )

    def _note(self, before: Mapping[SafeText, Environment], listed: Collection[SafeText]) -> None:
        """Note the rows that a listing lacks."""
        self._polls += 1
        still = {id_: missing for id_, missing in self._missing.items() if id_ not in listed}
        newly = {id_: _Missing(row) for id_, row in before.items() if id_ not in listed and _can_be_requested(row)}
        self._missing = still | newly
        for missing in self._missing.values():
            missing.listings += 1

    def _to_request(self) -> list[_Missing]:
        """Return the missing rows to request: untried ones first, and of those the longest missing.

        If more are missing than one poll can request, most of them are back in the next listing: only rows that two
        listings lacked are requested then.
        """
        missing = sorted(self._missing.values(), key=lambda one: one.tries)
        most = limits.ABSENCE_QUESTIONS - 1  # one request is for a listed row
        return missing if len(missing) <= most else [one for one in missing if one.listings > 1][:most]

    async def _request(self, listed: Mapping[SafeText, Environment], results: _Results) -> None:
        """Request missing rows, until a request fails."""
        to_request = self._to_request()
        if not to_request or not await self._is_route_usable(listed, results):
            return
        for missing in to_request:
            response = await self._get(missing.row, results)
            row = None if response is None else _row_in(response)
            if row is not None and response is not None and row.id == missing.row.id:
                results.found.append(ListedPage([row], asked_at_of(response)))
                results.is_route_proven = True
            elif response is not None and response.status == HTTPStatus.NOT_FOUND:
                results.not_found.add(missing.row.id)
            else:
                missing.tries += 1  # a row with another id belongs to a second listener on the same machine
                if row is None:
                    return

    async def _is_route_usable(self, listed: Mapping[SafeText, Environment], results: _Results) -> bool:
        """Request a listed row, another one in each poll; an empty listing needs no such control."""
        controls = [row for row in listed.values() if _can_be_requested(row)]
        if not controls:
            return not listed
        response = await self._get(controls[self._polls % len(controls)], results)
        results.is_route_proven = response is not None and _row_in(response) is not None
        return results.is_route_proven

    async def _get(self, row: Environment, results: _Results) -> Response | None:
        results.requests += 1
        try:
            response = await self._get_device(row.device_id)
        except FAILURES:
            return None
        results.requests += response.requests - 1
        results.received += response.received
        return response

    def _settle(self, results: _Results) -> frozenset[SafeText]:
        """Drop the rows that are settled or cannot be; return the ids of those that do not exist."""
        confirmed: frozenset[SafeText] = frozenset()
        if results.is_route_proven:
            self._failed_polls = 0
            confirmed = frozenset(results.not_found)
        elif results.requests:
            self._failed_polls += 1
        found = {row.id for page in results.found for row in page.environments}
        if results.requests and self._failed_polls >= limits.ABSENCE_TRIES:
            self._missing = {}
        self._missing = {
            id_: missing
            for id_, missing in self._missing.items()
            if id_ not in found | confirmed
            and missing.tries < limits.ABSENCE_TRIES
            and missing.listings < limits.ABSENCE_LISTINGS
        }
        if found:
            for missing in self._missing.values():
                missing.listings = 1
        return confirmed


def _can_be_requested(row: Environment) -> bool:
    return _DEVICE_ID.fullmatch(row.device_id) is not None


def _row_in(response: Response) -> Environment | None:
    """Return the row in a response, parsed as a page of one row; None if there is no usable one."""
    if response.status != HTTPStatus.OK:
        return None
    try:
        page = page_of(b'{"connections":[%b],"hasNextPage":false}' % response.body)
    except FAILURES:
        return None
    return page.environments[0] if len(page.environments) == 1 and not page.rejected else None
