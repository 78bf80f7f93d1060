"""The file that `envwatch config init` writes: every setting with what it does and an example, all commented out.

Made from the schema, so that it names no setting that does not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envwatch.config.schema import CommonSettings, Config, Profile, field_docs
from envwatch.model.text import clean, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
