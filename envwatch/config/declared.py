"""Declarations of a profile's settings: name, type, rule, default, help, example and scope.

Schema, `config show`, `config init`, variables and the table in `docs/configuration.md` derive from the declarations.
The annotation has the type of the merged value, and a rule of `validators` if bounds are not enough. `Limits` declares
the settings that the core judges by. Without a file and a variable, nothing reads the annotations, and neither pydantic
nor the rules are loaded.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from envwatch.model.limits import ADVANCED, ALERT_AFTER, BLIND_AFTER, HISTORY_DAYS, HISTORY_MB, SETTABLE, setting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from pathlib import Path

    from envwatch.config.validators import (
        BASE_URL,
        COLUMN_LIST,
        FILE,
        FLAG,
        NAMES,
        QUERY,
        QUERY_OF_TABLE,
        SILENCES,
        SORT,
        ZONE,
        duration_or_off,
    )
    from envwatch.deliver.rules import LINE, SECRET_URL, VARIABLE, one_of
    from envwatch.model.redactor import Secret
    from envwatch.model.text import SafeText

SERVER: Final = "server"
_PARTS: Final = ("view", "usual", "endpoint", "record", ADVANCED, SERVER)
"""Parts of the configuration file, in order; settings of `server` have no variable."""


# Each generated method costs time at every start.
@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False, match_args=False)
class ScreenSettings:
    """The settings that the screen reads: first looks and sounds."""

    view: Annotated[str | None, LINE] = setting(
        None,
        "The dashboard's first view: the name of a table `[views.NAME]`, or a built-in view such as `offline`. The "
        "view takes precedence over `filter`, `columns` and `sort`.",
        example='"gpu"',
        part="view",
        option=True,
    )
    filter: Annotated[str, QUERY_OF_TABLE] = setting(
        "",
        "The dashboard's first filter, in the language of the filter box.",
        example='"!os:darwin"',
        part="view",
        option=True,
    )
    # The empty default stands for the columns that fit.
    columns: Annotated[tuple[str, ...], COLUMN_LIST] = setting(
        (),
        "Columns of the table, in order.",
        example='["name", "mode", "version", "branch", "up"]',
        part="view",
        demo=True,
    )
    sort: Annotated[str | None, SORT] = setting(
        None,
        "First sort order: a column, or `losses` (the default) for losses first.",
        example='"mode"',
        part="view",
        demo=True,
    )
    theme: Annotated[str | None, LINE] = setting(
        None,
        "Theme: envwatch-dark, -light, -contrast, -safe, -ansi, or any theme of Textual.",
        example='"envwatch-light"',
        part="usual",
        demo=True,
    )
    bell: Annotated[bool, FLAG] = setting(
        default=False,
        about="Ring the terminal's bell when an incident opens.",
        example="true",
        part="view",
        demo=True,
    )
    notify: Annotated[Literal["off", "osc9", "osc777"], one_of("off", "osc9", "osc777")] = setting(
        "off",
        "Show a desktop notification with the bell, by the escape sequence that your terminal supports.",
        example='"osc9"',
        part="view",
        demo=True,
    )
    title: Annotated[bool, FLAG] = setting(
        default=True,
        about="Show how many machines page, are off or late in the terminal's title.",
        example="false",
        part="view",
        demo=True,
    )


# Only `Settings` has instances.
@dataclass(frozen=True, slots=True, kw_only=True, init=False, repr=False, eq=False, match_args=False)
class ProfileSettings(ScreenSettings):
    """A profile's settings except limits, in the order of `config show`."""

    # The empty default stands for the permanent rows.
    alert: Annotated[str, QUERY] = setting(
        "",
        "Filter: these machines page. By default, machines page that were up for nine tenths of the last watched "
        "week. The others are shown and logged only.",
        example='"permanent:yes !name:test-*"',
        part="view",
    )
    alert_after: timedelta = setting(
        ALERT_AFTER,
        "How long a machine must be silent before its loss pages and opens an incident. Under 3 minutes, one outage"
        " may be several messages.",
        bounds=(0, 86_400),
        example='"10m"',
        part="view",
    )
    # None stands for `false`.
    blind_after: Annotated[timedelta | None, duration_or_off(1, 86_400)] = setting(
        BLIND_AFTER,
        "Blindness of this length opens an incident about envwatch; false: never.",
        example="false",
        part="view",
    )
    expect: Annotated[tuple[SafeText, ...], NAMES] = setting(
        (),
        "Names or device ids of machines that must be there. One that the server does not list is off.",
        example='["build-1", "build-2"]',
        part="view",
    )
    expect_file: Annotated[Path | None, FILE] = setting(
        None,
        "A file with names or device ids for `expect`, one a line; # begins a comment. A relative path starts at "
        "this file's folder.",
        example='"inventory.txt"',
        part="view",
    )
    silences: SILENCES = setting(
        (),
        "Silences that recur, mostly written as tables `[[silences]]`: a matching machine that goes off in these "
        "hours pages only if it is still off when they end.",
        example='[{ filter = "os:darwin,win32", hours = "17:00-10:00" }]',
        part="view",
    )
    timezone: Annotated[str | None, ZONE] = setting(
        None,
        "Time zone of recurring silences, clock times and reports; by default, the zone of this machine. Several "
        "profiles use the zone of the first profile for clock times and reports.",
        example='"Europe/Berlin"',
        part="view",
        demo=True,
    )
    online_only: Annotated[bool, FLAG] = setting(
        default=False,
        about="Ask only for machines that the server calls online.",
        example="false",
        part="endpoint",
        option=True,
    )
    source: Annotated[Literal["local", "remote"] | None, one_of("local", "remote")] = setting(
        None, "Ask only for machines of this kind.", example='"remote"', part="endpoint", option=True
    )
    user: Annotated[str | None, LINE] = setting(
        None, "Ask only for machines of this user, by id.", example='"user-1"', part="endpoint", option=True
    )
    history: Annotated[bool, FLAG] = setting(
        default=True,
        about="Record polls and events in the state folder of this machine.",
        example="false",
        part="record",
        demo=True,
    )
    history_days: int = setting(
        HISTORY_DAYS,
        "Days of history to keep, in addition to today.",
        bounds=(1, 3650),
        example="14",
        part="record",
        demo=True,
    )
    history_mb: int = setting(
        HISTORY_MB,
        "Largest size of this profile's history, in megabytes. The oldest days are deleted first.",
        bounds=(1, 1_000_000),
        example="256",
        part="record",
    )
    serve_tokens_file: Annotated[Path | None, FILE] = setting(
        None,
        "A file of mode 0600 with the viewers' tokens for `envwatch serve`; by default `serve-tokens`. A relative "
        "path starts at this file's folder.",
        example='"serve-tokens"',
        part="record",
    )
    serve_name: Annotated[str | None, LINE] = setting(
        None,
        "The name that viewers of `envwatch serve` see on acknowledgements and silences of this machine; by "
        "default, the machine's name.",
        example='"ops-1"',
        part="record",
    )
    # The empty default stands for no server in the file.
    base_url: Annotated[str, BASE_URL] = setting(
        "", "Address of the server: https, or http to this machine.", example='"https://letta.example.com"', part=SERVER
    )
    api_key_env: Annotated[str | None, VARIABLE] = setting(
        None,
        "Name of the environment variable with the API key.",
        example='"WORK_LETTA_KEY"',
        part=SERVER,
        place_of="key",
    )
    api_key_file: Annotated[Path | None, FILE] = setting(
        None,
        "A file of mode 0600 with the API key. A relative path starts at this file's folder.",
        example='"work.key"',
        part=SERVER,
        place_of="key",
    )
    ping_url: Annotated[Secret | None, SECRET_URL] = setting(
        None,
        "Address of a dead man's switch. `watch`, `serve` and `record` fetch the address after complete polls, at "
        "most once a minute.",
        example='"https://hc-ping.com/0e1d2c3b-4a59-6877-8695-a4b3c2d1e0ff"',
        part=SERVER,
        place_of="address",
    )
    ping_url_env: Annotated[str | None, VARIABLE] = setting(
        None,
        "Name of the environment variable with the address of the dead man's switch, if the address is a secret.",
        example='"WORK_PING_URL"',
        part=SERVER,
        place_of="address",
    )


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
