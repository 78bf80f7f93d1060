"""Commands that run in the test's process, with a home of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from support.faulty_server import KEY

from envwatch.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Ended(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The only line, on standard error, without the program's name."""
        assert self.out == ""
        assert self.err.startswith("envwatch: ")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("envwatch: ").removesuffix("\n")


@dataclass(frozen=True)
class Envwatch:
    """Calls `envwatch.cli.main`; no output has the key."""

    home: Path
    """Folder of the configuration and of the state, each in `envwatch`."""
    capfd: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def connect(self, url: str, key: str = KEY, **variables: str) -> None:
        """Set the variables of a server for all later commands."""
        for name, value in {"LETTA_API_KEY": key, "LETTA_BASE_URL": url, **variables}.items():
            self.monkeypatch.setenv(name, value)

    def write_config(self, text: str) -> Path:
        """Write the configuration file in the usual place."""
        path = self.home / "envwatch" / "config.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def __call__(self, *arguments: str, **variables: str) -> Ended:
        """Run a command line, with more variables for this command only."""
        with self.monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            code = main(arguments)
        out, err = self.capfd.readouterr()
        assert KEY not in out + err
        return Ended(code, out, err)
