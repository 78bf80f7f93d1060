"""Rows that a complete listing lacks: the server is asked about each of them before their absence is believed.

A listing may shift while it is walked, and then lacks rows that exist. `GET /v1/environments/{deviceId}` tells: a row
with the same id exists, and is added to the listing; 404 confirms the absence, where in the same poll another question
was answered with a row, so that the route is known to work. Everything else proves nothing, and fails no listing.

Owns what to ask and what the answers prove. Which absence makes a row gone is the fleet's rule.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from envwatch.model import limits
from envwatch.model.clock import WallMs
from envwatch.model.outcome import ListedPage
from envwatch.model.page import page_of
from envwatch.sources.letta.errors import FAILURES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Snapshot
    from envwatch.model.text import Clean
    from envwatch.sources.letta.transport import Response

_ASKABLE: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._~:-]{1,256}")
"""Device ids that can be asked about: those that the API describes.

Of any other a 404 would prove nothing: cleaning may have changed it, and a gateway may stumble over a quoted slash.
"""


@dataclass(slots=True)
class _Missing:
    """A row that an earlier listing held."""

    row: Environment
    listings: int = 0
    """Listings in a row that lacked it, from the last one on in which a row that was asked about existed."""
    tries: int = 0
    """Questions about it that proved nothing."""


@dataclass(slots=True)
class _Replies:
    """What the server said in one poll."""

    found: list[ListedPage] = field(default_factory=list)
    """Missing rows that exist, each with the moment for which it speaks."""
    not_found: set[Clean] = field(default_factory=set)
    """Ids of missing rows that were answered with 404."""
    is_route_proven: bool = False
    """Whether any question was answered with a row."""
    requests: int = 0
    received: int = 0


class Absences:
    """The rows that are missing from the newest complete listing, and what is known of the route for single rows."""

    def __init__(self, retrieve: Callable[[str], Awaitable[Response]]) -> None:
        """Know of no missing row.

        Args:
            retrieve: asks the server for one device by its id; may raise one of `FAILURES`.
        """
        self._retrieve = retrieve
        self._missing: dict[Clean, _Missing] = {}
        """By id, those that are missing for longest first."""
        self._failed_polls = limits.ABSENCE_TRIES
        """Polls in a row in which questions were asked and the route was not proven to work."""
        self._polls = 0

    async def checked(self, snapshot: Snapshot, before: Mapping[Clean, Environment], until: float) -> Snapshot:
        """Return a complete listing with the rows that it lacks and that exist, and with what is known of the others.

        Args:
            snapshot: the listing as it was walked.
            before: the rows of the listing before it, by id.
            until: when to stop asking, in seconds of the event loop's clock.
        """
        listed = {row.id: row for page in snapshot.pages for row in page.environments}
        self._note(before, listed.keys() | snapshot.set_aside_ids)
        replies = _Replies()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._ask(listed, replies)
        confirmed = self._settle(replies)
        return replace(
            snapshot,
            pages=(*snapshot.pages, *replies.found),
            confirmed_absent=confirmed,
            in_doubt=frozenset(self._missing if self._failed_polls < limits.ABSENCE_TRIES else ()),
            requests=snapshot.requests + replies.requests,
            received=snapshot.received + replies.received,
        )

    def _note(self, before: Mapping[Clean, Environment], listed: Collection[Clean]) -> None:
        """Take note of the rows that a listing lacks."""
        self._polls += 1
        still = {id_: missing for id_, missing in self._missing.items() if id_ not in listed}
        newly = {id_: _Missing(row) for id_, row in before.items() if id_ not in listed and _can_be_asked_about(row)}
        self._missing = still | newly
        for missing in self._missing.values():
            missing.listings += 1

    def _worth_asking(self) -> list[_Missing]:
        """Return the missing rows to ask about: untried ones first, and of those the ones missing for longest.

        Where more are missing than can be asked about, most of them are back in the next listing: only those are
        worth a question that two listings lacked.
        """
        missing = sorted(self._missing.values(), key=lambda one: one.tries)
        most = limits.ABSENCE_QUESTIONS - 1  # one question is for a row that exists
        return missing if len(missing) <= most else [one for one in missing if one.listings > 1][:most]

    async def _ask(self, listed: Mapping[Clean, Environment], replies: _Replies) -> None:
        """Ask about missing rows, until a question fails."""
        worth_asking = self._worth_asking()
        if not worth_asking or not await self._is_route_usable(listed, replies):
            return
        for missing in worth_asking:
            answer = await self._answer(missing.row, replies)
            row = None if answer is None else _row_in(answer)
            if answer is not None and row is not None and row.id == missing.row.id:
                replies.found.append(ListedPage([row], WallMs(answer.asked_at)))
                replies.is_route_proven = True
            elif answer is not None and answer.status == HTTPStatus.NOT_FOUND:
                replies.not_found.add(missing.row.id)
            else:
                missing.tries += 1  # a row with another id is that of a second listener on the same machine
                if row is None:
                    return

    async def _is_route_usable(self, listed: Mapping[Clean, Environment], replies: _Replies) -> bool:
        """Ask about a listed row, each time another one; where none is listed, a missing one that exists will do."""
        controls = [row for row in listed.values() if _can_be_asked_about(row)]
        if not controls:
            return not listed
        answer = await self._answer(controls[self._polls % len(controls)], replies)
        replies.is_route_proven = answer is not None and _row_in(answer) is not None
        return replies.is_route_proven

    async def _answer(self, row: Environment, replies: _Replies) -> Response | None:
        replies.requests += 1
        try:
            answer = await self._retrieve(row.device_id)
        except FAILURES:
            return None
        replies.requests += answer.requests - 1
        replies.received += answer.received
        return answer

    def _settle(self, replies: _Replies) -> frozenset[Clean]:
        """Forget the rows of which all is known, or nothing more can be; return those that do not exist."""
        confirmed: frozenset[Clean] = frozenset()
        if replies.is_route_proven:
            self._failed_polls = 0
            confirmed = frozenset(replies.not_found)
        elif replies.requests:
            self._failed_polls += 1
        found = {row.id for page in replies.found for row in page.environments}
        if replies.requests and self._failed_polls >= limits.ABSENCE_TRIES:
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


def _can_be_asked_about(row: Environment) -> bool:
    return _ASKABLE.fullmatch(row.device_id) is not None


def _row_in(answer: Response) -> Environment | None:
    """Return the row in an answer, read as carefully as a page of one row; None if there is no usable one."""
    if answer.status != HTTPStatus.OK:
        return None
    try:
        page = page_of(b'{"connections":[%b],"hasNextPage":false}' % answer.body)
    except FAILURES:
        return None
    return page.environments[0] if len(page.environments) == 1 and not page.set_aside else None
