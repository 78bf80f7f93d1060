"""envwatch: a terminal dashboard that watches Letta environments and can be believed."""

__version__ = "0.1.0"
