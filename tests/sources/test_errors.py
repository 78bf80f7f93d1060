"""Messages about failures that no local server can cause."""

from __future__ import annotations

import errno
import socket
import ssl
import zlib

import pytest
from support.faulty_server import KEY

from envwatch.model.outcome import Cause
from envwatch.model.text import clean
from envwatch.redactor import Secret
from envwatch.sources.letta import httpx
from envwatch.sources.letta.errors import FAILURES, Endpoint, failure_of

DIRECT = Endpoint(clean("api.letta.com"), None, Secret(KEY), clean("a test"))
BEHIND_A_PROXY = Endpoint(clean("api.letta.com"), clean("proxy:3128"), Secret(KEY), clean("a test"))


def connect_error(*reasons: OSError) -> httpx.ConnectError:
    """Return a failed connection as httpx reports it: the reasons are nested, one for each address."""
    error = httpx.ConnectError("All connection attempts failed")
    error.__context__ = OSError("All connection attempts failed")
    error.__context__.__cause__ = ExceptionGroup("multiple", reasons) if len(reasons) > 1 else reasons[0]
    return error


def refused_certificate(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("error", "cause", "message"),
    [
        (httpx.ConnectTimeout(""), Cause.TIMEOUT, "no connection to api.letta.com within 5 s"),
        (httpx.ReadTimeout(""), Cause.TIMEOUT, "api.letta.com was silent for 10 s"),
        (httpx.PoolTimeout(""), Cause.TIMEOUT, "api.letta.com was silent for 10 s"),
        (httpx.ReadError(""), Cause.UNREACHABLE, "api.letta.com broke the connection"),
        (httpx.WriteError(""), Cause.UNREACHABLE, "api.letta.com broke the connection"),
        (httpx.ConnectError(""), Cause.UNREACHABLE, "no connection to api.letta.com"),
        (
            connect_error(socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
            Cause.UNREACHABLE,
            "no address is known for api.letta.com: is the name right, and DNS up?",
        ),
        (
            connect_error(OSError(errno.ENETUNREACH, "unreachable"), OSError(errno.ENETUNREACH, "unreachable")),
            Cause.UNREACHABLE,
            "no way to api.letta.com: is this machine's network up?",
        ),
        (
            connect_error(ssl.SSLError(1, "[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version")),
            Cause.TLS,
            "no TLS with api.letta.com (no reason given): is that an https port?",
        ),
        (
            connect_error(refused_certificate(20, "unable to get local issuer certificate")),
            Cause.TLS,
            "the certificate of api.letta.com is from an unknown authority: name your company's file in SSL_CERT_FILE",
        ),
        (
            connect_error(refused_certificate(23, "certificate revoked\x1b")),
            Cause.TLS,
            r"the certificate of api.letta.com is refused: certificate revoked\x1b",
        ),
        (
            ssl.SSLError(1, "bad record mac"),
            Cause.TLS,
            "no TLS with api.letta.com (no reason given): is that an https port?",
        ),
        (zlib.error(""), Cause.GARBLED, "the answer of api.letta.com is damaged: its gzip data cannot be inflated"),
        (RecursionError(), Cause.GARBLED, "the answer of api.letta.com cannot be decoded (RecursionError)"),
        (MemoryError(), Cause.GARBLED, "the answer of api.letta.com cannot be decoded (MemoryError)"),
        (OverflowError(), Cause.GARBLED, "the answer of api.letta.com cannot be decoded (OverflowError)"),
    ],
)
def test_a_failure_has_a_plain_message(error: Exception, cause: Cause, message: str) -> None:
    assert isinstance(error, FAILURES)
    found = failure_of(error, DIRECT)
    assert (found.failure.cause, found.failure.message) == (cause, message)
    assert found.__cause__ is found.__context__ is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (httpx.ConnectTimeout(""), "no connection to the proxy proxy:3128 within 5 s"),
        (httpx.ConnectError(""), "no connection to the proxy proxy:3128"),
        (
            httpx.ProxyError("407 Proxy Authentication Required"),
            "the proxy proxy:3128 refused: 407 Proxy Authentication Required",
        ),
        (httpx.ReadError(""), "api.letta.com broke the connection"),
    ],
)
def test_a_proxy_is_blamed_for_what_happens_before_it(error: Exception, message: str) -> None:
    assert failure_of(error, BEHIND_A_PROXY).failure.message == message
