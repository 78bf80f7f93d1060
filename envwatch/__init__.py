"""envwatch: a terminal dashboard for Letta environments. docs/architecture.md describes the packages."""

__version__ = "1.1.0"
