"""Profile settings that leave out environments, and the effect on other commands: with the real program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.demo_client import KEY
from support.series import Series
from support.serve_program import run, serve_program, tokens_file, upstream
from support.upstream import wait_until

from envwatch.demo.server import Server

if TYPE_CHECKING:
    from pathlib import Path


def test_offline_environments_are_served_whatever_the_dashboard_of_the_profile_hides(tmp_path: Path) -> None:
    tokens_file(tmp_path)
    with Server(60, key=KEY) as demo:
        environ = upstream(tmp_path, demo.base_url, KEY, ENVWATCH_ONLINE_ONLY="true")
        with serve_program(environ, tmp_path) as program:
            wait_until(lambda: program.ask().status == 200, "there is a listing")
            everything = program.ask("/v1/environments?limit=200").json["connections"]
            online = program.ask("/v1/environments?limit=200&onlineOnly=true").json["connections"]
            assert len(everything) >= 60 > len(online) > 0
            assert program.ask(f"/v1/environments/{everything[-1]['deviceId']}").status == 200


def test_what_a_profile_leaves_out_is_said_at_the_start(tmp_path: Path) -> None:
    tokens_file(tmp_path)
    with Server(60, key=KEY) as demo:
        environ = upstream(tmp_path, demo.base_url, KEY, ENVWATCH_SOURCE="local")
        with serve_program(environ, tmp_path) as program:
            wait_until(lambda: program.ask().status == 200, "there is a listing")
            rows = program.ask("/v1/environments?limit=200").json["connections"]
            assert {row["organizationId"] for row in rows} == {"local"}
            assert "envwatch: viewers of profile default see only source = local\n" in program.said


def test_metrics_count_offline_environments_unless_the_command_line_leaves_them_out(tmp_path: Path) -> None:
    with Server(60, key=KEY) as demo:
        environ = upstream(tmp_path, demo.base_url, KEY, ENVWATCH_ONLINE_ONLY="true")
        everything, online = (
            Series.read(run(environ, "metrics", *arguments).stdout).value("envwatch_environments", state="offline")
            for arguments in ((), ("--online-only",))
        )
    assert everything
    assert online == 0
