"""What a recording is of."""

from __future__ import annotations

from dataclasses import dataclass

from envwatch.model.text import Clean


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a recording is of."""

    profile: Clean
    """Its name in the settings."""
    base_url: Clean
    """Of the server."""
    version: Clean
    """Of the envwatch that made the file."""
    is_redacted: bool = False

    @property
    def host(self) -> Clean:
        """Host and port of the server."""
        return Clean(self.base_url.partition("://")[2].partition("/")[0])
