"""Comparison of Letta Code's versions; a text without a version is neither newest nor behind."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from functools import lru_cache
from itertools import accumulate
from operator import or_
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envwatch.model.text import SafeText

VersionKey: TypeAlias = tuple[tuple[float] | tuple[int, float, str], ...]
"""A version's parts and an end mark, which sorts a release above the release with a suffix."""

_RELEASE = re.compile(r"v?[0-9]+(?:\.[0-9]+)*")
_VERSION = re.compile(_RELEASE.pattern + r"(?:[-+][!-~]+)?")

_ZEROS = re.compile(r"(?:\.0+)+\Z")

_LONGEST: Final = 18


def is_release(text: str) -> bool:
    """Whether a text is a version without a suffix, or a version's beginning."""
    return _RELEASE.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def is_version(text: str) -> bool:
    """Whether a text can be compared as a version."""
    return _VERSION.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def version_key(version: str) -> VersionKey:
    """Return a key in the order of semver.org: 0.9 before 0.34, 1.0-rc1 before 1.0, 1.0+x as 1.0.

    A number within a word counts: rc9 before rc10. A release's final zeros do not: 0.34.0 is 0.34.
    """
    release, _, suffix = version.partition("+")[0].removeprefix("v").partition("-")
    parts = _parts(_ZEROS.sub("", release))
    if not suffix:
        return (*parts, (1,))
    return (*parts, *(_part(part, 0, math.inf) for part in re.findall(r"[0-9]+|[^0-9.]+", suffix)), (-math.inf,))


def end_of_range(version: str) -> VersionKey:
    """Return a key above every version that begins with `version`, also with a suffix or further parts."""
    parts = _parts(version.removeprefix("v")) if is_release(version) else version_key(version)
    return (*parts, (math.inf,))


def _parts(release: str) -> VersionKey:
    return tuple(_part(part, 2, -math.inf) for part in release.split("."))


def _part(part: str, weight: int, word: float) -> tuple[int, float, str]:
    is_number = part.isascii() and part.isdecimal()
    return (weight, int(part[:_LONGEST]), "") if is_number else (weight, word, part)


def is_behind(version: SafeText | None, newest: SafeText | None) -> bool:
    """Whether a version is older than the fleet's newest."""
    return bool(version and newest and is_version(version) and version_key(version) < version_key(newest))


def is_mark_useful(versions: Mapping[SafeText | None, int], newest: SafeText | None) -> bool:
    """Whether fewer than half of the rows with a version are behind, so that a mark tells rows apart.

    `versions` counts the rows by version.
    """
    behind = sum(count for version, count in versions.items() if is_behind(version, newest))
    return 2 * behind < sum(count for version, count in versions.items() if version and is_version(version))


_MACHINES_NEEDED: Final = 2


def newest_version(running: Iterable[tuple[SafeText | None, SafeText]]) -> SafeText | None:
    """Return the newest version that two machines run or exceed; among at most two machines, the newest.

    A single machine may run a special build, or report nonsense. A bare number never counts. `running` has version and
    device of each row that is up.
    """
    devices: dict[SafeText | None, set[SafeText]] = defaultdict(set)
    for version, device in running:
        devices[version].add(device)
    versions = [version for version in devices if version and "." in version and is_version(version)]
    ordered = sorted(versions, key=version_key, reverse=True)
    reached = list(accumulate((devices[version] for version in ordered), or_))
    needed = _MACHINES_NEEDED if reached and len(reached[-1]) > _MACHINES_NEEDED else 1
    return next((version for version, by in zip(ordered, reached, strict=True) if len(by) >= needed), None)
