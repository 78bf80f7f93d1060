"""Rules for addresses, proxies and trusted certificates.

httpx crashes on some variables without naming them, so they are read here. Messages never repeat an address or proxy,
which may hold a password.
"""

from __future__ import annotations

import os
import re
import ssl
from functools import cache
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final

from envwatch.files import open_regular
from envwatch.letta.http import httpx
from envwatch.model.limits import CERTIFICATES_BYTES
from envwatch.model.redactor import ReportedError
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROXIES: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_NO_PROXY: Final = ("no_proxy", "NO_PROXY")
"""Lower case first, as in curl."""

_TRUST: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")

_HOST: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
_EXEMPT_NAME: Final = re.compile(r"(?:\*?\.)?(?P<name>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?(?::(?P<port>\d{1,5}))?")
_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1"))
"""RFC 1122 3.2.1.3 and RFC 4291 2.5.3."""


class SettingsError(ReportedError):
    """An unusable setting; the message names it in a line."""


def checked_base_url(text: str) -> str:
    """Return a base URL with lower-case host, without trailing slash.

    httpx parses the URL, so the checked host gets the key. Raises `SettingsError` unless https, or http to this
    machine, with host, port and path only.
    """
    url = _checked_url(text.strip(), "the base URL", "key")
    if "?" in text or "#" in text:
        raise SettingsError("the base URL must end with its path, without ? or #")
    if url.path.rstrip("/").endswith("/v1"):
        raise SettingsError("the base URL must end before /v1, because envwatch adds /v1")
    return str(url).rstrip("/")


def checked_hook_url(text: str) -> httpx.URL:
    """Return a web service's address, which may have a query.

    Raises `SettingsError` unless https, or http to this machine, without user or password.
    """
    return _checked_url(text.strip(), "the address", "messages")


def _checked_url(text: str, what: str, secret: str) -> httpx.URL:
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise SettingsError(f"{what} has characters that no address has")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise SettingsError(f"{what} is no address") from None
    if url.scheme not in {"http", "https"} or not _has_host(url):
        raise SettingsError(f"{what} must start with https:// and a host (http:// for this machine only)")
    if "@" in text.partition("?")[0]:
        raise SettingsError(f"{what} must not hold a user or a password")
    if url.scheme == "http" and not is_loopback(url.host):
        raise SettingsError(f"{what} must start with https://: plain http would show your {secret} to the network")
    return url


def is_loopback(host: str) -> bool:
    """Whether a host is 127.0.0.0/8, ::1 or `localhost`, without DNS.

    IPv4 as IPv6 (`::ffff:127.0.0.1`) is refused: `ipaddress.is_loopback` depends on Python's version, and the system
    decides the target.
    """
    try:
        return any(ip_address(host) in network for network in _LOOPBACK)
    except ValueError:
        return host == "localhost"


def proxy_variable(environ: Mapping[str, str]) -> str | None:
    """Return the set proxy variable, if any."""
    return _first_set(environ, _PROXIES)


def trust_variable(environ: Mapping[str, str]) -> str | None:
    """Return the set variable for trusted certificates; None for the defaults."""
    return _first_set(environ, _TRUST)


def proxy_for(url: httpx.URL, environ: Mapping[str, str]) -> httpx.Proxy | None:
    """Return the proxy for a URL; None if direct, always for loopback."""
    proxy = None if is_loopback(url.host) else _proxy(environ)
    return None if proxy is None or _is_exempt(url.host, url.port or 443, environ) else proxy


def trust_for(url: httpx.URL, environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return the TLS context with the trusted certificates."""
    if url.scheme == "http":
        # Plain HTTP needs no certificates, and reading the default certificates takes 20 ms.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return _trust(environ)


def _has_host(url: httpx.URL) -> bool:
    """Whether host and port are valid; httpx accepts more."""
    try:
        ip_address(url.host)
    except ValueError:
        if not _HOST.fullmatch(url.host):
            return False
    return url.port is None or 0 < url.port < 1 << 16


def _proxy(environ: Mapping[str, str]) -> httpx.Proxy | None:
    variable = proxy_variable(environ)
    if variable is None:
        return None
    value = environ[variable].strip()
    try:
        proxy = httpx.Proxy(value if "://" in value else f"http://{value}")
    except (httpx.InvalidURL, ValueError):
        raise SettingsError(f"{variable} is no usable proxy: write http://host:port") from None
    if not _has_host(proxy.url):
        raise SettingsError(f"{variable} names no host: write http://host:port")
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise SettingsError(f"{variable} names a SOCKS proxy, which needs the package `httpx[socks]`")
    if proxy.url.scheme == "https":
        proxy.ssl_context = _trust(environ)
    return proxy


def _is_exempt(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """Whether `NO_PROXY` lists a host, by curl's rules: `*`, names with subdomains, addresses, networks.

    Every entry is checked, so unusable entries are always reported.
    """
    variable = _first_set(environ, _NO_PROXY)
    entries = environ[variable].lower().replace(",", " ").split() if variable else []
    matches = [_matches(entry, host, port, f"entry {number} of {variable}") for number, entry in enumerate(entries, 1)]
    return any(matches)


def _matches(entry: str, host: str, port: int, what: str) -> bool:
    if entry == "*":
        return True
    try:
        network = ip_network(entry[1:-1] if entry[0] + entry[-1] == "[]" else entry, strict=False)
    except ValueError:
        named = _EXEMPT_NAME.fullmatch(entry)
        if named is None:
            raise SettingsError(f"{what} is neither a host nor an address nor a network") from None
        return f".{host}".endswith(f".{named['name']}") and int(named["port"] or port) == port
    try:
        return ip_address(host) in network
    except ValueError:
        return False


def _trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    variable = trust_variable(environ)
    return _context(variable, environ[variable]) if variable else httpx.create_ssl_context(trust_env=False)


@cache
def _context(variable: str, path: str) -> ssl.SSLContext:
    try:
        if variable == "SSL_CERT_FILE":
            os.close(open_regular(Path(path), limit=CERTIFICATES_BYTES))  # OpenSSL would block on a pipe
            return ssl.create_default_context(cafile=path)
        if not Path(path).is_dir():
            raise SettingsError(f"{variable} names {clean(path, 200)}, which is no folder")
        return ssl.create_default_context(capath=path)
    except OSError as error:
        # OpenSSL's reason would tell a user nothing.
        reason = "holds no PEM certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(f"{variable} names {clean(path, 200)}: {reason}") from None


def _first_set(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if environ.get(name, "").strip()), None)
