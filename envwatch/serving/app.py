"""The routes of `envwatch serve` as an ASGI application: who may ask what, and the answers of the endpoints.

Owns paths, tokens and refusals. The endpoint of a profile owns its answers. All of it runs in the thread of the
server, except that metrics are made in another. There is no access log: requests are counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias
from urllib.parse import unquote

from starlette.routing import Route, Router

from envwatch import __version__
from envwatch.model.listing_api import (
    HEALTH_PATH,
    LISTING_PATH,
    WRONG_BASE_URL,
    RefusedError,
    not_found,
    unauthorized,
)
from envwatch.model.text import SafeText, clean
from envwatch.serving.answers import Answer, ProfileEndpoint, Request
from envwatch.serving.tokens import GuessLimit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from starlette.types import Receive, Scope, Send

    from envwatch.model.clock import Clocks, MonotonicS
    from envwatch.serving.tokens import Tokens

METRICS_PATH: Final = "/metrics"
PROFILES_PATH: Final = "/profiles"
IS_VIEWER: Final = "is_viewer"
"""Name in the state of a request: set once a right token has come with it."""

_HEALTH: Final = {"version": f"envwatch-{__version__}", "status": "ok"}
_METRICS_KEPT_S: Final = 1.0
"""How long metrics are given again: nothing else costs as much, and no scraper asks as often."""


class Metrics(Protocol):
    """What makes the metrics; called in any thread, one call at a time."""

    def __call__(self, accept: str) -> tuple[bytes, str]:
        """Return body and content type for the value of an `Accept` header."""


@dataclass(slots=True)
class ServedProfile:
    """What is served of one profile."""

    endpoint: ProfileEndpoint
    tokens: Tokens
    """Of those who may ask; another value once their file has changed."""


@dataclass(slots=True)
class RequestCounts:
    """How often was answered what, and to whom."""

    statuses: Counter[int] = field(default_factory=Counter)
    viewers: Counter[str] = field(default_factory=Counter)
    """By the names of the tokens."""

    def taken(self) -> RequestCounts:
        """Return the counts since the last call."""
        counts = replace(self)
        self.statuses, self.viewers = Counter(), Counter()
        return counts

    def line(self) -> SafeText:
        """Return the counts for people."""
        statuses = ", ".join(f"{count:,} x {status}" for status, count in sorted(self.statuses.items()))
        viewers = ", ".join(f"{name} {count:,}" for name, count in self.viewers.most_common(10))
        return clean(f"answered {statuses or 'nothing'}; requests by token: {viewers or 'none'}")


@dataclass(slots=True)
class _Asked:
    """A request with what boards need not know."""

    request: Request
    headers: Mapping[bytes, bytes]
    """By their names in lower case; of two of a name, the last."""
    address: str
    """Of the client."""
    now: Clocks
    viewer: str | None = None
    """The name of the token, once it was found to be right."""

    @classmethod
    def from_scope(cls, scope: Scope, now: Clocks) -> _Asked:
        headers = dict(scope["headers"])
        address, port = scope.get("client") or ("", 0)
        request = Request(
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            method=scope["method"],
            if_none_match=_header(headers, b"if-none-match"),
            accept_encoding=_header(headers, b"accept-encoding"),
            connection=f"{address}:{port}",
        )
        return cls(request, headers, address, now)

    @property
    def authorization(self) -> str:
        return _header(self.headers, b"authorization")

    @property
    def has_body(self) -> bool:
        return self.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.headers


def _header(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


_AnswerOf: TypeAlias = "Callable[[_Asked], Awaitable[Answer]]"


class _WaitError(RefusedError):
    """An address has sent too many wrong tokens (429)."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(HTTPStatus.TOO_MANY_REQUESTS, {"error": "too many wrong tokens from this address"})
        self.wait_s = wait_s


class ServingApp:
    """The whole application.

    Args:
        profiles: what is served, by the names of the profiles; a single one is served without its name in the path too.
        clocks: reads this machine's clocks.
        note: called with one line for the log.
        metrics: None if there are none.
    """

    def __init__(
        self,
        profiles: Mapping[str, ServedProfile],
        clocks: Callable[[], Clocks],
        note: Callable[[str], None],
        metrics: Metrics | None = None,
    ) -> None:
        self.counts = RequestCounts()
        self._profiles = profiles
        self._first = next(iter(profiles.values()))
        self._clocks = clocks
        self._note = note
        self._guesses = GuessLimit()
        self._metrics = None if metrics is None else _KeptMetrics(metrics)
        routes = {
            LISTING_PATH: self._listing,
            f"{LISTING_PATH}/{{rest:path}}": self._listing,
            f"{PROFILES_PATH}/{{rest:path}}": self._of_profile,
            HEALTH_PATH: self._health,
            METRICS_PATH: self._scrape,
        }
        self._router = Router(
            [Route(path, _Endpoint(self, answer_of)) for path, answer_of in routes.items()],
            redirect_slashes=False,
            default=_Endpoint(self, self._nothing),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._router(scope, receive, send)

    async def answer(self, scope: Scope, answer_of: _AnswerOf) -> Answer:
        """Return the answer that an endpoint gives to a request, or that refuses it."""
        asked = _Asked.from_scope(scope, self._clocks())
        try:
            answer = await (self._too_large if asked.has_body else answer_of)(asked)
        except RefusedError as refusal:
            answer = self._refused(refusal, asked)
        except Exception as error:  # noqa: BLE001 - a bug, of which a viewer must learn nothing
            self._note(f"bug: no answer for a viewer: {type(error).__name__}: {error}")
            internal = RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "internal error"})
            answer = self._refused(internal, asked)
        self.counts.statuses[answer.status] += 1
        if asked.viewer is not None:
            self.counts.viewers[asked.viewer] += 1
            scope.setdefault("state", {})[IS_VIEWER] = True
        return answer

    def _refused(self, refusal: RefusedError, asked: _Asked) -> Answer:
        # Without a right token, each request costs a connection of its own.
        headers = () if asked.viewer is not None else (("Connection", "close"),)
        if isinstance(refusal, _WaitError):
            headers = (*headers, ("Retry-After", str(refusal.wait_s)))
        return self._first.endpoint.plain(refusal.status, refusal.body, asked.now, headers)

    async def _too_large(self, _: _Asked) -> Answer:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "a request must have no body"})

    async def _nothing(self, _: _Asked) -> Answer:
        raise not_found()

    async def _health(self, asked: _Asked) -> Answer:
        return self._first.endpoint.plain(HTTPStatus.OK, _HEALTH, asked.now)

    async def _listing(self, asked: _Asked) -> Answer:
        if len(self._profiles) > 1:
            raise self._without_profile(asked)
        return self._from_endpoint(self._first, asked.request.path, asked)

    async def _of_profile(self, asked: _Asked) -> Answer:
        name, slash, rest = asked.request.path.removeprefix(f"{PROFILES_PATH}/").partition("/")
        path = slash + rest
        if path == HEALTH_PATH:
            return await self._health(asked)
        if path != LISTING_PATH and not path.startswith(f"{LISTING_PATH}/"):
            raise not_found()
        profile = self._profiles.get(unquote(name))
        if profile is None:
            raise self._without_profile(asked)
        return self._from_endpoint(profile, path, asked)

    def _from_endpoint(self, profile: ServedProfile, path: str, asked: _Asked) -> Answer:
        self._admit([profile], asked)
        return profile.endpoint.answer(replace(asked.request, path=path, viewer=asked.viewer or ""), asked.now)

    def _without_profile(self, asked: _Asked) -> RefusedError:
        """Return the refusal of a path that names no profile; it names those that the token opens."""
        profiles = self._profiles.items()
        own = [name for name, profile in profiles if profile.tokens.name_of(asked.authorization) is not None]
        self._admit([self._profiles[own[0]] if own else self._first], asked)
        paths = " or ".join(f"{PROFILES_PATH}/{name}" for name in own)
        return RefusedError(HTTPStatus.NOT_FOUND, {"error": f"{WRONG_BASE_URL} {paths}"})

    async def _scrape(self, asked: _Asked) -> Answer:
        self._admit(self._profiles.values(), asked)
        if self._metrics is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, {"error": "there are no series: they need the extra `metrics`"})
        if asked.request.method not in {"GET", "HEAD"}:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, {"error": HTTPStatus.METHOD_NOT_ALLOWED.phrase})
        body, content_type = await self._metrics.body_for(_header(asked.headers, b"accept"), asked.now.monotonic)
        return Answer(HTTPStatus.OK, (("Content-Type", content_type), ("Cache-Control", "no-store")), body)

    def _admit(self, profiles: Iterable[ServedProfile], asked: _Asked) -> None:
        """Let a request pass whose token opens all of some profiles.

        Raises:
            RefusedError: it does not (401), or its address has sent too many such tokens (429).
        """
        names = [profile.tokens.name_of(asked.authorization) for profile in profiles]
        if None not in names:
            asked.viewer = names[0]
            return
        guess = self._guesses.count_wrong(asked.address, asked.now.monotonic)
        if guess.is_news:
            self._note(f"too many wrong tokens from {clean(asked.address)}: the next ones must wait")
        raise _WaitError(guess.wait_s) if guess.wait_s else unauthorized()


class _Endpoint:
    """What a route leads to: sends the answer."""

    def __init__(self, app: ServingApp, answer_of: _AnswerOf) -> None:
        self._app = app
        self._answer_of = answer_of

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        answer = await self._app.answer(scope, self._answer_of)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        if answer.status != HTTPStatus.NOT_MODIFIED:
            headers.append((b"Content-Length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


class _KeptMetrics:
    """Metrics that are made once for all who ask at the same time, in a thread, as viewers must not wait for them."""

    def __init__(self, make: Metrics) -> None:
        self._make = make
        self._lock = asyncio.Lock()
        self._kept: dict[str, tuple[MonotonicS, tuple[bytes, str]]] = {}

    async def body_for(self, accept: str, now: MonotonicS) -> tuple[bytes, str]:
        async with self._lock:
            made_at, made = self._kept.get(accept, (None, None))
            if made_at is None or made is None or now - made_at >= _METRICS_KEPT_S:
                made = await asyncio.to_thread(self._make, accept)
                self._kept = {accept: (now, made)}
            return made
