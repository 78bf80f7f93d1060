"""`envwatch completion`: the completion scripts that `docs/generate.py` makes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import Exit, Options, Parser, StopError
from envwatch.cli.bootstrap import config_path_for
from envwatch.cli.streams import write
from envwatch.config.values import PROFILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS: Final = {"bash": "envwatch.bash", "zsh": "_envwatch", "fish": "envwatch.fish"}

FOLDER: Final = Path(__file__).parents[1] / "completions"


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Print the script that lets your shell complete commands, options, profiles and the\n"
        "fields of a filter. Make the folder of the example first; for zsh, also write\n"
        "`fpath+=~/.zfunc` in ~/.zshrc, before compinit."
    )
    parser.examples = {
        'eval "$(envwatch completion bash)"': "in ~/.bashrc",
        "envwatch completion zsh > ~/.zfunc/_envwatch": "",
        "envwatch completion fish > ~/.config/fish/completions/envwatch.fish": "",
    }
    parser.add_argument(
        "shell", metavar="SHELL", nargs="?", default=None, choices=tuple(SCRIPTS), help=" or ".join(SCRIPTS)
    )
    parser.add_flag("--profiles", argparse.SUPPRESS)


def run(options: Options) -> int:
    """Print a script, or the profiles' names for a script."""
    if options.profiles:
        write("".join(f"{name}\n" for name in _profiles(options)).encode())
    elif shell := options.shell:
        write((FOLDER / SCRIPTS[shell]).read_bytes())
    else:
        raise StopError(Exit.USAGE, f"name a shell: {', '.join(SCRIPTS)}; see `envwatch completion --help`")
    return Exit.FINE


def _profiles(options: Options) -> Iterator[str]:
    """Yield the profiles' names; none for an unreadable file.

    The schema is not used: importing it would take 0.1 s after each key press.
    """
    import tomllib

    from envwatch.files import read_regular
    from envwatch.model.limits import SETTINGS_BYTES

    path, _ = config_path_for(options)
    try:
        profiles = tomllib.loads(read_regular(path, limit=SETTINGS_BYTES).decode("utf-8-sig")).get("profiles")
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(profiles, dict):
        yield from filter(PROFILE_NAME.fullmatch, profiles)
