"""Allowed addresses for the key, and messages about settings that lead nowhere."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import wire_rows
from support.faulty_server import KEY, How, everything_in, faulty_server, proxy_to

from envwatch.letta.client import Client
from envwatch.letta.http import httpx
from envwatch.letta.network_settings import (
    SettingsError,
    checked_base_url,
    is_loopback,
    proxy_for,
)
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, SourceError
from envwatch.model.redactor import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

CERTS = Path(__file__).parents[1] / "support" / "certs"
SERVER = "https://api.letta.com/v1/environments"
PROXY = {"HTTPS_PROXY": "proxy:3128"}
SOCKS = "a SOCKS proxy, which needs the package `httpx[socks]`"


def client_of(base_url: str, environ: Mapping[str, str]) -> Client:
    return Client(base_url=base_url, key=Secret(KEY), limits=Limits(), environ=environ)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.letta.com", "https://api.letta.com"),
        (" https://API.Letta.com:443/\n", "https://api.letta.com"),
        ("https://letta.example:8443/team/a/", "https://letta.example:8443/team/a"),
        ("http://localhost:8283/", "http://localhost:8283"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://127.9.9.9:1", "http://127.9.9.9:1"),
        ("http://[::1]:8283", "http://[::1]:8283"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
    ],
)
def test_https_and_this_machine_are_addresses_for_the_key(text: str, url: str) -> None:
    assert checked_base_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        *("http://api.letta.com", "http://10.0.0.1", "http://0.0.0.0", "http://127.1", "http://2130706433"),
        *("http://localhost.example", "http://127.0.0.1.example", "http://[::ffff:127.0.0.1]"),
        *("http://127.0.0.1\\@evil.example", "http://localhost%2eexample", "https://local\thost"),
        *("https://a b", "https://exämple.com", "https://example.com/\x1b]52"),
        *("https://user:hunter2@example.com", "https://hunter2@example.com", "https://@example.com"),
        *("https://example.com?token=hunter2", "https://example.com/#hunter2", "https://example.com/?"),
        *("https://example.com:0", "https://example.com:65536", "https://example.com:port", "https://[::1"),
        *("https://", "https:///v1", "https://api.letta.com/v1", "https://letta.example.com/api/v1/"),
        *("ftp://example.com", "api.letta.com", "localhost:8283", ""),
    ],
)
def test_any_other_address_is_refused_in_one_line_without_the_address(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^the base URL [^\n]+$") as caught:
        checked_base_url(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.0", True),
        ("127.255.255.255", True),
        ("126.255.255.255", False),
        ("128.0.0.0", False),
        ("::1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("::2", False),
        ("::", False),
        ("::127.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:7f00:1", False),
        ("64:ff9b::7f00:1", False),
        ("localhost", True),
        ("localhost.", False),
        ("ip6-localhost", False),
    ],
)
def test_this_machine_is_the_same_addresses_on_every_python(host: str, *, is_ours: bool) -> None:
    assert is_loopback(host) is is_ours


@given(st.text(max_size=40).map("http://".__add__))
def test_plain_http_never_leaves_this_machine(text: str) -> None:
    try:
        url = httpx.URL(checked_base_url(text))
    except SettingsError:
        return
    assert is_loopback(url.host)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"ALL_PROXY": "socks5://127.0.0.1:1080"}, f"ALL_PROXY names {SOCKS}"),
        ({"all_proxy": "socks5h://u:hunter2@h"}, f"all_proxy names {SOCKS}"),
        ({"HTTPS_PROXY": "ftp://u:hunter2@h"}, "HTTPS_PROXY is no usable proxy: write http://host:port"),
        ({"HTTPS_PROXY": "http://u:hunter2@h:port"}, "HTTPS_PROXY is no usable proxy: write http://host:port"),
        ({"https_proxy": "http://u:hunter2@[bad"}, "https_proxy names no host: write http://host:port"),
        ({"HTTPS_PROXY": "http://:3128"}, "HTTPS_PROXY names no host: write http://host:port"),
        ({**PROXY, "NO_PROXY": "a, [::1"}, "entry 2 of NO_PROXY is neither a host nor an address nor a network"),
        ({**PROXY, "no_proxy": "http://a"}, "entry 1 of no_proxy is neither a host nor an address nor a network"),
        ({"SSL_CERT_FILE": "/no/such/file"}, "SSL_CERT_FILE names /no/such/file: No such file or directory"),
        ({"SSL_CERT_FILE": "/no\x1b[31m"}, "SSL_CERT_FILE names /no\\x1b[31m: No such file or directory"),
        ({"SSL_CERT_FILE": __file__}, f"SSL_CERT_FILE names {__file__}: holds no PEM certificates"),
        ({"SSL_CERT_DIR": "/no/such"}, "SSL_CERT_DIR names /no/such, which is no folder"),
    ],
)
def test_an_unusable_setting_stops_the_client_unless_the_client_stays_on_this_machine(
    environ: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        client_of("https://api.letta.com", environ)
    assert str(caught.value) == message
    client_of("http://127.0.0.1", environ)


EXEMPT = {"ALL_PROXY": "http://b", "NO_PROXY": "10.0.0.0/8,2001:db8::/32"}


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        (SERVER, {}, None),
        (SERVER, {"HTTP_PROXY": "http://a"}, None),
        (SERVER, {"HTTPS_PROXY": "http://a", "ALL_PROXY": "http://b"}, "http://a"),
        (SERVER, {"https_proxy": "a:1", "HTTPS_PROXY": "http://b"}, "http://a:1"),
        (SERVER, {"ALL_PROXY": "http://b"}, "http://b"),
        (SERVER, {"HTTPS_PROXY": "", "SSL_CERT_FILE": "", "NO_PROXY": " "}, None),
        (SERVER, {"HTTPS_PROXY": "http://u:p@proxy:3128/"}, "http://proxy:3128/"),
        (SERVER, {"HTTPS_PROXY": "https://proxy"}, "https://proxy"),
        (SERVER, {"NO_PROXY": "localhost,127.0.0.1, ::1 [::1],.corp *.x 10.0.0.0/8,fd00::/8,a:8080,b.,*"}, None),
        (SERVER, {"SSL_CERT_FILE": str(CERTS / "localhost.pem"), "SSL_CERT_DIR": str(CERTS)}, None),
        *(
            (SERVER, {"ALL_PROXY": "http://b", "NO_PROXY": exempt}, None)
            for exempt in ("letta.com", ".letta.com", "x,API.letta.com:443", "*")
        ),
        (SERVER, {"ALL_PROXY": "http://b", "NO_PROXY": "api.letta.com:444"}, "http://b"),
        (SERVER, {"ALL_PROXY": "http://b", "NO_PROXY": "etta.com, api.letta.com.evil, 10.0.0.0/8"}, "http://b"),
        ("https://10.9.8.7", EXEMPT, None),
        ("https://[2001:db8::7]", EXEMPT, None),
        ("https://11.0.0.1", EXEMPT, "http://b"),
        *((f"https://{host}:8283", {"ALL_PROXY": "socks5://b"}, None) for host in ("localhost", "127.0.0.1", "[::1]")),
    ],
)
def test_the_proxy_is_the_one_of_curl_and_this_machine_needs_none(
    url: str, environ: dict[str, str], proxy: str | None
) -> None:
    client_of("https://api.letta.com" if url is SERVER else url, environ)
    found = proxy_for(httpx.URL(url), environ)
    assert (found and str(found.url)) == proxy


@pytest.mark.parametrize("key", ["", "with space", "line\nfeed", "nul\0", "clé", "\u202e"])
def test_a_key_beyond_any_header_is_refused_unseen(key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Client(base_url="https://api.letta.com", key=Secret(key), limits=Limits(), environ={})
    assert str(caught.value) == "the API key is empty or holds characters that no key has"


async def failure_at(base_url: str, environ: Mapping[str, str]) -> SourceError:
    async with Client(base_url=base_url, key=Secret(KEY), limits=Limits(), environ=environ) as client:
        with pytest.raises(SourceError) as caught:
            await client.snapshot()
    assert KEY not in everything_in(caught.value)
    return caught.value


def tls_of(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTS / name)
    return context


async def test_a_trusted_certificate_is_accepted() -> None:
    environ = {"SSL_CERT_FILE": str(CERTS / "localhost.pem")}
    async with faulty_server(wire_rows(3), tls_of("localhost.pem")) as server:
        limits = Limits(page_size=2)
        async with Client(base_url=server.url, key=Secret(KEY), limits=limits, environ=environ) as client:
            assert len((await client.snapshot()).pages) == 2


@pytest.mark.parametrize(
    ("served", "trusted", "host", "reason"),
    [
        ("localhost.pem", None, "localhost", "is self-signed: to trust it, name its file in SSL_CERT_FILE"),
        ("expired.pem", "expired.pem", "localhost", "has expired"),
        ("localhost.pem", "localhost.pem", "127.0.0.1", "is for another address: wrong LETTA_BASE_URL?"),
    ],
)
async def test_a_certificate_is_refused_in_plain_words(
    served: str, trusted: str | None, host: str, reason: str
) -> None:
    environ = {"SSL_CERT_FILE": str(CERTS / trusted)} if trusted else {}
    async with faulty_server([], tls_of(served)) as server:
        base_url = server.url.replace("localhost", host)
        error = await failure_at(base_url, environ)
        assert error.failure.cause is Cause.TLS
        assert error.failure.message == f"the certificate of {base_url.removeprefix('https://')} {reason}"
        assert server.seen == []


async def test_https_to_a_plain_http_port_has_its_own_message() -> None:
    async with faulty_server([]) as server:
        error = await failure_at(server.url.replace("http:", "https:"), {})
    assert error.failure.cause is Cause.TLS
    assert error.failure.message.endswith("is that an https port?")


async def test_a_proxy_leads_to_the_server_and_its_dead_connections_are_replaced_too() -> None:
    async with faulty_server(wire_rows(3), tls_of("localhost.pem")) as server, proxy_to(server) as proxy:
        environ = {"HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(CERTS / "localhost.pem")}
        limits = Limits(page_size=3)
        async with Client(base_url="https://letta.test", key=Secret(KEY), limits=limits, environ=environ) as client:
            assert (await client.snapshot()).requests == 1
            server.stop_at(1, How.RESET)
            assert (await client.snapshot()).requests == 2
    assert [seen.headers["host"] for seen in server.seen] == ["letta.test"] * 3


async def test_a_refusing_or_absent_proxy_is_named_without_its_password() -> None:
    async with faulty_server([]) as server:
        proxy = server.url.removeprefix("http://")
        environ = {"HTTPS_PROXY": f"http://user:hunter2@{proxy}"}
        refused = await failure_at("https://letta.invalid", environ)
        assert [seen.headers["host"] for seen in server.seen] == ["letta.invalid:443"]
        assert "proxy-authorization" in server.seen[0].headers
        assert "authorization" not in server.seen[0].headers
    absent = await failure_at("https://letta.invalid", {"HTTPS_PROXY": "http://user:hunter2@127.0.0.1:1"})
    assert (refused.failure.cause, absent.failure.cause) == (Cause.UNREACHABLE, Cause.UNREACHABLE)
    assert refused.failure.message == f"the proxy {proxy} refused: 401 Whatever"
    assert absent.failure.message.startswith("nothing listens at the proxy 127.0.0.1:1: is the address right")


def test_the_client_loads_neither_a_screen_nor_the_cli_of_httpx() -> None:
    code = (
        "import sys, envwatch.letta.client\n"
        "print(sorted({'textual', 'rich', 'click', 'pygments', 'httpx._main'} & set(sys.modules)))\n"
        "import httpx._main\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
