"""Paths, tokens and refusals of `envwatch serve`.

Requests are counted instead of logged.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar
from urllib.parse import unquote

from pydantic_core import from_json

from envwatch import __version__
from envwatch.model.acks import ACKS_PATH, REQUEST_BYTES, AckRequest, answer_content, note_in, uuid_in
from envwatch.model.listing_api import (
    ENVWATCH_VERSION,
    HEALTH_PATH,
    LISTING_PATH,
    READ_ONLY,
    RIGHTS_HEADER,
    WRONG_BASE_URL,
    RefusedError,
    not_found,
    unauthorized,
)
from envwatch.model.text import SafeText, clean
from envwatch.serve.answers import Answer, ProfileEndpoint, Request
from envwatch.serve.tokens import ACKS, GUESSES, RateLimit, Tokens, Viewer, find_viewer, network_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from pydantic import JsonValue

    from envwatch.model.acks import AckAnswer
    from envwatch.model.clock import Clocks, MonotonicS

T = TypeVar("T")

METRICS_PATH: Final = "/metrics"
PROFILES_PATH: Final = "/profiles"

_HEALTH: Final = {"version": f"{ENVWATCH_VERSION}{__version__}", "status": "ok"}
_METRICS_KEPT_S: Final = 1.0
"""Seconds to reuse metrics, the most expensive answer."""


Metrics: TypeAlias = "Callable[[str], tuple[bytes, str]]"
"""Returns body and content type for an `Accept` header; called in any thread, never concurrently."""


class Act(NamedTuple):
    """A viewer's request to make or end an acknowledgement."""

    profile: str
    uuid: SafeText
    by: SafeText
    address: SafeText
    request: AckRequest | None
    """None ends the acknowledgement, or changes its note."""
    note: SafeText | None = None
    """Another note for an acknowledgement."""

    @property
    def who(self) -> str:
        """Token name and address."""
        return f"{self.by} ({self.address})"


Acknowledge: TypeAlias = "Callable[[Act], Awaitable[AckAnswer]]"
"""Decides an act, and returns after the decision is on the disk. Raises `RefusedError`: 404, 409 or 503."""


class ServingApp:
    """Routes requests, with endpoints and tokens by profile.

    A single profile also has paths without a name.
    """

    def __init__(  # noqa: PLR0913 - the parts that an application joins
        self,
        endpoints: Mapping[str, ProfileEndpoint],
        tokens: Mapping[str, Tokens],
        clocks: Callable[[], Clocks],
        note: Callable[[str], None],
        *,
        acknowledge: Acknowledge,
        metrics: Metrics | None = None,
    ) -> None:
        self.tokens = tokens
        """Tokens by profile, replaced by another thread."""
        self._statuses, self._viewers = Counter[int](), Counter[str]()
        self._endpoints = endpoints
        self._first = next(iter(endpoints))
        self._clocks = clocks
        self._note = note
        self._acknowledge = acknowledge
        self._guesses, self._acts = RateLimit(GUESSES), RateLimit(ACKS)
        self._metrics = metrics
        self._metrics_lock = asyncio.Lock()
        self._kept_metrics: dict[str, tuple[MonotonicS, tuple[bytes, str]]] = {}

    def take_counts(self) -> SafeText:
        """Return a line with the counts since the last call."""
        statuses = ", ".join(f"{count:,} x {status}" for status, count in sorted(self._statuses.items()))
        viewers = ", ".join(f"{name} {count:,}" for name, count in self._viewers.most_common(10))
        self._statuses.clear()
        self._viewers.clear()
        return clean(f"answered {statuses or 'nothing'}; requests by token: {viewers or 'none'}")

    async def answer(self, request: Request) -> Answer:
        """Return the answer, and set the request's `viewer` for a valid token."""
        now = self._clocks()
        try:
            answer = await self._routed(request, now)
        except RefusedError as refusal:
            answer = self._refused(refusal, request, now)
        except Exception as error:  # noqa: BLE001 - a bug, of which a viewer must learn nothing
            self._note(f"bug: no answer for a viewer: {type(error).__name__}: {error}")
            internal = RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "internal error"})
            answer = self._refused(internal, request, now)
        self._statuses[answer.status] += 1
        if request.viewer:
            self._viewers[request.viewer] += 1
        return answer

    def _refused(self, refusal: RefusedError, request: Request, now: Clocks) -> Answer:
        # A client without a valid token must open a connection for each request.
        headers = refusal.headers if request.viewer else (("Connection", "close"), *refusal.headers)
        return self._endpoints[self._first].plain(refusal.status, refusal.body, now, headers)

    async def _routed(self, request: Request, now: Clocks) -> Answer:
        profile, path = self._first if len(self._endpoints) == 1 else "", request.path
        if path.startswith(f"{PROFILES_PATH}/"):
            name, slash, rest = path.removeprefix(f"{PROFILES_PATH}/").partition("/")
            profile, path = unquote(name), slash + rest
        is_about_acks = f"{path}/".startswith(f"{ACKS_PATH}/")
        if request.has_body and not is_about_acks:
            raise _no_body_allowed()
        if path == HEALTH_PATH:
            return self._endpoints[self._first].plain(HTTPStatus.OK, _HEALTH, now)
        if is_about_acks or f"{path}/".startswith(f"{LISTING_PATH}/"):
            if profile not in self._endpoints:
                raise self._without_profile(request, now)
            viewer = self._admit([profile], request, now)
            if is_about_acks:
                return await self._act(profile, path, viewer, request, now)
            answer = self._endpoints[profile].answer(replace(request, path=path), now)
            if viewer.may_ack:
                return answer
            return replace(answer, headers=(*answer.headers, (RIGHTS_HEADER, READ_ONLY)))
        if request.path == METRICS_PATH:
            return await self._scrape(request, now)
        raise not_found()

    async def _act(self, profile: str, path: str, viewer: Viewer, request: Request, now: Clocks) -> Answer:
        """Change an acknowledgement; a body is read only here, and only from a viewer with the right."""
        if (uuid := uuid_in(path)) is None:
            raise not_found()
        if request.method not in {"PUT", "PATCH", "DELETE"}:
            status = HTTPStatus.METHOD_NOT_ALLOWED
            raise RefusedError(status, {"error": status.phrase}, (("Allow", "PUT, PATCH, DELETE"),))
        if not viewer.may_ack:
            why = f"the token {viewer.name} may not acknowledge: its line in the file of tokens lacks the word `ack`"
            raise RefusedError(HTTPStatus.FORBIDDEN, {"error": why})
        wait_s, _ = self._acts.count(viewer.name, now.monotonic)
        if wait_s:
            raise _too_many(f"more than {ACKS} requests about acknowledgements in a minute", wait_s)
        if request.method == "DELETE" and request.has_body:
            raise _no_body_allowed()
        asked = await _in_body(request, AckRequest.from_json) if request.method == "PUT" else None
        note = await _in_body(request, note_in) if request.method == "PATCH" else None
        endpoint = self._endpoints[profile]
        endpoint.ready()
        rows = await self._acknowledge(Act(profile, uuid, clean(viewer.name), clean(request.address), asked, note))
        return endpoint.plain(HTTPStatus.OK, answer_content(rows), self._clocks())

    def _without_profile(self, request: Request, now: Clocks) -> RefusedError:
        own = [
            name
            for name, tokens in self.tokens.items()
            if find_viewer(request.header("authorization"), tokens) is not None
        ]
        self._admit([own[0] if own else self._first], request, now)
        paths = " or ".join(f"{PROFILES_PATH}/{name}" for name in own)
        return RefusedError(HTTPStatus.NOT_FOUND, {"error": f"{WRONG_BASE_URL} {paths}"})

    async def _scrape(self, request: Request, now: Clocks) -> Answer:
        self._admit(self._endpoints, request, now)
        if self._metrics is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, {"error": "there are no series: they need the extra `metrics`"})
        if request.method not in {"GET", "HEAD"}:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, {"error": HTTPStatus.METHOD_NOT_ALLOWED.phrase})
        # Scrapers share a result, made in a thread so that viewers need not wait.
        async with self._metrics_lock:
            accept = request.header("accept")
            made_at, made = self._kept_metrics.get(accept, (None, None))
            if made_at is None or made is None or now.monotonic - made_at >= _METRICS_KEPT_S:
                made = await asyncio.to_thread(self._metrics, accept)
                self._kept_metrics = {accept: (now.monotonic, made)}
        body, content_type = made
        return Answer(HTTPStatus.OK, (("Content-Type", content_type), ("Cache-Control", "no-store")), body)

    def _admit(self, profiles: Iterable[str], request: Request, now: Clocks) -> Viewer:
        """Return the first profile's viewer if the token opens all profiles.

        Raises:
            RefusedError: the token is wrong (401), or the address sent too many wrong tokens (429).
        """
        viewers = [find_viewer(request.header("authorization"), self.tokens[profile]) for profile in profiles]
        if (viewer := viewers[0]) is not None and None not in viewers:
            request.viewer = viewer.name
            return viewer
        wait_s, is_news = self._guesses.count(network_of(request.address), now.monotonic)
        if is_news:
            self._note(f"too many wrong tokens from {clean(request.address)}: the next ones must wait")
        if not wait_s:
            raise unauthorized()
        raise _too_many("too many wrong tokens from this address", wait_s)


def _too_many(what: str, wait_s: int) -> RefusedError:
    return RefusedError(HTTPStatus.TOO_MANY_REQUESTS, {"error": what}, (("Retry-After", str(wait_s)),))


def _no_body_allowed() -> RefusedError:
    return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "a request must have no body"})


async def _in_body(request: Request, read: Callable[[JsonValue], T]) -> T:
    if request.header("content-type").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"error": "the body must be `application/json`"})
    body = await request.read_body(REQUEST_BYTES)
    try:
        return read(from_json(body, allow_inf_nan=False))
    except ValueError as error:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": clean(f"no request: {error}")}) from None
