"""Where the API key and the server's address come from. Only reads.

Owns the order of the sources and the words when there is no usable key. Sends nothing; which addresses are allowed is
`route`'s. A key is a `SecretStr` from here on, and no message repeats it. The sources, the first that has a key counts:

1. `LETTA_API_KEY`
2. the variable or the file that the profile names (`api_key_env`, `api_key_file`)
3. the system's keyring, if the package `keyring` is there
4. the login of the Letta CLI
5. the person at the terminal, if there is one to ask

The address is the user's word: `LETTA_BASE_URL`, else the configured `base_url`, holds for a key from any source, as it
does in Letta's own tools. So the key in `LETTA_API_KEY` goes to whichever address is configured. Three limits:

* A profile that the command line names goes before the variables with whatever it names itself, be it key or address.
* A key that a profile names itself never goes to `LETTA_BASE_URL`, whoever named the profile: only to the configured
  `base_url`, or else to Letta's own server.
* The address in the CLI's settings holds only for the key beside it: no other key ever goes there.
"""

from __future__ import annotations

import getpass
import importlib
import os
import re
import shlex
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import pydantic_core
from pydantic import SecretStr

from envwatch.model.limits import SETTINGS_BYTES
from envwatch.model.text import clean
from envwatch.sources.letta.network_settings import SettingsError, checked_base_url
from envwatch.storage.redactor import KEY
from envwatch.storage.regular_files import open_regular, read_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import JsonValue

BASE_URL: Final = "LETTA_BASE_URL"
"""A variable that Letta's SDK and CLI read too; the CLI's settings use the name as well."""

LETTA_CLOUD: Final = "https://api.letta.com"

LETTA_SETTINGS: Final = Path("~/.letta/settings.json")
"""Where the Letta CLI keeps its login."""

KEYRING_SERVICE: Final = "letta"
KEYRING_USER: Final = "api-key"
"""Under which names the system's keyring is asked; a profile's own name comes before the user's."""

_USABLE: Final = re.compile(r"[\x21-\x7e]{8,512}")

_KEY_FILE_BYTES: Final = 4096
"""More than any key has, with blanks around it."""

NO_KEY: Final = (
    f"no API key: make one at https://app.letta.com/api-keys and `export {KEY}=…`, or log in with `letta`; "
    "`envwatch demo` needs none"
)

_NO_KEY_OF_ITS_OWN: Final = (
    "profile {} names no key: of several profiles, each needs its own api_key_env or api_key_file "
    f"({KEY} and {BASE_URL} count for one profile alone)"
)


class CredentialsError(ValueError):
    """There is no key or address that can be used; the text is one line that says what to do, and never the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRequest:
    """What a profile says of the key and the address."""

    profile: str = "default"
    api_key_env: str | None = None
    api_key_file: Path | None = None
    base_url: str = ""
    """Empty if it names none."""
    base_url_origin: str = ""
    """Where it does, for people."""
    has_own_key: bool = False
    """Whether the key is named by the profile itself, and not for all profiles."""
    has_own_base_url: bool = False
    """The same of the address."""
    is_by_option: bool = False
    """Whether the command line names the profile."""
    is_one_of_several: bool = False
    """Whether others are watched at the same time: then only what is this profile's own counts, for a key or an address
    that no profile names would go to all of their servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How to get at a server's listing."""

    key: SecretStr
    base_url: str
    """Allowed by `route`."""
    origin: str
    """Where the key came from, for people; never the key."""
    base_url_origin: str = "default"
    """Where the address came from, for people."""


@dataclass(frozen=True, slots=True)
class _Login:
    """What one source holds."""

    key: SecretStr
    origin: str
    base_url: str = ""
    """Unchecked; empty if the source names none."""
    is_of_profile: bool = False
    """Whether the profile itself names it."""


_NOTHING_WANTED: Final = CredentialRequest()


def credentials_of(
    environ: Mapping[str, str],
    *,
    now: float,
    settings: Path = LETTA_SETTINGS,
    wanted: CredentialRequest = _NOTHING_WANTED,
    ask: Callable[[], str] | None = None,
) -> Credentials:
    """Return the key and the address to use it at.

    Args:
        environ: the process's environment.
        now: our wall clock, milliseconds since the epoch: a login may have expired.
        settings: the Letta CLI's file.
        wanted: what the profile says.
        ask: asks the person at the terminal for the key; None where nobody is there to be asked.

    Raises:
        CredentialsError: if there is no key, or the one that counts cannot be used.
    """
    if wanted.is_one_of_several:
        login = _login_of_profile(environ, wanted) or _login_in_keyring(wanted.profile)
    else:
        goes_first = wanted.is_by_option and wanted.has_own_key
        login = (
            (None if goes_first else _login_in_environment(environ, KEY))
            or _login_of_profile(environ, wanted)
            or _login_in_keyring(wanted.profile, KEYRING_USER)
            or _login_of_letta(settings, now)
            or _login_typed(ask)
        )
    if login is None:
        raise CredentialsError(_NO_KEY_OF_ITS_OWN.format(wanted.profile) if wanted.is_one_of_several else NO_KEY)
    _check(login)
    ignores_variable = (
        wanted.is_one_of_several or login.is_of_profile or (wanted.is_by_option and wanted.has_own_base_url)
    )
    addresses = (
        ("" if ignores_variable else environ.get(BASE_URL, "").strip(), BASE_URL),
        (wanted.base_url, wanted.base_url_origin),
        (login.base_url, login.origin),
        (LETTA_CLOUD, "default"),
    )
    named, source = next(address for address in addresses if address[0])
    try:
        base_url = checked_base_url(named)
    except SettingsError as error:
        raise CredentialsError(f"{error} (see {source})") from None
    return Credentials(key=login.key, base_url=base_url, origin=login.origin, base_url_origin=source)


def mistake_in_file(path: Path) -> str | None:
    """Return what keeps a key file from being used, None if nothing does."""
    try:
        _check(_login_in_file(path))
    except CredentialsError as error:
        return str(error)
    return None


def typed_key() -> str:
    """Ask for the key at the terminal without showing it; empty if it is not given.

    Raises:
        KeyboardInterrupt: on ctrl+c.
    """
    with _ends_with_echo():
        try:
            return getpass.getpass("API key (not shown, and not kept): ")
        except EOFError:
            sys.stderr.write("\n")
            return ""


@contextmanager
def _ends_with_echo() -> Iterator[None]:
    """Let a signal that ends us unwind the stack: a terminal without echo is nothing to leave behind."""

    def end(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        # Whoever started us may want one ignored: nohup does.
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check(login: _Login) -> None:
    """Raise unless a key can be one."""
    if not _USABLE.fullmatch(login.key.get_secret_value()):
        raise CredentialsError(
            f"the key in {login.origin} is no API key: it must be 8 to 512 characters without spaces"
        )


def _login_in_environment(environ: Mapping[str, str], name: str) -> _Login | None:
    key = SecretStr(environ.get(name, "").strip())
    return _Login(key, name) if key else None


def _login_of_profile(environ: Mapping[str, str], wanted: CredentialRequest) -> _Login | None:
    """Return what the profile names, None if it names nothing.

    Raises:
        CredentialsError: if there is no key in there: another one would be a surprise.
    """
    if wanted.api_key_env is not None:
        login = _login_in_environment(environ, wanted.api_key_env)
        if login is None:
            raise CredentialsError(
                f"no API key: profile {wanted.profile} wants it in {wanted.api_key_env}, which is not set"
            )
        # In LETTA_API_KEY there is no other key than LETTA_BASE_URL is for.
        return replace(login, is_of_profile=wanted.has_own_key and wanted.api_key_env != KEY)
    if wanted.api_key_file is not None:
        return replace(_login_in_file(wanted.api_key_file), is_of_profile=wanted.has_own_key)
    return None


def _login_in_file(path: Path) -> _Login:
    """Return the key in a file that belongs to us and that nobody else can read."""
    told = clean(str(path))
    try:
        descriptor = open_regular(path)
    except OSError as error:
        raise CredentialsError(f"the key file {told} cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise CredentialsError(f"the key file {told} belongs to somebody else: make one of your own")
        if status.st_mode & 0o077:
            quoted = clean(shlex.quote(str(path)))
            raise CredentialsError(f"the key file {told} can be read by others: `chmod 600 {quoted}`")
        content = os.read(descriptor, _KEY_FILE_BYTES)
    except OSError as error:
        raise CredentialsError(f"the key file {told} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    key = SecretStr(content.decode("latin-1").strip())
    if not key:
        raise CredentialsError(f"the key file {told} is empty")
    return _Login(key, str(told))


def _login_in_keyring(*users: str) -> _Login | None:
    """Return what the system's keyring holds for the first of some users; None if no keyring works."""
    try:
        keyring = importlib.import_module("keyring")
        for user in users:
            key = keyring.get_password(KEYRING_SERVICE, user)
            if isinstance(key, str) and key.strip():
                return _Login(SecretStr(key.strip()), f"the system's keyring ({KEYRING_SERVICE}, {user})")
    except Exception:  # noqa: BLE001 - plug-ins of other people: one that fails in any way is not there
        return None
    return None


def _login_typed(ask: Callable[[], str] | None) -> _Login | None:
    key = SecretStr(ask().strip() if ask else "")
    return _Login(key, "the terminal") if key else None


def _login_of_letta(path: Path, now: float) -> _Login | None:
    """Return the Letta CLI's login, None if it has none.

    Raises:
        CredentialsError: if the file cannot be read now, or its login has expired: only `letta` may renew that.
    """
    try:
        content = read_regular(path.expanduser(), limit=SETTINGS_BYTES)
    except (FileNotFoundError, NotADirectoryError, RuntimeError):  # the last: nobody knows where home is
        return None
    except OSError as error:
        raise CredentialsError(f"{path} cannot be read: {error.strerror}; `export {KEY}=…` instead") from None
    try:
        told: JsonValue = pydantic_core.from_json(content)
    except ValueError:
        raise CredentialsError(f"{path} is half-written or damaged: try again, or `export {KEY}=…`") from None
    settings = told if isinstance(told, dict) else {}
    variables = settings.get("env")
    login = variables if isinstance(variables, dict) else {}
    key, base_url, expires_at = login.get(KEY), login.get(BASE_URL), settings.get("tokenExpiresAt")
    if not isinstance(key, str) or not key.strip():
        return None
    if isinstance(expires_at, (int, float)) and expires_at <= now:
        raise CredentialsError(f"the login in {path} has expired: run `letta` to log in again, or `export {KEY}=…`")
    return _Login(SecretStr(key.strip()), str(path), base_url.strip() if isinstance(base_url, str) else "")
