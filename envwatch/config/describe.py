"""What `envwatch config` tells: each value that holds with its origin, and every mistake of the file.

Owns the words. Writes to nobody: `cli` does. Of the key it knows where it came from and nothing else.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envwatch.config.settings import DEFAULT_PROFILE, Settings, Sources, settings_of
from envwatch.config.values import ConfigError
from envwatch.model.limits import Limits
from envwatch.model.text import Clean, clean
from envwatch.views.columns import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from envwatch.config.credentials import Credentials
    from envwatch.config.schema import Document

_MASKED: Final = Clean("********")
_NOTHING: Final = Clean("-")
_NAMES: Final = ("filter", "columns", "sort", "theme", "bell", "notify", "online_only", "source", "user")


def shown(settings: Settings, credentials: Credentials | str, path: Path) -> str:
    """Return a line for each value that holds: its name, the value, where it came from.

    Args:
        settings: what holds.
        credentials: what was found of key and address, or why nothing was.
        path: of the configuration file.
    """
    is_there = settings.document is not None
    rows = [(Clean("config"), clean(str(path)), Clean("read" if is_there else "not there"))]
    rows.append((Clean("profile"), clean(settings.profile), settings.origin("profile")))
    if isinstance(credentials, str):
        rows.append((Clean("api_key"), _NOTHING, clean(credentials)))
    else:
        rows.append((Clean("api_key"), _MASKED, clean(credentials.origin)))
        rows.append((Clean("base_url"), clean(credentials.base_url), clean(credentials.base_url_origin)))
    values = {name: getattr(settings, name) for name in _NAMES}
    values["sort"] = settings.sort or PROBLEMS
    rows += [(Clean(name), _written(value), settings.origin(name)) for name, value in values.items()]
    for limit in fields(Limits):
        rows.append((Clean(limit.name), _written(getattr(settings.limits, limit.name)), settings.origin(limit.name)))
    for id_, keys in settings.keys.items():
        rows.append((clean(f"keys.{id_}"), clean(",".join(keys)), settings.origin(f"keys.{id_}")))
    name_width = max(len(name) for name, _, _ in rows)
    value_width = min(max(len(value) for _, value, _ in rows[1:]), 32)
    return "".join(f"{name:<{name_width}}  {value:<{value_width}}  {origin}\n" for name, value, origin in rows)


def mistakes_in(document: Document, outside: Callable[[Settings], Iterator[str]]) -> tuple[Clean, ...]:
    """Return a line for each mistake of a configuration file that can be read, in the file's order.

    Args:
        document: the file.
        outside: tells what is wrong with settings beyond the file itself.
    """
    found: dict[Clean, None] = {}
    for profile in dict.fromkeys((document.config.default_profile or DEFAULT_PROFILE, *document.config.profiles)):
        try:
            settings = settings_of(Sources(document=document), profile, Clean("the file"))
        except ConfigError as error:
            found |= dict.fromkeys(error.lines)
        else:
            found |= dict.fromkeys(map(clean, outside(settings)))
    return tuple(sorted(found, key=lambda told: _line_in(told, document.path)))


def schema() -> str:
    """Return the configuration file's JSON schema."""
    from envwatch.config import schema  # noqa: PLC0415 - nothing else here needs it

    return json.dumps(schema.schema(), indent=2, ensure_ascii=False) + "\n"


def _line_in(told: str, path: Path) -> int:
    number = re.match(r":([0-9]+):", told.removeprefix(clean(str(path))))
    return int(number[1]) if number else 0


def _written(value: object) -> Clean:
    match value:
        case timedelta():
            return Clean(f"{value.total_seconds():g}s")
        case bool():
            return Clean(str(value).lower())
        case tuple():
            return clean(",".join(value)) or _NOTHING
        case _:
            return clean("" if value is None else str(value)) or _NOTHING
