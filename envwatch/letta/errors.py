"""Explain responses: a page, or a failure with advice.

Functions return `SourceError` instead of raising it, so its context holds neither response nor key.
"""

from __future__ import annotations

import errno
import re
import ssl
import zlib
from dataclasses import replace
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from socket import gaierror
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.letta.http import httpx
from envwatch.letta.transport import ERROR_BYTES, BodyError, Response
from envwatch.model import limits
from envwatch.model.clock import OffsetBounds
from envwatch.model.listing_api import NOT_PASSED_ON, WRONG_BASE_URL
from envwatch.model.outcome import Cause, Failure, SourceError
from envwatch.model.page import Page, PageError, Pool, parse_page
from envwatch.model.redactor import Redactor
from envwatch.model.text import SafeText, clean, composed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envwatch.model.environment import Environment
    from envwatch.model.redactor import Secret

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

_RELAY_CODES: Final = ("envwatch_blind", "envwatch_waiting", "envwatch_stopping")


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

# Advice by OpenSSL's error number (X509_V_ERR_…).
_CERTIFICATES: Final = {
    9: "is not valid yet: is this machine's clock right?",
    10: "has expired",
    18: "is self-signed: to trust it, name its file in SSL_CERT_FILE",
    **dict.fromkeys((19, 20, 21), "is from an unknown authority: name your company's file in SSL_CERT_FILE"),
    62: "is for another name: wrong LETTA_BASE_URL?",
    64: "is for another address: wrong LETTA_BASE_URL?",
}


class Endpoint(NamedTuple):
    """The server as named in messages."""

    host: SafeText
    proxy: SafeText | None
    key: Secret
    """Removed from all messages, also the server's."""
    key_origin: SafeText
    is_plain: bool = False

    @property
    def nearest(self) -> str:
        """The connected host: the proxy, else the server."""
        return f"the proxy {self.proxy}" if self.proxy else self.host

    @classmethod
    def from_url(cls, url: httpx.URL, proxy: httpx.Proxy | None, key: Secret, key_origin: str) -> Endpoint:
        """Return the endpoint for a URL."""
        nearest = host_of(proxy.url) if proxy else None
        return cls(host_of(url), nearest, key, clean(key_origin, 200), is_plain=url.scheme == "http")

    def quoted(self, text: str, limit: int = 200) -> SafeText:
        """Return the server's text as a safe line without the key."""
        key = self.key.get_secret_value()
        # Redact after cleaning: removed characters can join parts of the key.
        text = text.replace(key, "(your key)") if key else text
        return composed(Redactor(key)(clean(" ".join(text.split()), limit)))


def host_of(url: httpx.URL) -> SafeText:
    """Return host and port."""
    return clean(url.netloc.decode(), 100)


def page_in(
    response: Response, endpoint: Endpoint, rows: Mapping[SafeText, Environment], pool: Pool
) -> Page | SourceError:
    """Return the page or failure; unchanged `rows` of the last listing are reused."""
    if response.status != httpx.codes.OK:
        return explain_refusal(response, endpoint)
    try:
        return parse_page(response.body, rows, pool)
    except PageError as error:
        what = f"sent no list of machines ({endpoint.quoted(str(error))})"
        if (page := _web_page(response, endpoint)) is not None:
            what = f"answered with {page}: wrong LETTA_BASE_URL, or a proxy's login page?"
        return SourceError(Failure(Cause.GARBLED, composed(f"{endpoint.host} {what}")))


def offset_in(response: Response) -> OffsetBounds | None:
    """Return the server clock's bounds from `Date`; None without `Date` or from a cache."""
    date = _instant(response.headers.get("Date"))
    if date is None or response.headers.get("Age", "0").strip() != "0":
        return None
    return OffsetBounds.of_answer(date, response.asked_at, response.answered_at)


def explain_failure(error: Exception, endpoint: Endpoint) -> SourceError:
    """Return the failure for an exception in `FAILURES`."""
    host, nearest = endpoint.host, endpoint.nearest
    cause = Cause.GARBLED
    match error:
        case BodyError():
            cause, what = error.cause, f"the answer of {host} {error}"
        case zlib.error():
            what = f"the answer of {host} is damaged: its gzip data cannot be inflated"
        case httpx.ConnectTimeout():
            seconds = limits.CONNECT_TIMEOUT.total_seconds()
            cause, what = Cause.TIMEOUT, f"no connection to {nearest} within {seconds:g} s"
        case httpx.TimeoutException():
            cause, what = Cause.TIMEOUT, f"{host} was silent for {limits.READ_TIMEOUT.total_seconds():g} s"
        case httpx.ProxyError():
            cause, what = Cause.UNREACHABLE, f"{nearest} refused: {endpoint.quoted(str(error), 100)}"
        # Only texts of httpcore and h11 tell a broken response from another protocol.
        case httpx.RemoteProtocolError() if "disconnected" in str(error) or "closed connection" in str(error):
            hint = ": is it https there?" if endpoint.is_plain else ""
            cause, what = Cause.UNREACHABLE, f"{host} closed the connection before its answer was complete{hint}"
        case httpx.RemoteProtocolError():
            what = f"{host} does not speak HTTP: wrong LETTA_BASE_URL?"
        case httpx.NetworkError() | OSError():
            cause, what = network_failure(error, endpoint.host, endpoint.nearest)
        case httpx.InvalidURL() | UnicodeError():
            what = f"{host} sent an id that cannot be used to ask for the next page"
        case _:
            what = f"the answer of {host} cannot be decoded ({type(error).__name__})"
    return SourceError(Failure(cause, composed(what)))


def explain_refusal(response: Response, endpoint: Endpoint) -> SourceError:
    """Return the failure for a status other than 200."""
    status = response.status
    if 300 <= status < 400:
        what = f"{endpoint.host} answered with a redirect to {_target(response, endpoint)}: wrong LETTA_BASE_URL?"
        return SourceError(Failure(Cause.REDIRECTED, composed(what)))
    what = f"{endpoint.host} answered {status}"
    if status < 300:
        return SourceError(Failure(Cause.GARBLED, composed(f"{what}, not with a list of machines")))
    document = response.json_object
    error = document.get("error")
    if status == 503 and document.get("errorCode") in _RELAY_CODES and isinstance(error, str) and error:
        wait = retry_after(response.headers, response.answered_at)
        what = f"{endpoint.host}: {endpoint.quoted(error)}"
        return SourceError(Failure(Cause.UNAVAILABLE, composed(what), wait), is_relayed=True)
    cause = _CAUSES.get(status, Cause.REFUSED if status < 500 else Cause.SERVER)
    words = _words(response, endpoint) or httpx.codes.get_reason_phrase(status)
    advice = "" if words.startswith(WRONG_BASE_URL) else _ADVICE.get(cause, "").format(key_origin=endpoint.key_origin)
    details = ". ".join(filter(None, [words.rstrip("."), advice]))
    text = composed(f"{what}: {details}" if details else what)
    return SourceError(Failure(cause, text, retry_after(response.headers, response.answered_at)))


def explain_ack_failure(error: Exception, endpoint: Endpoint, deadline: timedelta) -> SourceError:
    """Return an acknowledgement's failure for an exception in `FAILURES`."""
    failure = explain_failure(error, endpoint).failure
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.ProxyError():
            return SourceError(failure)
        case TimeoutError() | httpx.TimeoutException():
            failure = Failure(Cause.TIMEOUT, composed(f"no answer within {deadline.total_seconds():g} s"))
    what = f"{failure.message}; if the request arrived all the same, the next poll shows it"
    return SourceError(replace(failure, message=composed(what)))


def explain_ack_refusal(response: Response, endpoint: Endpoint, *, is_of_known: bool) -> SourceError:
    """Return the failure for a refused acknowledgement, or a refused change of a known one."""
    failure, host, words = explain_refusal(response, endpoint).failure, endpoint.host, _words(response, endpoint)
    cause = failure.cause
    match response.status:
        case 403:
            what = f"the token of this machine may not acknowledge: ask for the right `ack` at {host}"
        case 404 if is_of_known:
            cause, what = Cause.REFUSED, f"{host} knows no such acknowledgement: it may have ended already"
        case 404 | 405:
            cause, what = Cause.REFUSED, f"{host} takes no acknowledgements: does a proxy let only GET through?"
        case 409:
            what = f"{host} knows another acknowledgement under this id: try again"
        case 413:
            cause, what = Cause.TOO_LARGE, f"the request is too large for {host}: acknowledge fewer machines at once"
        case 400 | 415 | 422:
            what = f"{host} does not understand the request ({words}): update envwatch here or there"
        case 429:
            seconds = "a minute" if failure.retry_after is None else f"{failure.retry_after.total_seconds():.0f} s"
            what = f"{host} takes no more acknowledgements from this token for now: try again in {seconds}"
        case 502 if words.startswith(NOT_PASSED_ON):
            what = f"{host}: {words}"
        case status if status >= 500:
            what = f"{failure.message}: try again"
        case _:
            return SourceError(failure)
    return SourceError(replace(failure, cause=cause, message=composed(what)))


def _words(response: Response, endpoint: Endpoint) -> SafeText:
    if (page := _web_page(response, endpoint)) is not None:
        return page
    document = response.json_object
    fields = (document.get(name) for name in ("message", "error", "detail"))
    words = next((word for word in fields if isinstance(word, str) and word), "")
    code = document.get("errorCode")
    if isinstance(code, str) and "message" not in document:
        words = f"{words} ({code})" if words else code
    return endpoint.quoted(words or response.body.decode(errors="replace"))


def _web_page(response: Response, endpoint: Endpoint) -> SafeText | None:
    start = response.body[:ERROR_BYTES].decode(errors="replace")
    is_html = start.lstrip("\ufeff \t\r\n")[:9].lower().startswith(("<!doctype", "<html"))
    if not is_html and "html" not in response.headers.get("Content-Type", "").lower():
        return None
    title = _TITLE.search(start)
    named = endpoint.quoted(title[1], 80) if title else ""
    return composed(f"a web page, “{named}”" if named else "a web page")


def _target(response: Response, endpoint: Endpoint) -> SafeText:
    location = response.headers.get("Location")
    if not location:
        return composed("nowhere")
    try:
        url = httpx.URL(location)
    except (httpx.InvalidURL, UnicodeError):
        return endpoint.quoted(location, 100)
    host = url.netloc.decode() or endpoint.host
    return endpoint.quoted(f"{host}{url.path}" if host == endpoint.host else host, 100)


def retry_after(headers: Mapping[str, str], answered_at: float) -> timedelta | None:
    """Return the wait in `Retry-After`, at most `RETRY_AFTER_CAP`, or None.

    A date is compared with the server's `Date`, else with `answered_at` (local wall clock, ms).
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        until = _instant(text)
        if until is None:
            return None
        now = _instant(headers.get("Date"))
        seconds = (until - (answered_at if now is None else now)) / 1000
    cap = limits.RETRY_AFTER_CAP.total_seconds()
    return timedelta(seconds=min(max(seconds, 0.0), cap))


def _instant(date: str | None) -> float | None:
    try:
        parsed = parsedate_to_datetime(date or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000


def network_failure(error: Exception, host: str, nearest: str) -> tuple[Cause, str]:
    """Return cause and message from the system error behind an error of httpx, httpcore or anyio.

    `nearest` is host and port of the server or proxy.
    """
    for reason in _behind(error):
        match reason:
            case ssl.SSLCertVerificationError():
                problem = _CERTIFICATES.get(reason.verify_code) or f"is refused: {clean(reason.verify_message, 100)}"
                return Cause.TLS, f"the certificate of {host} {problem}"
            case ssl.SSLError():
                text = getattr(reason, "reason", None) or "no reason given"  # errors that Python raises have no reason
                text = clean(text.replace("_", " ").lower(), 100)
                return Cause.TLS, f"no TLS with {host} ({text}): is that an https port?"
            case gaierror():
                return Cause.UNREACHABLE, f"no address is known for {nearest}: is the name right, and DNS up?"
            case ConnectionRefusedError():
                return Cause.UNREACHABLE, f"nothing listens at {nearest}: is the address right, and the server up?"
            case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH | errno.ENETDOWN):
                return Cause.UNREACHABLE, f"no way to {nearest}: is this machine's network up?"
    is_new = isinstance(error, httpx.ConnectError)
    return Cause.UNREACHABLE, f"no connection to {nearest}" if is_new else f"{host} broke the connection"


def _behind(error: BaseException) -> Iterator[BaseException]:
    found = [error]
    for reason in found:
        yield reason
        parts = reason.exceptions if isinstance(reason, BaseExceptionGroup) else ()
        found += [one for one in (reason.__cause__, reason.__context__, *parts) if one is not None and one not in found]
