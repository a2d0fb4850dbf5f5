"""The examples of a deployment name only what there is: options of `stackpress serve`, variables, files."""

from __future__ import annotations

import re
import shlex
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

import campaigns.service
from campaigns.cli import app
from campaigns.store import SERVER_VARIABLE
from campaigns.terminal import STORE_VARIABLE

DEPLOY = Path(campaigns.service.__file__).parent / "deploy"


def arguments(command: list[str]) -> None:
    """Parse a command of stackpress as it would be run; raises where there is none such."""
    name, *rest = command
    verb = get_command(app).commands[name]  # type: ignore[attr-defined]
    verb.make_context(name, rest)


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def test_compose_runs_commands_that_there_are() -> None:
    service = compose()["services"]["stackpress"]
    arguments(service["command"])
    assert {STORE_VARIABLE, SERVER_VARIABLE} <= service["environment"].keys()


@pytest.mark.parametrize("unit", ["stackpress.service", "stackpress-backup.service"])
def test_units_run_commands_that_there_are(unit: str) -> None:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / unit)
    command = shlex.split(parser["Service"]["ExecStart"])
    arguments((shlex.split(command[-1])[1:] if command[0] == "/bin/sh" else command)[1:])


def test_every_variable_of_compose_is_in_the_example() -> None:
    named = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    named |= set(compose()["services"]["caddy"]["environment"])
    told = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "env.example").read_text(), re.MULTILINE))
    assert named == told.keys()
    assert not [name for name, value in told.items() if value and re.search("PASSWORD|SECRET|KEY", name)]
