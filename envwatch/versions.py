"""Versions of Letta Code: which texts are any, how they are ordered, and which of them are behind.

Pure. What is no version is neither newest nor behind.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from itertools import accumulate
from operator import or_
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.text import Clean
    from envwatch.watch import Watch

VersionKey: TypeAlias = tuple[tuple[int, int, str], ...]
"""The parts of a version, each comparable with any other, and a mark behind the last: above any suffix for a release,
below any further part for a suffix."""

_RELEASE = re.compile(r"v?[0-9]+(?:\.[0-9]+)*")
_VERSION = re.compile(_RELEASE.pattern + r"(?:[-+][!-~]+)?")

_LONGEST: Final = 18
"""Digits of a number that count."""
_ABOVE_NUMBERS: Final = 10**_LONGEST

_WITNESSES: Final = 2
"""Machines that make a version the newest of a fleet."""


def is_release(text: str) -> bool:
    """Whether a text is a version or its beginning, without a suffix."""
    return _RELEASE.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def is_version(text: str) -> bool:
    """Whether a text can be compared as a version."""
    return _VERSION.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def version_key(version: str) -> VersionKey:
    """Return a key that orders versions as semver.org does: 0.9 before 0.34, 1.0-rc1 before 1.0, 1.0+x as 1.0.

    A number within a word counts as one: rc9 before rc10.
    """
    release, _, suffix = version.partition("+")[0].removeprefix("v").partition("-")
    parts = [_part(part, 2, -1) for part in release.split(".")]
    if not suffix:
        return (*parts, (1, 0, ""))
    return (*parts, *(_part(part, 0, _ABOVE_NUMBERS) for part in re.findall(r"[0-9]+|[^0-9.]+", suffix)), (-1, 0, ""))


def _part(part: str, weight: int, word: int) -> tuple[int, int, str]:
    is_number = part.isascii() and part.isdecimal()
    return (weight, int(part[:_LONGEST]), "") if is_number else (weight, word, part)


def newest_version(watches: Iterable[Watch]) -> Clean | None:
    """Return the newest version that two of the machines that are up have reached, by running it or a newer one.

    What a single machine claims is no news: it may be a build of its own, or nonsense. Of one or two machines it is the
    newest that either runs. What runs nowhere, nobody is behind; a bare number is no version here.
    """
    devices: dict[Clean | None, set[Clean]] = defaultdict(set)
    for watch in watches:
        if watch.verdict.is_up:
            devices[watch.environment.version].add(watch.environment.device_id)
    versions = [version for version in devices if version and "." in version and is_version(version)]
    ordered = sorted(versions, key=version_key, reverse=True)
    reached = list(accumulate((devices[version] for version in ordered), or_))
    needed = _WITNESSES if reached and len(reached[-1]) > _WITNESSES else 1
    return next((version for version, by in zip(ordered, reached, strict=True) if len(by) >= needed), None)


def is_behind(version: Clean | None, newest: Clean | None) -> bool:
    """Whether a version is older than the newest of its fleet."""
    return bool(version and newest and is_version(version) and version_key(version) < version_key(newest))
