"""envwatch: a terminal dashboard for Letta environments. docs/architecture.md describes the packages."""

__version__ = "2.0.0"
