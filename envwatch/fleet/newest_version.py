"""The newest version of Letta Code in a profile, which the others are compared with. Pure."""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from operator import or_
from typing import TYPE_CHECKING, Final

from envwatch.model.versions import is_version, version_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.text import SafeText

_MACHINES_NEEDED: Final = 2


def newest_version(environments: Iterable[TrackedEnvironment]) -> SafeText | None:
    """Return the newest version that two of the machines that are up run or exceed.

    A single machine proves nothing: it may run a build of its own, or report nonsense. Of one or two machines it is the
    newest that either runs. Versions that run nowhere do not count, nor does a bare number.
    """
    devices: dict[SafeText | None, set[SafeText]] = defaultdict(set)
    for tracked in environments:
        if tracked.verdict.is_up:
            devices[tracked.environment.version].add(tracked.environment.device_id)
    versions = [version for version in devices if version and "." in version and is_version(version)]
    ordered = sorted(versions, key=version_key, reverse=True)
    reached = list(accumulate((devices[version] for version in ordered), or_))
    needed = _MACHINES_NEEDED if reached and len(reached[-1]) > _MACHINES_NEEDED else 1
    return next((version for version, by in zip(ordered, reached, strict=True) if len(by) >= needed), None)
