"""The API key and the server's address: candidates and order.

Keys are `Secret`s, and no message contains a key. The first candidate with a key counts:

1. `LETTA_API_KEY`
2. the profile's `api_key_env` or `api_key_file`
3. the system's keyring, if `keyring` is installed
4. the Letta CLI's login
5. the person at the terminal

If the file has several profiles and none is chosen, no key is read: its server is unknown.

`LETTA_BASE_URL`, else `base_url`, is the address for any key, as in Letta's tools, within limits:

* A profile's own `base_url` goes before `LETTA_BASE_URL`.
* The key of a profile named on the command line goes before `LETTA_API_KEY`.
* A profile's key, except in `LETTA_API_KEY`, goes only to `base_url` or Letta's server, never to `LETTA_BASE_URL`.
* The address in the CLI's settings holds only for the key next to the address.
"""

from __future__ import annotations

import getpass
import importlib
import re
import signal
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, TypeAlias

import pydantic_core

from envwatch.config.declared import ALTERNATIVES
from envwatch.config.settings import DEFAULT, PROFILE, Settings
from envwatch.files import read_regular, read_secret
from envwatch.letta.network_settings import SettingsError, checked_base_url
from envwatch.model.limits import SETTINGS_BYTES
from envwatch.model.redactor import KEY, ReportedError, Secret
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import JsonValue


BASE_URL: Final = "LETTA_BASE_URL"

LETTA_CLOUD: Final = "https://api.letta.com"

LETTA_SETTINGS: Final = Path("~/.letta/settings.json")

KEYRING_SERVICE: Final = "letta"
KEYRING_USER: Final = "api-key"
"""User name in the keyring, tried after the profile's name."""

_USABLE: Final = re.compile(r"[\x21-\x7e]{8,512}")

_KEY_FILE_BYTES: Final = 4096

KEYS_PAGE: Final = "https://chat.letta.com/preferences/api-keys"

_GET_ONE: Final = f"make one at {KEYS_PAGE} and `export {KEY}=…`, or log in with `letta`; `envwatch demo` needs none"
NO_KEY: Final = f"no API key: {_GET_ONE}"

HELP_WITHOUT_KEY: Final = (
    f"No API key in {KEY}, the keyring, or the login of the Letta CLI.",
    f"  make one     at {KEYS_PAGE}",
    f"  keep it      export {KEY}=…, or log in with `letta`",
    "               or in a file that `envwatch config init` explains",
    "  look around  `envwatch demo` needs none",
)

_GET_ONE_OF_ITS_OWN: Final = (
    f"of several profiles, each needs an api_key_env or api_key_file ({KEY} and {BASE_URL} serve a single profile)"
)


class CredentialsError(ReportedError):
    """An unusable key or address: `problem` and, if known, `remedy`, both without the key."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}: {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


class AddressError(CredentialsError):
    """There is a key, but no usable address."""


class Credentials(NamedTuple):
    """A key and the key's server."""

    key: Secret
    origin: str
    base_url: str = ""
    """The checked address; in a candidate, the unchecked address next to the key, which may be empty."""
    base_url_origin: str = "default"
    file: Path | None = None
    expires_at_ms: float | None = None
    """Time since the epoch; None without an expiry."""
    new_by: str = ""
    """How the next process gets a new key, if this one cannot; empty if the key is looked up again."""


_Address: TypeAlias = tuple[str, str]
"""An unchecked address, possibly empty, and an origin."""

_Candidate: TypeAlias = "tuple[Callable[[], Credentials | None], tuple[_Address, ...]]"
"""A search for a key, and addresses for the key, in order of precedence."""


def read_credentials(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    now_ms: float,
    login_file: Path = LETTA_SETTINGS,
    ask: Callable[[], str] | None = None,
) -> Credentials:
    """Return a profile's key and address.

    `now_ms` is since the epoch. `ask` is None without a person.

    Raises:
        CredentialsError: if there is no key, or the first key cannot be used.
    """
    if (unchosen := unchosen_profiles(settings)) is not None:
        raise unchosen
    candidates = _candidates(settings, environ, partial(_login, login_file, now_ms), ask)
    found = ((key, addresses) for find, addresses in candidates if (key := find()) is not None)
    credentials, addresses = next(found, (None, ()))
    if credentials is None:
        if settings.is_one_of_several:
            raise CredentialsError(f"profile {settings.profile} names no key", _GET_ONE_OF_ITS_OWN)
        raise CredentialsError("no API key", _GET_ONE)
    _check(credentials)
    return _with_address(credentials, (*addresses, (credentials.base_url, credentials.origin)))


def without_key(settings: Settings, environ: Mapping[str, str]) -> Credentials:
    """Return a profile's address with an empty key.

    Raises:
        AddressError: if the address cannot be used.
    """
    variable, configured = _addresses(settings, environ)
    is_chosen_by_file = settings.is_one_of_several or "base_url" in settings.own
    return _with_address(Credentials(Secret(""), ""), (configured,) if is_chosen_by_file else (variable, configured))


def _with_address(credentials: Credentials, addresses: tuple[_Address, ...]) -> Credentials:
    base_url, origin = next(((url, origin) for url, origin in addresses if url), (LETTA_CLOUD, "default"))
    try:
        base_url = checked_base_url(base_url)
    except SettingsError as error:
        raise AddressError(f"{error} (see {origin})") from None
    return credentials._replace(base_url=base_url, base_url_origin=origin)


def _addresses(settings: Settings, environ: Mapping[str, str]) -> tuple[_Address, _Address]:
    variable = environ.get(BASE_URL, "").strip(), BASE_URL
    return variable, (settings.base_url, settings.origin("base_url"))


def _candidates(
    settings: Settings,
    environ: Mapping[str, str],
    login: Callable[[], Credentials | None],
    ask: Callable[[], str] | None,
) -> list[_Candidate]:
    variable, configured = _addresses(settings, environ)
    has_own_key = not settings.own.isdisjoint(ALTERNATIVES["key"])
    # A variable left over from another server must not send a key past the profile's own server.
    addresses = (configured,) if "base_url" in settings.own else (variable, configured)
    # LETTA_BASE_URL belongs to the key in LETTA_API_KEY, even if a profile names that variable.
    own_addresses = (configured,) if has_own_key and settings.api_key_env != KEY else addresses

    in_profile = partial(_key_of_profile, settings, environ)
    in_keyring = partial(_key_in_keyring, settings.profile)
    if settings.is_one_of_several:
        # A shared key or address would go to the servers of all profiles.
        return [(in_profile, (configured,)), (in_keyring, (configured,))]
    table: list[_Candidate] = [
        (lambda: _key_in_variable(environ, KEY), addresses),
        (in_profile, own_addresses),
        (partial(in_keyring, KEYRING_USER), addresses),
        (login, addresses),
        (lambda: _key_of(ask(), "the terminal", new_by="have a new key ready") if ask else None, addresses),
    ]
    return table[1:] if settings.is_by_option and has_own_key else table


def unchosen_profiles(settings: Settings) -> CredentialsError | None:
    """Return an error with the ways to choose, if a profile must be chosen."""
    document = settings.document
    if document is None or settings.origin("profile") != DEFAULT or settings.profile in document.config.profiles:
        return None
    if not (names := list(document.config.profiles)):
        return None
    how = f"choose with --profile {names[0]}, {PROFILE}={names[0]}, or default_profile in the file"
    return CredentialsError(f"no profile is chosen, and {clean(str(document.path))} has {', '.join(names)}", how)


def is_usable(text: str) -> bool:
    """Whether a text may be a key."""
    return _USABLE.fullmatch(text) is not None


def mistake_in_file(path: Path) -> str | None:
    """Return a key file's mistake, or None."""
    try:
        _check(_key_in_file(path))
    except CredentialsError as error:
        return str(error)
    return None


def typed_key() -> str:
    """Return the key typed without an echo; empty at the end of input."""
    with _echo_restored():
        try:
            return getpass.getpass("API key (not shown, and not kept): ")
        except EOFError:
            sys.stderr.write("\n")
            return ""


@contextmanager
def _echo_restored() -> Iterator[None]:
    """Let a fatal signal unwind the stack, so that the terminal echoes again."""

    def end(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup makes SIGHUP ignored
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check(credentials: Credentials) -> None:
    if not is_usable(credentials.key.get_secret_value()):
        remedy = "a key has 8 to 512 characters without spaces"
        raise CredentialsError(f"the key in {credentials.origin} is no API key", remedy)


def _key_of(text: str, origin: str, new_by: str = "") -> Credentials | None:
    return Credentials(key=Secret(text.strip()), origin=origin, new_by=new_by) if text.strip() else None


def _key_in_variable(environ: Mapping[str, str], variable: str) -> Credentials | None:
    return _key_of(environ.get(variable, ""), variable, new_by=f"set {variable}")


def _key_of_profile(settings: Settings, environ: Mapping[str, str]) -> Credentials | None:
    """Return the key in the profile's place, if any.

    An empty place is an error: a different key would be a surprise.
    """
    variable = settings.api_key_env
    if variable is None:
        return None if settings.api_key_file is None else _key_in_file(settings.api_key_file)
    key = _key_in_variable(environ, variable)
    if key is None:
        remedy = f"`export {variable}=…`, the variable of profile {settings.profile}"
        raise CredentialsError("no API key", remedy)
    return key


def _key_in_file(path: Path) -> Credentials:
    name = clean(str(path))
    try:
        content, exposure = read_secret(path, _KEY_FILE_BYTES, "a key file")
    except OSError as error:
        raise CredentialsError(f"the key file {name} cannot be read: {error.strerror}") from None
    if exposure is not None:
        problem, remedy = exposure
        raise CredentialsError(f"the key file {name} {problem}", remedy)
    key = _key_of(content.decode("latin-1"), name)
    if key is None:
        raise CredentialsError(f"the key file {name} is empty")
    return key._replace(file=path)


def _key_in_keyring(*users: str) -> Credentials | None:
    try:
        keyring = importlib.import_module("keyring")
        for user in users:
            text = keyring.get_password(KEYRING_SERVICE, user)
            if isinstance(text, str) and text.strip():
                return _key_of(text, f"the system's keyring ({KEYRING_SERVICE}, {user})")
    except Exception:  # noqa: BLE001 - third-party backends: one that fails in any way counts as absent
        return None
    return None


def _login(path: Path, now_ms: float) -> Credentials | None:
    """Return the key in the Letta CLI's login, if any.

    An expired login is an error: only `letta` may renew logins.
    """
    try:
        content = read_regular(path.expanduser(), limit=SETTINGS_BYTES)
    except (FileNotFoundError, NotADirectoryError, RuntimeError):  # RuntimeError: there is no such home
        return None
    except OSError as error:
        raise CredentialsError(f"{path} cannot be read: {error.strerror}; `export {KEY}=…` instead") from None
    try:
        parsed: JsonValue = pydantic_core.from_json(content)
    except ValueError:
        raise CredentialsError(f"{path} is half-written or damaged", f"try again, or `export {KEY}=…`") from None
    settings = parsed if isinstance(parsed, dict) else {}
    variables = settings.get("env")
    text, base_url = (variables.get(KEY), variables.get(BASE_URL)) if isinstance(variables, dict) else (None, None)
    key = _key_of(text, str(path)) if isinstance(text, str) else None
    end = settings.get("tokenExpiresAt")
    expires_at_ms = end if isinstance(end, (int, float)) else None
    if key is None:
        return None
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        raise CredentialsError(f"the login in {path} has expired", f"run `letta` to log in again, or `export {KEY}=…`")
    return key._replace(
        base_url=base_url.strip() if isinstance(base_url, str) else "",
        file=path.expanduser(),
        expires_at_ms=expires_at_ms,
    )
