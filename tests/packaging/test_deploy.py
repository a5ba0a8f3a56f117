"""The templates of deploy/ say what our programs understand. Nothing here starts a container."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import typer
import yaml

from qsched.cli.main import app

DEPLOY = Path(__file__).parents[2] / "deploy"


def parse(words: list[str]) -> None:
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    _, left, _ = command.make_parser(command.context_class(command)).parse_args(words)
    assert not left


def test_every_command_of_ours_is_understood():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    program, *words = compose["services"]["server"]["command"]
    assert program == "qsched"
    parse(words)
    started = re.search(r"^CMD (\[.*\])$", (DEPLOY / "Containerfile").read_text(), re.M)
    assert json.loads(started[1]) == [program, *compose["services"]["server"]["command"][1:]]
    (line,) = re.findall(r"^ExecStart=\S+/qsched (.*)$", (DEPLOY / "qsched.service").read_text(), re.M)
    parse(shlex.split(line))


def test_the_proxy_serves_the_pictures_from_where_the_server_says(tmp_path):
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    nginx = (DEPLOY / "nginx.conf").read_text()
    words = compose["services"]["server"]["command"]
    prefix, data = words[words.index("--accel-prefix") + 1], words[words.index("--data") + 1]
    assert f"location {prefix} {{ internal; alias {data}/; }}" in nginx
    assert f"images:{data}" in compose["services"]["server"]["volumes"]
    assert f"images:{data}:ro" in compose["services"]["proxy"]["volumes"]
    assert set(compose["volumes"]) == {"database", "images"}
    assert nginx.count("{") == nginx.count("}")


def test_nothing_in_them_is_a_secret_or_an_address_of_ours():
    text = "".join(path.read_text() for path in DEPLOY.iterdir())
    assert not re.findall(r"(?:SECRET_KEY|PASSWORD)[=:] *[0-9a-f]{8,}", text)
