"""Deliveries to a program of the user's own."""

from __future__ import annotations

import os

import pytest
from support.incidents import message

from envwatch.hooks.delivery import Command

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}


def command(*arguments: str) -> Command:
    delivery = Command.model_construct(command=arguments)
    delivery.prepare({"SECRET": "s"}, ENVIRON)
    return delivery


async def test_the_event_comes_on_standard_input_and_in_variables() -> None:
    output = await command("sh", "-c", 'cat; echo " $ENVWATCH_SUMMARY $HOME $SECRET"').send(message())
    assert output == '{"specversion":"1.0","id":"evt-1"} web went offline /nowhere'


@pytest.mark.parametrize("program", ["/nonexistent/page", __file__, "no-such-pager"])
def test_a_program_that_cannot_run_is_a_problem(program: str) -> None:
    ((problem, fix),) = command(program, "--quiet").problems()
    assert problem == f"there is no program {program} that can be run"
    assert fix
    assert [*command("sh").problems()] == []


def test_people_see_the_whole_command() -> None:
    assert command("page", "--quiet").target == "page --quiet"
