"""envwatch: a terminal dashboard for Letta environments. docs/architecture.md describes its packages."""

__version__ = "1.0.0"
