"""Asks for the API key at the terminal, where no other place has one: says where to get it, and tries what was typed.

A typed key that the server refuses is asked for again: a dashboard with it would show nothing. It is never shown.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import Exit, StopError
from envwatch.cli.bootstrap import client_for, credentials_for, host_of
from envwatch.cli.streams import print_error
from envwatch.config.credentials import HELP_WITHOUT_KEY, KEYS_PAGE, is_usable, typed_key
from envwatch.model.text import clean, wrapped

if TYPE_CHECKING:
    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.model.text import SafeText

TRIES: Final = 3


def credentials_at_terminal(settings: Settings) -> Credentials:
    """Return key and address for one profile; a key that had to be typed is one that the server does not refuse.

    Raises:
        StopError: if there is no usable key.
    """
    prompt = _Prompt()
    while True:
        asked_before = prompt.asked
        credentials = credentials_for(settings, prompt)
        if prompt.asked == asked_before or (refusal := _refusal(credentials, settings)) is None:
            return credentials
        prompt.reject(refusal)


def _refusal(credentials: Credentials, settings: Settings) -> SafeText | None:
    """Ask the server for one row, and return what it says if it refuses the key."""

    async def ask() -> SafeText | None:
        async with client_for(credentials, replace(settings, limits=replace(settings.limits, page_size=1))) as client:
            return await client.refusal()

    print_error(f"trying it at {host_of(credentials)}")
    return asyncio.run(ask())


class _Prompt:
    """Explains once, then asks until something is typed that may be a key, or nothing at all."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> str:
        if not self.asked:
            for line in HELP_WITHOUT_KEY:
                print_error(line)
        while True:
            self.asked += 1
            text = typed_key().strip()
            if not text or is_usable(text):
                return text
            self.reject("this is no API key: it must be 8 to 512 characters without spaces")

    def reject(self, why: str) -> None:
        """Say what is wrong with the key that was typed; stop if there was the last try for it."""
        if self.asked >= TRIES:
            raise StopError(Exit.AUTHENTICATION, f"{why} Nothing more is asked: make a new key at {KEYS_PAGE}")
        _print_wrapped(f"envwatch: {why}")


def _print_wrapped(text: str) -> None:
    for line in wrapped(clean(text), shutil.get_terminal_size().columns):
        print_error(line)
