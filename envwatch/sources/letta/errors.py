"""What an answer means: a page, or a failure in words that tell a person what to do.

Owns the reading of statuses, headers and error texts, and the plain word for everything that can go wrong below.
Fetches nothing. Functions return a `SourceError` and leave the raising to where nothing of the answer, nor the key, can
hang on to it as a context.
"""

from __future__ import annotations

import errno
import json
import re
import ssl
import zlib
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from socket import gaierror
from typing import TYPE_CHECKING, Final

from envwatch.model import limits
from envwatch.model.clock import OffsetBounds
from envwatch.model.outcome import Cause, SourceError
from envwatch.model.page import Page, PageError, page_of
from envwatch.model.text import Clean, clean
from envwatch.sources.letta.httpx_import import httpx
from envwatch.sources.letta.transport import ERROR_BYTES, BodyError
from envwatch.storage.redactor import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue, SecretStr

    from envwatch.model.environment import Environment
    from envwatch.model.pool import Pool
    from envwatch.sources.letta.transport import Response

FAILURES: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    OSError,
    zlib.error,
    BodyError,
    PageError,
    UnicodeError,
    RecursionError,
    OverflowError,
    MemoryError,
)
"""What fetching and decoding an answer may raise without being wrong themselves."""

_TITLE: Final = re.compile(r"<title[^<>]*>([^<]*)", re.IGNORECASE)

_CAUSES: Final = {
    401: Cause.UNAUTHORIZED,
    403: Cause.FORBIDDEN,
    404: Cause.NO_SUCH_ROUTE,
    429: Cause.RATE_LIMITED,
    503: Cause.UNAVAILABLE,
}
_ADVICE: Final = {
    Cause.UNAUTHORIZED: "Is the key from {key_origin} right, and still valid?",
    Cause.NO_SUCH_ROUTE: "A self-hosted Letta server has no such route: environments are a feature of Letta's cloud",
}

# OpenSSL's numbers (X509_V_ERR_…), and what a person can do about them.
_CERTIFICATES: Final = {
    9: "is not valid yet: is this machine's clock right?",
    10: "has expired",
    18: "is signed by itself: if that is meant, name it in SSL_CERT_FILE",
    19: "is from an authority unknown here: name your company's in SSL_CERT_FILE",
    20: "is from an authority unknown here: name your company's in SSL_CERT_FILE",
    21: "is from an authority unknown here: name your company's in SSL_CERT_FILE",
    62: "is for another name: wrong LETTA_BASE_URL?",
    64: "is for another address: wrong LETTA_BASE_URL?",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Whom we talk to, as messages name it."""

    host: Clean
    """Host and port of the server."""
    proxy: Clean | None
    """Host and port of the proxy between, if any."""
    key: SecretStr
    """What no message may repeat, should the server do so."""
    key_origin: Clean
    """Where that came from, for people."""

    def quoted(self, text: str, limit: int = 200) -> Clean:
        """Return words of the server as one line that is safe to show: no part of the key is in it."""
        key = self.key.get_secret_value()
        # The parts are looked for after cleaning, which may put them together by leaving out what stands between them.
        return Clean(Redactor(key)(clean(" ".join(text.replace(key, "(your key)").split()), limit)))


def page_in(answer: Response, peer: Endpoint, known: Mapping[Clean, Environment], pool: Pool) -> Page | SourceError:
    """Return the page in an answer, or why there is none; rows that are known and unchanged come from there."""
    if answer.status != httpx.codes.OK:
        return _refusal(answer, peer)
    try:
        return page_of(answer.body, known, pool)
    except PageError as error:
        page = _web_page(answer, peer)
        if page is None:
            return _failure(Cause.GARBLED, f"{peer.host} sent no listing ({peer.quoted(str(error))})")
        what = f"{peer.host} answered with {page}: wrong LETTA_BASE_URL, or a proxy's login page?"
        return _failure(Cause.GARBLED, what)


def offset_in(answer: Response) -> OffsetBounds | None:
    """Return what an answer tells of the server's clock; nothing if a cache may have kept it for a while."""
    date = _instant(answer.headers.get("Date"))
    if date is None or answer.headers.get("Age", "0").strip() != "0":
        return None
    return OffsetBounds.of_answer(date, answer.asked_at, answer.answered_at)


def failure_of(error: Exception, peer: Endpoint) -> SourceError:
    """Return one of `FAILURES` as a person should read it."""
    nearest = _nearest(peer)
    cause = Cause.GARBLED
    match error:
        case BodyError():
            cause, what = error.cause, f"the answer of {peer.host} {error}"
        case zlib.error():
            what = f"the answer of {peer.host} is damaged: its gzip data cannot be inflated"
        case httpx.ConnectTimeout():
            cause, what = Cause.TIMEOUT, f"no connection to {nearest} within {_seconds(limits.CONNECT_TIMEOUT)}"
        case httpx.TimeoutException():
            cause, what = Cause.TIMEOUT, f"{peer.host} was silent for {_seconds(limits.READ_TIMEOUT)}"
        case httpx.ProxyError():
            cause, what = Cause.UNREACHABLE, f"{nearest} refused: {peer.quoted(str(error), 100)}"
        case httpx.RemoteProtocolError():
            cause, what = _protocol_failure(error, peer)
        case httpx.NetworkError() | OSError():
            cause, what = _network_failure(error, peer)
        case httpx.InvalidURL() | UnicodeError():
            what = f"{peer.host} sent the id of a row that cannot be sent back to go on from"
        case _:
            what = f"the answer of {peer.host} cannot be decoded ({type(error).__name__})"
    return _failure(cause, what)


def _refusal(answer: Response, peer: Endpoint) -> SourceError:
    status = answer.status
    if 300 <= status < 400:
        what = f"{peer.host} answered with a redirect to {_target(answer, peer)}: wrong LETTA_BASE_URL?"
        return _failure(Cause.REDIRECTED, what)
    what = f"{peer.host} answered {status}"
    if status < 300:
        return _failure(Cause.GARBLED, f"{what}, which is no listing")
    cause = _CAUSES.get(status, Cause.REFUSED if status < 500 else Cause.SERVER)
    words = _words(answer, peer) or httpx.codes.get_reason_phrase(status)
    advice = _ADVICE.get(cause, "").format(key_origin=peer.key_origin)
    told = ". ".join(filter(None, [words.rstrip("."), advice]))
    return _failure(cause, f"{what}: {told}" if told else what, retry_after=_retry_after(answer))


def _failure(cause: Cause, what: str, *, retry_after: timedelta | None = None) -> SourceError:
    return SourceError(cause, Clean(what), retry_after=retry_after)


def _words(answer: Response, peer: Endpoint) -> Clean:
    """Return what a person should read of an error's body, wherever the platform or a gateway put it."""
    page = _web_page(answer, peer)
    if page is not None:
        return page
    text = answer.body.decode(errors="replace")
    try:
        said: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict):
        named = (said.get(name) for name in ("message", "error", "detail"))
        words = next((word for word in named if isinstance(word, str) and word), "")
        code = said.get("errorCode")
        if isinstance(code, str) and "message" not in said:
            words = f"{words} ({code})" if words else code
        text = words or text
    return peer.quoted(text)


def _web_page(answer: Response, peer: Endpoint) -> Clean | None:
    """Return a name for an answer that is a web page, by its title if it has one; None for any other."""
    start = answer.body[:ERROR_BYTES].decode(errors="replace")
    is_one = start.lstrip("\ufeff \t\r\n")[:9].lower().startswith(("<!doctype", "<html"))
    if not is_one and "html" not in answer.headers.get("Content-Type", "").lower():
        return None
    title = _TITLE.search(start)
    named = peer.quoted(title[1], 80) if title else ""
    return Clean(f"a web page, “{named}”" if named else "a web page")


def _target(answer: Response, peer: Endpoint) -> Clean:
    """Return where a redirect leads: another host by its name alone, a place on the same host with its path."""
    location = answer.headers.get("Location")
    if not location:
        return Clean("nowhere")
    try:
        url = httpx.URL(location)
    except (httpx.InvalidURL, UnicodeError):
        return peer.quoted(location, 100)
    host = url.netloc.decode() or peer.host
    return peer.quoted(f"{host}{url.path}" if host == peer.host else host, 100)


def _retry_after(answer: Response) -> timedelta | None:
    """Return how long the server asks to be left alone, bounded; a date counts by the server's own clock."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        until = _instant(text)
        if until is None:
            return None
        now = _instant(answer.headers.get("Date"))
        seconds = (until - (answer.answered_at if now is None else now)) / 1000
    cap = limits.RETRY_AFTER_CAP.total_seconds()
    return timedelta(seconds=min(max(seconds, 0.0), cap))


def _instant(date: str | None) -> float | None:
    """Return an HTTP date in milliseconds since the epoch."""
    try:
        parsed = parsedate_to_datetime(date or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000


def _protocol_failure(error: httpx.RemoteProtocolError, peer: Endpoint) -> tuple[Cause, str]:
    # httpcore and h11 tell an answer that broke off from one that never was HTTP by their words alone.
    if "disconnected" in str(error) or "closed connection" in str(error):
        return Cause.UNREACHABLE, f"{peer.host} closed the connection before its answer was complete"
    return Cause.GARBLED, f"{peer.host} answered in something that is not HTTP: wrong LETTA_BASE_URL?"


def _network_failure(error: Exception, peer: Endpoint) -> tuple[Cause, str]:
    """Look for the reason behind what httpx, httpcore and anyio made of it."""
    nearest = _nearest(peer)
    for reason in _behind(error):
        match reason:
            case ssl.SSLCertVerificationError():
                told = _CERTIFICATES.get(reason.verify_code) or f"is refused: {clean(reason.verify_message, 100)}"
                return Cause.TLS, f"the certificate of {peer.host} {told}"
            case ssl.SSLError():
                named = getattr(reason, "reason", None) or "no reason given"  # OpenSSL's errors have one, Python's not
                told = clean(named.replace("_", " ").lower(), 100)
                return Cause.TLS, f"no TLS with {peer.host} ({told}): is that an https port?"
            case gaierror():
                return Cause.UNREACHABLE, f"no address is known for {nearest}: is the name right, and DNS up?"
            case ConnectionRefusedError():
                return Cause.UNREACHABLE, f"nothing listens at {nearest}: is the address right, and the server up?"
            case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH | errno.ENETDOWN):
                return Cause.UNREACHABLE, f"no way to {nearest}: is this machine's network up?"
    is_new = isinstance(error, httpx.ConnectError)
    return Cause.UNREACHABLE, f"no connection to {nearest}" if is_new else f"{peer.host} broke the connection"


def _behind(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that led to it."""
    found = [error]
    for reason in found:  # which grows on the way
        yield reason
        parts = reason.exceptions if isinstance(reason, BaseExceptionGroup) else ()
        found += [one for one in (reason.__cause__, reason.__context__, *parts) if one is not None and one not in found]


def _nearest(peer: Endpoint) -> str:
    """Return where a connection leads first."""
    return f"the proxy {peer.proxy}" if peer.proxy else peer.host


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():g} s"
