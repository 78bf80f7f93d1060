"""The routes of `envwatch serve` as an ASGI application: paths, tokens and refusals.

Requests are counted instead of logged.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote

from envwatch import __version__
from envwatch.model.listing_api import HEALTH_PATH, LISTING_PATH, WRONG_BASE_URL, RefusedError, not_found, unauthorized
from envwatch.model.text import SafeText, clean
from envwatch.serving.answers import Answer, ProfileEndpoint, Request
from envwatch.serving.tokens import GuessLimit, Tokens, viewer_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping

    from envwatch.model.clock import Clocks, MonotonicS

METRICS_PATH: Final = "/metrics"
PROFILES_PATH: Final = "/profiles"
IS_VIEWER: Final = "is_viewer"

_HEALTH: Final = {"version": f"envwatch-{__version__}", "status": "ok"}
_METRICS_KEPT_S: Final = 1.0
"""Seconds to reuse the metrics, which are the most expensive answer."""


Metrics: TypeAlias = "Callable[[str], tuple[bytes, str]]"
"""Returns body and content type for an `Accept` header; called in any thread, one call at a time."""

Scope: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[MutableMapping[str, Any]]]"
Send: TypeAlias = "Callable[[MutableMapping[str, Any]], Awaitable[None]]"
"""ASGI's request, and the functions that receive and send."""


class ServingApp:
    """The whole application; endpoints and tokens are by profile.

    A single profile also has paths without a name. Without `metrics`, no metrics are offered.
    """

    def __init__(
        self,
        endpoints: Mapping[str, ProfileEndpoint],
        tokens: Mapping[str, Tokens],
        clocks: Callable[[], Clocks],
        note: Callable[[str], None],
        metrics: Metrics | None = None,
    ) -> None:
        self.tokens = tokens
        """By profile; replaced after a token file has changed."""
        self._statuses, self._viewers = Counter[int](), Counter[str]()
        self._endpoints = endpoints
        self._first = next(iter(endpoints))
        self._clocks = clocks
        self._note = note
        self._guesses = GuessLimit()
        self._metrics = metrics
        self._metrics_lock = asyncio.Lock()
        self._kept_metrics: dict[str, tuple[MonotonicS, tuple[bytes, str]]] = {}

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Answer a request."""
        answer = await self._answer(scope)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        if answer.status != HTTPStatus.NOT_MODIFIED:
            headers.append((b"Content-Length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def take_counts(self) -> SafeText:
        """Return a line with the counts of answers and requests, and reset the counts."""
        statuses = ", ".join(f"{count:,} x {status}" for status, count in sorted(self._statuses.items()))
        viewers = ", ".join(f"{name} {count:,}" for name, count in self._viewers.most_common(10))
        self._statuses.clear()
        self._viewers.clear()
        return clean(f"answered {statuses or 'nothing'}; requests by token: {viewers or 'none'}")

    async def _answer(self, scope: Scope) -> Answer:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}  # the last duplicate counts
        has_body = headers.get(b"content-length", "0") != "0" or b"transfer-encoding" in headers
        request, now = _request_of(scope, headers), self._clocks()
        try:
            if has_body:
                error = {"error": "a request must have no body"}
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error)  # noqa: TRY301  answered as any refusal
            answer = await self._routed(scope["path"], request, now)
        except RefusedError as refusal:
            answer = self._refused(refusal, request, now)
        except Exception as error:  # noqa: BLE001 - a bug, of which a viewer must learn nothing
            self._note(f"bug: no answer for a viewer: {type(error).__name__}: {error}")
            internal = RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "internal error"})
            answer = self._refused(internal, request, now)
        self._statuses[answer.status] += 1
        if request.viewer:
            self._viewers[request.viewer] += 1
            scope.setdefault("state", {})[IS_VIEWER] = True
        return answer

    def _refused(self, refusal: RefusedError, request: Request, now: Clocks) -> Answer:
        # A client without a valid token must open a connection for each request.
        headers = refusal.headers if request.viewer else (("Connection", "close"), *refusal.headers)
        return self._endpoints[self._first].plain(refusal.status, refusal.body, now, headers)

    async def _routed(self, path: str, request: Request, now: Clocks) -> Answer:
        if f"{path}/".startswith(f"{LISTING_PATH}/"):
            if len(self._endpoints) > 1:
                raise self._without_profile(request, now)
            return self._from_endpoint(self._first, request.path, request, now)
        if path.startswith(f"{PROFILES_PATH}/"):
            return self._of_profile(request, now)
        if path == HEALTH_PATH:
            return self._health(now)
        if path == METRICS_PATH:
            return await self._scrape(request, now)
        raise not_found()

    def _health(self, now: Clocks) -> Answer:
        return self._endpoints[self._first].plain(HTTPStatus.OK, _HEALTH, now)

    def _of_profile(self, request: Request, now: Clocks) -> Answer:
        name, slash, rest = request.path.removeprefix(f"{PROFILES_PATH}/").partition("/")
        path = slash + rest
        if path == HEALTH_PATH:
            return self._health(now)
        if path != LISTING_PATH and not path.startswith(f"{LISTING_PATH}/"):
            raise not_found()
        if unquote(name) not in self._endpoints:
            raise self._without_profile(request, now)
        return self._from_endpoint(unquote(name), path, request, now)

    def _from_endpoint(self, profile: str, path: str, request: Request, now: Clocks) -> Answer:
        self._admit([profile], request, now)
        return self._endpoints[profile].answer(replace(request, path=path), now)

    def _without_profile(self, request: Request, now: Clocks) -> RefusedError:
        own = [name for name, tokens in self.tokens.items() if viewer_of(request.authorization, tokens) is not None]
        self._admit([own[0] if own else self._first], request, now)
        paths = " or ".join(f"{PROFILES_PATH}/{name}" for name in own)
        return RefusedError(HTTPStatus.NOT_FOUND, {"error": f"{WRONG_BASE_URL} {paths}"})

    async def _scrape(self, request: Request, now: Clocks) -> Answer:
        self._admit(self._endpoints, request, now)
        if self._metrics is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, {"error": "there are no series: they need the extra `metrics`"})
        if request.method not in {"GET", "HEAD"}:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, {"error": HTTPStatus.METHOD_NOT_ALLOWED.phrase})
        # Simultaneous scrapers share one result, made in a thread so that viewers need not wait.
        async with self._metrics_lock:
            made_at, made = self._kept_metrics.get(request.accept, (None, None))
            if made_at is None or made is None or now.monotonic - made_at >= _METRICS_KEPT_S:
                made = await asyncio.to_thread(self._metrics, request.accept)
                self._kept_metrics = {request.accept: (now.monotonic, made)}
        body, content_type = made
        return Answer(HTTPStatus.OK, (("Content-Type", content_type), ("Cache-Control", "no-store")), body)

    def _admit(self, profiles: Iterable[str], request: Request, now: Clocks) -> None:
        """Authenticate a request for all given profiles.

        Raises:
            RefusedError: for a wrong token (401), or too many from the address (429).
        """
        names = [viewer_of(request.authorization, self.tokens[profile]) for profile in profiles]
        if (viewer := names[0]) is not None and None not in names:
            request.viewer = viewer
            return
        wait_s, is_news = self._guesses.count_wrong(request.address, now.monotonic)
        if is_news:
            self._note(f"too many wrong tokens from {clean(request.address)}: the next ones must wait")
        if not wait_s:
            raise unauthorized()
        error = {"error": "too many wrong tokens from this address"}
        raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, error, (("Retry-After", str(wait_s)),))


def _request_of(scope: Scope, headers: Mapping[bytes, str]) -> Request:
    address, port = scope.get("client") or ("", 0)
    return Request(
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        method=scope["method"],
        if_none_match=headers.get(b"if-none-match", ""),
        accept_encoding=headers.get(b"accept-encoding", ""),
        accept=headers.get(b"accept", ""),
        authorization=headers.get(b"authorization", ""),
        address=address,
        connection=f"{address}:{port}",
    )
