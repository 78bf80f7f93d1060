"""Where the API key and the server's address come from: the environment, else the Letta CLI's login. Only reads.

Owns the order of the sources and the words when there is no usable key. Sends nothing; which addresses are allowed is
`route`'s. A key is a `SecretStr` from here on, and no message repeats it.

The address is the user's word: `LETTA_BASE_URL` holds for a key from either source, as it does in Letta's own tools.
The address in the CLI's settings holds only for the key beside it: a key from the environment never goes there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pydantic_core
from pydantic import SecretStr

from envwatch.route import SettingsError, checked_base_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

KEY: Final = "LETTA_API_KEY"
BASE_URL: Final = "LETTA_BASE_URL"
"""Names that Letta's SDK and CLI read too; the CLI's settings use them as well."""

LETTA_CLOUD: Final = "https://api.letta.com"

LETTA_SETTINGS: Final = Path("~/.letta/settings.json")
"""Where the Letta CLI keeps its login."""

_USABLE: Final = re.compile(r"[\x21-\x7e]{8,512}")

_NO_KEY: Final = (
    f"no API key: make one at https://app.letta.com/api-keys and `export {KEY}=…`, or log in with `letta`; "
    "`envwatch demo` needs none"
)


class AccessError(ValueError):
    """There is no key or address that can be used; the text is one line that says what to do, and never the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to get at a server's listing."""

    key: SecretStr
    base_url: str
    """Allowed by `route`."""
    origin: str
    """Where the key came from, for people; never the key."""


@dataclass(frozen=True, slots=True)
class _Login:
    """What one source holds."""

    key: SecretStr
    base_url: str
    """Unchecked; empty if the source names none."""
    origin: str


def access_of(environ: Mapping[str, str], *, now: float, settings: Path = LETTA_SETTINGS) -> Access:
    """Return the key and the address to use it at.

    Args:
        environ: the process's environment.
        now: our wall clock, milliseconds since the epoch: a login may have expired.
        settings: the Letta CLI's file.

    Raises:
        AccessError: if there is no key, or the one that counts cannot be used.
    """
    login = _login_in_environment(environ) or _login_of_letta(settings, now)
    if login is None:
        raise AccessError(_NO_KEY)
    if not _USABLE.fullmatch(login.key.get_secret_value()):
        raise AccessError(f"the key in {login.origin} is no API key: it must be 8 to 512 characters without spaces")
    named = environ.get(BASE_URL, "").strip()
    try:
        base_url = checked_base_url(named or login.base_url or LETTA_CLOUD)
    except SettingsError as error:
        raise AccessError(f"{error} (see {BASE_URL if named else login.origin})") from None
    return Access(key=login.key, base_url=base_url, origin=login.origin)


def _login_in_environment(environ: Mapping[str, str]) -> _Login | None:
    key = SecretStr(environ.get(KEY, "").strip())
    return _Login(key, "", KEY) if key else None


def _login_of_letta(path: Path, now: float) -> _Login | None:
    """Return the Letta CLI's login, None if it has none.

    Raises:
        AccessError: if the file cannot be read now, or its login has expired: only `letta` may renew that.
    """
    try:
        content = path.expanduser().read_bytes()
    except (FileNotFoundError, NotADirectoryError, RuntimeError):  # the last: nobody knows where home is
        return None
    except OSError as error:
        raise AccessError(f"{path} cannot be read: {error.strerror}; `export {KEY}=…` instead") from None
    try:
        told: JsonValue = pydantic_core.from_json(content)
    except ValueError:
        raise AccessError(f"{path} is half-written or damaged: try again, or `export {KEY}=…`") from None
    settings = told if isinstance(told, dict) else {}
    variables = settings.get("env")
    login = variables if isinstance(variables, dict) else {}
    key, base_url, expires_at = login.get(KEY), login.get(BASE_URL), settings.get("tokenExpiresAt")
    if not isinstance(key, str) or not key.strip():
        return None
    if isinstance(expires_at, (int, float)) and expires_at <= now:
        raise AccessError(f"the login in {path} has expired: run `letta` to log in again, or `export {KEY}=…`")
    return _Login(SecretStr(key.strip()), base_url.strip() if isinstance(base_url, str) else "", str(path))
