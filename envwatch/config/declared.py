"""Declarations of a profile's settings: name, type, rule, default, help, example and scope.

Schema, `config show`, `config init`, variables and the table in `docs/configuration.md` derive from the declarations.
The annotation has the type of the merged value, and a rule of `validators` if bounds are not enough. The docstring is
the help. `Limits` declares the core's settings, `ScreenSettings` the screen's. Only `schema` evaluates the annotations,
so this module loads neither pydantic nor the rules.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from envwatch.config.values import duration, whole_number
from envwatch.model.limits import ADVANCED, ALERT_AFTER, BLIND_AFTER, HISTORY_DAYS, HISTORY_MB, SETTABLE, setting
from envwatch.wording.screen_settings import ScreenSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from envwatch.config.validators import (
        BASE_URL,
        FILE,
        FLAG,
        NAMES,
        QUERY,
        SILENCES,
        ZONE,
        duration_or_off,
    )
    from envwatch.deliver.rules import LINE, SECRET_URL, VARIABLE, one_of
    from envwatch.model.redactor import Secret
    from envwatch.model.text import SafeText

SERVER: Final = "server"
_PARTS: Final = ("view", "usual", "endpoint", "record", ADVANCED, SERVER)
"""Parts of the configuration file, in order; settings of `server` have no variable."""


# Each generated method costs time at every start, and only `Settings` has instances.
@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False, match_args=False)
class ProfileSettings(ScreenSettings):
    """A profile's settings except limits, in the order of `config show`."""

    # The empty default stands for the permanent rows.
    alert: Annotated[str, QUERY] = setting("", example='"permanent:yes !name:test-*"', part="view")
    """Filter: these machines page. By default, machines page that were up for nine tenths of the last watched week.
    The others are shown and logged only."""
    alert_after: timedelta = setting(ALERT_AFTER, bounds=(0, 86_400), example='"10m"', part="view")
    """How long a machine must be silent before its loss pages and opens an incident. Under 3 minutes, one outage may
    be several messages."""
    # None stands for `false`.
    blind_after: Annotated[timedelta | None, duration_or_off(1, 86_400)] = setting(
        BLIND_AFTER, example="false", part="view"
    )
    """Blindness of this length opens an incident about envwatch; false: never."""
    expect: Annotated[tuple[SafeText, ...], NAMES] = setting((), example='["build-1", "build-2"]', part="view")
    """Names or device ids of machines that must be there. One that the server does not list is off."""
    expect_file: Annotated[Path | None, FILE] = setting(None, example='"inventory.txt"', part="view")
    """A file with names or device ids for `expect`, one a line; # begins a comment. A relative path starts at this
    file's folder."""
    silences: SILENCES = setting((), example='[{ filter = "os:darwin,win32", hours = "17:00-10:00" }]', part="view")
    """Silences that recur, mostly written as tables `[[silences]]`: a matching machine that goes off in these hours
    pages only if it is still off when they end."""
    timezone: Annotated[str | None, ZONE] = setting(None, example='"Europe/Berlin"', part="view", demo=True)
    """Time zone of recurring silences, clock times and reports; by default, the zone of this machine. Several profiles
    use the zone of the first profile for clock times and reports."""
    online_only: Annotated[bool, FLAG] = setting(default=False, example="false", part="endpoint", option=True)
    """Ask only for machines that the server calls online."""
    source: Annotated[Literal["local", "remote"] | None, one_of("local", "remote")] = setting(
        None, example='"remote"', part="endpoint", option=True
    )
    """Ask only for machines of this kind."""
    user: Annotated[str | None, LINE] = setting(None, example='"user-1"', part="endpoint", option=True)
    """Ask only for machines of this user, by id."""
    history: Annotated[bool, FLAG] = setting(default=True, example="false", part="record", demo=True)
    """Record polls and events in the state folder of this machine."""
    history_days: int = setting(HISTORY_DAYS, bounds=(1, 3650), example="14", part="record", demo=True)
    """Days of history to keep, in addition to today."""
    history_mb: int = setting(HISTORY_MB, bounds=(1, 1_000_000), example="256", part="record")
    """Largest size of this profile's history, in megabytes. The oldest days are deleted first."""
    serve_tokens_file: Annotated[Path | None, FILE] = setting(None, example='"serve-tokens"', part="record")
    """A file of mode 0600 with the viewers' tokens for `envwatch serve`; by default `serve-tokens`. A relative path
    starts at this file's folder."""
    serve_name: Annotated[str | None, LINE] = setting(None, example='"ops-1"', part="record")
    """The name that viewers of `envwatch serve` see on acknowledgements and silences of this machine; by default, the
    machine's name."""
    # The empty default stands for no server in the file.
    base_url: Annotated[str, BASE_URL] = setting("", example='"https://letta.example.com"', part=SERVER)
    """Address of the server: https, or http to this machine."""
    api_key_env: Annotated[str | None, VARIABLE] = setting(
        None, example='"WORK_LETTA_KEY"', part=SERVER, place_of="key"
    )
    """Name of the environment variable with the API key."""
    api_key_file: Annotated[Path | None, FILE] = setting(None, example='"work.key"', part=SERVER, place_of="key")
    """A file of mode 0600 with the API key. A relative path starts at this file's folder."""
    ping_url: Annotated[Secret | None, SECRET_URL] = setting(
        None, example='"https://hc-ping.com/0e1d2c3b-4a59-6877-8695-a4b3c2d1e0ff"', part=SERVER, place_of="address"
    )
    """Address of a dead man's switch. `watch`, `serve` and `record` fetch the address after complete polls, at most
    once a minute."""
    ping_url_env: Annotated[str | None, VARIABLE] = setting(
        None, example='"WORK_PING_URL"', part=SERVER, place_of="address"
    )
    """Name of the environment variable with the address of the dead man's switch, if the address is a secret."""


SETTINGS: Final[Mapping[str, Field[Any]]] = {
    each.name: each
    for each in sorted((*fields(ProfileSettings), *SETTABLE), key=lambda each: _PARTS.index(each.metadata["part"]))
}
"""Settings by name, in the order of the file."""

COMMON: Final = tuple(name for name, each in SETTINGS.items() if each.metadata["part"] != SERVER)
"""Settings with a variable: `ENVWATCH_` and the name in capitals."""

ADVANCED_SETTINGS: Final = tuple(name for name, each in SETTINGS.items() if each.metadata["part"] == ADVANCED)

ALTERNATIVES: Final[Mapping[str, tuple[str, ...]]] = {
    what: tuple(name for name, each in SETTINGS.items() if each.metadata.get("place_of") == what)
    for what in ("key", "address")
}
"""Alternative settings for the place of a value, by the value's noun; a profile has at most a single alternative."""

DEMO_SETTINGS: Final = frozenset(name for name, each in SETTINGS.items() if each.metadata.get("demo"))
"""Settings that the demo reads from file and variables; the rest is about the user's machines."""


def reader_within_bounds(name: str) -> Callable[[object], timedelta | int]:
    """Return the reader of a setting with bounds."""
    declared = SETTINGS[name]
    read = duration if isinstance(declared.default, timedelta) else whole_number
    return read(*declared.metadata["bounds"])
