"""Several profiles in the real program: on one screen and in one listing, each with separate failures."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support import programs
from support.builders import wire_rows
from support.demo_screen import titles_line
from support.faulty_server import KEY, How, Stop, Where, faulty_server, says, serving, up
from support.pty_terminal import Terminal, environment
from support.shells import is_fresh, modes_after

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.faulty_server import Faulty

SIZES = {"acme": 8, "bolt": 11}


@contextmanager
def two_servers() -> Iterator[dict[str, Faulty]]:
    with (
        serving(lambda now: [up(f"acme-{number}", now) for number in range(SIZES["acme"])]) as acme,
        serving(lambda now: [up(f"bolt-{number}", now) for number in range(SIZES["bolt"])]) as bolt,
    ):
        yield {"acme": acme, "bolt": bolt}


def configured(home: Path, servers: Mapping[str, Faulty], *more: str) -> dict[str, str]:
    """Write a configuration with a profile for each server, and return variables with the keys."""
    lines = ['interval = "1s"', *more]
    for name, server in servers.items():
        lines += [f"[profiles.{name}]", f'base_url = "{server.url}"', f'api_key_env = "{name.upper()}_KEY"']
    (home / "config.toml").write_text("\n".join(lines), encoding="utf-8")
    keys = {f"{name.upper()}_KEY": KEY for name in servers}
    return environment(home, ENVWATCH_CONFIG=str(home / "config.toml"), ENVWATCH_PROFILE=",".join(servers), **keys)


def test_profiles_stand_side_by_side_and_the_end_of_one_leaves_the_other_live(tmp_path: Path) -> None:
    with two_servers() as servers:
        environ = configured(tmp_path, servers)
        with Terminal.of_envwatch(home=tmp_path, columns=140, lines=40, environ=environ) as terminal:
            terminal.wait_for(r"^ acme, bolt .*● 19 on .*live [0-9]s/1s$")
            terminal.wait_for(r"^  STATE    FOR BEAT NAME +PROFILE +MODE ")
            assert profiles_of(terminal) == SIZES
            terminal.press("b")
            terminal.wait_for("PROFILE +2 groups")
            terminal.press("\x1b[27u")
            terminal.wait_for_no("Group by")
            servers["bolt"].shut()
            terminal.wait_for(r"^ bolt: +unreachable: .* (next try in [0-9]+s, r tries now|trying *)$")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
            assert is_fresh(modes_after(terminal.received))
            assert KEY.encode() not in terminal.received
        with Terminal.of_envwatch("--profile", "acme", home=tmp_path, columns=120, environ=environ) as terminal:
            terminal.wait_for("acme · 127.0.0.1")  # the option overrides the variable
            terminal.wait_for("BEAT NAME +MODE")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
        with Terminal.of_envwatch("--profile", "acme,bulk", home=tmp_path, columns=200, environ=environ) as terminal:
            assert terminal.wait_for_end() == 2
            assert "no profile bulk; it has acme, bolt" in terminal.text
            assert terminal.text.strip().count("\n") <= 1
            assert b"\x1b" not in terminal.received


def profiles_of(terminal: Terminal) -> dict[str, int]:
    titles = titles_line(terminal)
    place = terminal.display[titles].index("PROFILE")
    rows = [line for line in terminal.display[titles:] if re.match(r"[▌ ][► ]● ", line)]
    return dict(Counter(line[place:].split()[0] for line in rows))


def test_a_failure_under_one_profile_is_named_beside_the_listing_of_the_other(tmp_path: Path) -> None:
    with two_servers() as servers:
        environ = configured(tmp_path, servers)
        servers["bolt"].break_every_page(says(401, '{"message":"Unauthorized"}'))
        command = [sys.executable, "-m", "envwatch", "list", "-o", "json", "--log-file", "a.log"]
        ended = programs.run(command, environ, folder=tmp_path)
    document, errors = json.loads(ended.stdout), ended.stderr.decode()
    assert ended.returncode == 4
    assert (document["complete"], document["counts"]["total"]) == (False, SIZES["acme"])
    assert {row["profile"] for row in document["environments"]} == {"acme"}
    assert errors.startswith("envwatch: profile bolt: key refused: ")
    assert errors.count("\n") == 1
    assert "Is the key from BOLT_KEY right, and still valid?" in errors
    assert KEY not in errors
    entries = [line.partition("] ")[2] for line in (tmp_path / "a.log").read_text().splitlines()]
    assert [line.partition(": ")[0] for line in entries] == ["info acme", "warning bolt"]


async def test_all_profiles_are_asked_at_once(tmp_path: Path) -> None:
    async with faulty_server(wire_rows(3)) as one, faulty_server(wire_rows(3)) as other:
        for server in (one, other):
            server.break_page(0, Stop(Where.REQUEST, How.HANG))
        limits = ('page_deadline = "300s"', 'walk_deadline = "300s"')
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "envwatch", "list"),
            env=configured(tmp_path, {"one": one, "other": other}, *limits),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            await one.settled(1)
            await other.settled(1)
        finally:
            process.send_signal(signal.SIGINT)
            out, _ = await process.communicate()
        assert (process.returncode, out) == (130, b"")
