"""What a recording is of."""

from __future__ import annotations

from dataclasses import dataclass

from envwatch.model.text import SafeText, composed


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a recording is of."""

    profile: SafeText
    """Its name in the settings."""
    base_url: SafeText
    """Of the server."""
    version: SafeText
    """Of the envwatch that made the file."""
    is_redacted: bool = False

    @property
    def host(self) -> SafeText:
        """Host and port of the server."""
        return composed(self.base_url.partition("://")[2].partition("/")[0])
