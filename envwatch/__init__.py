"""envwatch: a terminal dashboard for Letta environments. docs/architecture.md describes the packages."""

__version__ = "1.0.0"
