"""The output of `envwatch config`: each value with its origin, the mistakes of the file, and a new file.

Returns text; `cli` writes it. Sees only where the key comes from. The new file is made from the schema, so that it
names no setting that does not exist: every setting with its meaning and an example, all commented out.
"""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envwatch.config.schema import CommonSettings, Config, Profile, field_docs
from envwatch.config.settings import DEFAULT_PROFILE, PREFIX, Settings, Sources, mistakes_in_limits, settings_of
from envwatch.config.values import seconds_text
from envwatch.hooks.hook import without_secret
from envwatch.model.limits import Limits
from envwatch.model.text import SafeText, clean, counted, wrapped
from envwatch.views.table.columns import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from envwatch.config.credentials import Credentials
    from envwatch.config.schema import Document


def settings_table(settings: Settings, credentials: Credentials | str, path: Path) -> str:
    """Return a line for each setting: its name, the value, its origin.

    In place of the key and the address there may be the reason why there are none.
    """
    rows = [
        ("config", clean(str(path)), "read" if settings.document else "not there"),
        ("profile", clean(settings.profile), settings.origin("profile")),
    ]
    if isinstance(credentials, str):
        rows.append(("api_key", clean("-"), clean(credentials)))
    else:
        rows.append(("api_key", clean("********"), clean(credentials.origin)))
        rows.append(("base_url", clean(credentials.base_url), clean(credentials.base_url_origin)))
    names = [each.name for each in fields(Settings)]
    how = names[names.index("filter") : names.index("limits")]  # without what names the server and the key
    values = {name: getattr(settings, name) for name in how} | {"sort": settings.sort or PROBLEMS}
    values["blind_after"] = settings.blind_after or False
    ping_url = None if settings.ping_url is None else without_secret(settings.ping_url)
    values |= {"ping_url": ping_url, "ping_url_env": settings.ping_url_env}
    values |= {limit.name: getattr(settings.limits, limit.name) for limit in fields(Limits)}
    values |= {f"keys.{id_}": keys for id_, keys in settings.keys.items()}
    values |= {f"commands.{name}": f"{each.key}: {' '.join(each.run)}" for name, each in settings.commands.items()}
    values |= {f"hooks.{hook.name}": f"{','.join(hook.on)}: {hook.target}" for hook in settings.hooks}
    rows += [(clean(name), _text_of(value), settings.origin(name)) for name, value in values.items()]
    name_width = max(len(name) for name, _, _ in rows)
    value_width = min(max(len(value) for _, value, _ in rows[1:]), 32)
    return "".join(f"{name:<{name_width}}  {value:<{value_width}}  {origin}\n" for name, value, origin in rows)


def mistakes_in(
    document: Document, found: Iterable[SafeText], outside: Callable[[Settings], Iterator[str]]
) -> tuple[SafeText, ...]:
    """Return a line for each mistake of a configuration file, in the file's order.

    To the lines about the file taken alone, `outside` adds what is wrong with a profile's settings beyond it.
    """
    mistakes = dict.fromkeys(found)
    for profile in dict.fromkeys((document.config.default_profile or DEFAULT_PROFILE, *document.config.profiles)):
        settings = settings_of(Sources(document=document), profile, clean("the file"))
        mistakes |= dict.fromkeys(map(clean, (*mistakes_in_limits(settings), *outside(settings))))

    def line_number(mistake: SafeText) -> int:
        number = re.match(r":([0-9]+):", mistake.removeprefix(clean(str(document.path))))
        return int(number[1]) if number else 0

    return tuple(sorted(mistakes, key=line_number))


def checked_text(document: Document, environ: Mapping[str, str]) -> SafeText:
    """Return what was checked of a file without mistakes: settings, profiles, keys, key files, variables."""
    config = document.config
    sections = (config, *config.profiles.values())
    settings = sum(len(section.model_fields_set - {"profiles", "keys", "hooks", "commands"}) for section in sections)
    parts: list[str] = [counted(settings, "setting")]
    if config.profiles:
        parts.append(f"{counted(len(config.profiles), 'profile')} ({', '.join(config.profiles)})")
    if config.keys:
        parts.append(f"the keys of {counted(len(config.keys), 'action')}")
    if config.commands:
        parts.append(f"{counted(len(config.commands), 'command')} ({', '.join(config.commands)})")
    if config.hooks:
        parts.append(counted(len(config.hooks), "hook"))
    if files := sum(section.api_key_file is not None for section in sections):
        parts.append(counted(files, "key file"))
    parts += sorted(name for name, text in environ.items() if name.startswith(PREFIX) and text.strip())
    return clean(f"fine; checked {', '.join(parts)}")


def _text_of(value: object) -> SafeText:
    match value:
        case timedelta():
            text = seconds_text(value.total_seconds())
        case bool():
            text = str(value).lower()
        case tuple():
            text = ",".join(value)
        case _:
            text = "" if value is None else str(value)
    return clean(text) or clean("-")


EXAMPLES: Final[Mapping[str, str]] = {
    "default_profile": '"work"',
    "filter": '"!os:darwin"',
    "columns": '["name", "mode", "version", "branch", "up"]',
    "sort": '"problems"',
    "bell": "true",
    "notify": '"osc9"',
    "title": "false",
    "alert": '"!name:test-*"',
    "alert_after": '"2m"',
    "ephemeral": '"name:ci-*"',
    "blind_after": "false",
    "expect": '["build-1", "build-2"]',
    "expect_file": '"inventory.txt"',
    "timezone": '"Europe/Berlin"',
    "theme": '"envwatch-light"',
    "interval": '"10s"',
    "page_size": "100",
    "online_only": "false",
    "source": '"remote"',
    "user": '"user-1"',
    "online_for": '"2m"',
    "late_after": '"45s"',
    "requests_per_minute": "60",
    "page_deadline": '"10s"',
    "walk_deadline": '"30s"',
    "refused_recheck": '"5m"',
    "max_pages": "2000",
    "max_rows": "200000",
    "history": "false",
    "history_days": "14",
    "history_mb": "256",
    "serve_tokens_file": '"serve-tokens"',
    "serve_name": '"ops-1"',
    "base_url": '"https://letta.example.com"',
    "api_key_env": '"WORK_LETTA_KEY"',
    "api_key_file": '"work.key"',
    "ping_url": '"https://hc-ping.com/0e1d2c3b-4a59-6877-8695-a4b3c2d1e0ff"',
    "ping_url_env": '"WORK_PING_URL"',
}

_HEAD: Final = """\
# The configuration of envwatch. Every setting is optional: remove the # before one to use it.
# `envwatch config validate` checks this file; `envwatch config show` prints what is in force.

"""
_BEFORE_COMMON: Final = """
# Settings up here hold for every profile that does not set them itself.

"""
_PROFILE: Final = """
# A profile: a server, the key for it, and whatever differs from the settings above. `--profile work` chooses it.
# Without any, the key comes from LETTA_API_KEY, the system's keyring, or the login of the Letta CLI.
#[profiles.work]
"""
_KEYS: Final = """
# Keys of your own, by the id of what they do.
#[keys]
#row.explain = "z"
#poll.pause = ["f5", "P"]

# Commands of your own for the row under the cursor, which they find in the variables ENVWATCH_*.
#[commands.ssh]
#key = "S"
#run = ["ssh-to-env"]
#description = "ssh to the machine"

# Hooks: what `envwatch watch --hooks` runs or posts when an incident opens and when it resolves.
#[[hooks]]
#on = ["incident"]
#after = "2m"
#command = ["/usr/local/bin/page", "--quiet"]
"""
_WIDTH: Final = 100


def starter() -> str:
    """Return the content of the file."""
    own = [name for name in Profile.model_fields if name not in CommonSettings.model_fields]
    parts = [_HEAD, *_settings(["default_profile"]), _BEFORE_COMMON, *_settings(CommonSettings.model_fields)]
    return "".join([*parts, _PROFILE, *_settings(own), _KEYS])


def _settings(names: Iterable[str]) -> Iterator[str]:
    docs = field_docs(Config)
    for name in names:
        for line in wrapped(clean(" ".join(docs[name].split())), _WIDTH):  # `clean` would show the ends of its lines
            yield f"# {line}\n"
        yield f"#{name} = {EXAMPLES[name]}\n"
