"""Series as Prometheus reads them: with the official client's parsers, and with promtool if installed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from support.builders import NOW, environment, failed, listed, reading
from support.policies import soon

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause
from envwatch.model.text import SafeText, clean
from envwatch.serve.exposition import LARGEST, NO_HOOKS, OPENMETRICS, TEXT, Polls, exposition, with_poll

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome

PROMTOOL: Final = shutil.which("promtool")
MINUTE: Final = 60_000
DOWN: Final = {"connectionId": None, "lastHeartbeat": None, "podId": None}

needs_promtool: Final = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")


class Series:
    """All samples of an exposition, each once."""

    def __init__(self, samples: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> None:
        self.samples = samples

    @classmethod
    def read(cls, body: bytes, content_type: str = TEXT) -> Series:
        """Read a body; two samples with the same name and labels are an error."""
        families = openmetrics_families if content_type == OPENMETRICS else text_families
        samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for family in families(body.decode()):
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                assert key not in samples
                samples[key] = sample.value
        return cls(samples)

    @classmethod
    def at(
        cls,
        monitor: Monitor,
        polls: Polls,
        now: Clocks,
        largest: int = LARGEST,
        hooks: Mapping[SafeText, bool] = NO_HOOKS,
    ) -> Series:
        """Read the exposition of a moment; both formats must agree."""
        text = cls.read(*exposition(monitor, polls, now, largest=largest, hooks=hooks))
        openmetrics = cls.read(*exposition(monitor, polls, now, largest=largest, hooks=hooks, accept=OPENMETRICS))
        assert text.samples == openmetrics.samples
        return text

    def of(self, name: str) -> list[dict[str, str]]:
        """Return the labels of each sample of a name, unordered."""
        return [dict(labels) for each, labels in self.samples if each == name]

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of the sample whose labels include the given labels, or None."""
        found = [
            value
            for (each, of_each), value in self.samples.items()
            if each == name and labels.items() <= dict(of_each).items()
        ]
        assert len(found) <= 1
        return found[0] if found else None

    def by_id(self, name: str) -> dict[str, float]:
        return {dict(labels)["id"]: value for (each, labels), value in self.samples.items() if each == name}

    @property
    def of_environments(self) -> set[str]:
        return {name for name, labels in self.samples if "id" in dict(labels)}


def complaints_of_promtool(body: bytes) -> str:
    assert PROMTOOL is not None
    checked = subprocess.run([PROMTOOL, "check", "metrics"], input=body, capture_output=True, check=False)
    said = (checked.stdout + checked.stderr).decode()
    return said if said or not checked.returncode else f"exit code {checked.returncode}"


@dataclass
class Watch:
    monitor: Monitor = field(
        default_factory=lambda: Monitor.create({NO_PROFILE: Limits()}, policies=soon(), profile_name=clean("default"))
    )
    polls: Polls = field(default_factory=dict)
    now: float = NOW
    hooks: Mapping[SafeText, bool] = field(default_factory=dict)
    """Whether each hook is failing."""

    def take(self, outcome: Outcome, profile: SafeText = NO_PROFILE) -> Watch:
        self.monitor, _ = self.monitor.apply(profile, outcome, reading(self.now))
        self.polls = with_poll(self.polls, profile, outcome)
        return self

    def poll(self, rows: list[Environment], after: float = 5_000) -> Watch:
        self.now += after
        return self.take(listed(rows, self.now))

    def wait(self, milliseconds: float) -> Watch:
        self.now += milliseconds
        self.monitor, _ = self.monitor.tick(reading(self.now))
        return self

    def series(self, largest: int = LARGEST) -> Series:
        return Series.at(self.monitor, self.polls, reading(self.now), largest, self.hooks)


def rows(count: int, at: float = NOW, *, down: tuple[int, ...] = (), **changes: Any) -> list[Environment]:
    """Return rows `env-01`, `env-02`, …, that beat, or were last seen a minute before `NOW`."""
    beats = {"lastHeartbeat": at - 1_000, "lastSeenAt": at - 1_000}
    lost = {**DOWN, "lastSeenAt": NOW - MINUTE}
    return [environment(f"env-{n:02}", **(beats | changes | (lost if n in down else {}))) for n in range(1, count + 1)]


def eventful() -> Watch:
    """Return a moment with every family: names that attack the format, a mass loss, flapping and missing rows."""
    policies = soon(expect=(clean("backup"),))
    watch = Watch(Monitor.create({NO_PROFILE: Limits()}, policies=policies, profile_name=clean("default")))
    hostile = 'a"} 1\n# EOF\nenvwatch_up{profile="default"} 1\\'
    watch.take(listed([*rows(30), environment("hostile", connectionName=hostile, lastHeartbeat=NOW)]))
    for step in range(14):
        watch.poll([*rows(30, watch.now + 30_000, down=(1,) if step % 2 == 0 else ())], 30_000)
    watch.poll(rows(30, watch.now, down=tuple(range(3, 20)))).wait(11_000)
    watch.hooks = {clean("pager"): True, clean(hostile): False}
    return watch.take(failed(Cause.TIMEOUT, at=watch.now))
