"""Rows that a listing lacks: each is requested by its id, so that one missing page does not count as a loss."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from envwatch.letta.errors import FAILURES
from envwatch.letta.relayed_listing import asked_at_of
from envwatch.model import limits
from envwatch.model.outcome import ListedPage
from envwatch.model.page import parse_page
from envwatch.model.shared_marks import without_marks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from envwatch.letta.transport import Response
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Snapshot
    from envwatch.model.text import SafeText


_DEVICE_ID: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._~:-]{1,256}")
"""Documented device ids. For others, a 404 proves nothing: cleaning may have changed the id, and gateways may reject a
quoted slash."""


@dataclass(slots=True)
class _Missing:
    row: Environment
    listings: int = 0
    """Consecutive listings without the row; restarts when any missing row is found."""
    tries: int = 0


@dataclass(slots=True)
class _Results:
    found: dict[SafeText, ListedPage] = field(default_factory=dict)
    not_found: set[SafeText] = field(default_factory=set)
    is_route_proven: bool = False
    requests: int = 0
    received: int = 0


class Absences:
    """Rows missing in the newest complete listing; `get_device` requests a device by id."""

    def __init__(self, get_device: Callable[[str], Awaitable[Response]]) -> None:
        self._get_device = get_device
        self._missing: dict[SafeText, _Missing] = {}
        self._failed_polls = limits.ABSENCE_TRIES
        self._polls = 0

    async def checked(self, snapshot: Snapshot, before: Mapping[SafeText, Environment], until: float) -> Snapshot:
        """Return the listing with found rows, confirmed absences and ids in doubt.

        `before` has the previous listing's rows; `until` is a time in event loop seconds.
        """
        listed = snapshot.rows
        self._note(before, listed.keys() | snapshot.rejected_ids)
        results = _Results()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._request(listed, results)
        confirmed = self._settle(results)
        found = {id_: page.environments[0] for id_, page in results.found.items()}
        return snapshot._replace(
            pages=(*snapshot.pages, *results.found.values()),
            rows={**listed, **found} if found else listed,
            confirmed_absent=confirmed,
            in_doubt=frozenset(self._missing if self._failed_polls < limits.ABSENCE_TRIES else ()),
            requests=snapshot.requests + results.requests,
            received=snapshot.received + results.received,
        )

    def _note(self, before: Mapping[SafeText, Environment], listed: Collection[SafeText]) -> None:
        self._polls += 1
        still = {id_: missing for id_, missing in self._missing.items() if id_ not in listed}
        newly = {id_: _Missing(row) for id_, row in before.items() if id_ not in listed and _can_be_requested(row)}
        self._missing = still | newly
        for missing in self._missing.values():
            missing.listings += 1

    def _to_request(self) -> list[_Missing]:
        """Return the rows to request: fewest tries first, then longest missing.

        If too many rows are missing, most return in the next listing, so only rows missing twice are requested.
        """
        missing = sorted(self._missing.values(), key=lambda one: one.tries)
        most = limits.ABSENCE_QUESTIONS - 1  # a request proves the route
        return missing if len(missing) <= most else [one for one in missing if one.listings > 1][:most]

    async def _request(self, listed: Mapping[SafeText, Environment], results: _Results) -> None:
        to_request = self._to_request()
        if not to_request or not await self._is_route_usable(listed, results):
            return
        for missing in to_request:
            response = await self._get(missing.row, results)
            row = None if response is None else _row_in(response)
            if row is not None and response is not None and row.id == missing.row.id:
                has_marks = row is not without_marks(row)
                results.found[row.id] = ListedPage([row], asked_at_of(response), has_marks=has_marks)
                results.is_route_proven = True
            elif response is not None and response.status == HTTPStatus.NOT_FOUND:
                results.not_found.add(missing.row.id)
            else:
                missing.tries += 1  # another id belongs to a second listener on the machine
                if row is None:
                    return

    async def _is_route_usable(self, listed: Mapping[SafeText, Environment], results: _Results) -> bool:
        """Whether a listed row, different in each poll, proves the route; an empty listing needs no proof."""
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
        confirmed: frozenset[SafeText] = frozenset()
        if results.is_route_proven:
            self._failed_polls = 0
            confirmed = frozenset(results.not_found)
        elif results.requests:
            self._failed_polls += 1
        found = results.found.keys()
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
    if response.status != HTTPStatus.OK:
        return None
    try:
        page = parse_page(b'{"connections":[%b],"hasNextPage":false}' % response.body)
    except FAILURES:
        return None
    return page.environments[0] if len(page.environments) == 1 and not page.rejected else None
