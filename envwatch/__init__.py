"""envwatch: a terminal dashboard for Letta environments. docs/architecture.md describes its packages."""

__version__ = "0.1.0"
