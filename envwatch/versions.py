"""Versions of Letta Code: which texts are any, how they are ordered, and which of them are behind.

Pure. What is no version is neither newest nor behind.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.text import Clean
    from envwatch.watch import Watch

VersionKey: TypeAlias = tuple[tuple[int, int, str], ...]
"""The parts of a version, each comparable with any other, and a mark behind the last that sorts above any suffix."""

_RELEASE = re.compile(r"v?[0-9]+(?:\.[0-9]+)*")
_VERSION = re.compile(_RELEASE.pattern + r"(?:[-+][!-~]+)?")


def is_release(text: str) -> bool:
    """Whether a text is a version or its beginning, without a suffix."""
    return _RELEASE.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def is_version(text: str) -> bool:
    """Whether a text can be compared as a version."""
    return _VERSION.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def version_key(version: str) -> VersionKey:
    """Return a key that orders versions as versions: 0.9 before 0.34, 1.0-rc1 before 1.0, 1.0+x as 1.0."""
    release, _, suffix = version.partition("+")[0].removeprefix("v").partition("-")
    parts = [_part(part, 2) for part in release.split(".")]
    return (*parts, *(_part(part, 0) for part in re.findall(r"[0-9]+|[^0-9.]+", suffix)), (1, 0, ""))


def _part(part: str, weight: int) -> tuple[int, int, str]:
    return (weight, int(part[:18]), "") if part.isascii() and part.isdecimal() else (weight, -1, part)


def newest_of(versions: Iterable[Clean | None]) -> Clean | None:
    """Return the newest of some versions, best each of them once; a bare number does not count."""
    candidates = (version for version in versions if version and "." in version and is_version(version))
    return max(candidates, key=version_key, default=None)


def newest_version(watches: Iterable[Watch]) -> Clean | None:
    """Return the newest version among the environments that are up: what runs nowhere, nobody is behind."""
    return newest_of({watch.environment.version for watch in watches if watch.verdict.is_up})


def is_behind(version: Clean | None, newest: Clean | None) -> bool:
    """Whether a version is older than the newest of its fleet."""
    return bool(version and newest and is_version(version) and version_key(version) < version_key(newest))
