"""The templates of deploy/ say what our programs understand. Nothing here starts a container."""

from __future__ import annotations

import getpass
import ipaddress
import json
import re
import shlex
import shutil
import socket
import subprocess
import threading
import time
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml

from hatch_build import PLACES
from qsched.cli.main import app

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


def test_nginx_takes_the_file_and_passes_pages_on(tmp_path):
    """nginx itself reads the file, with addresses and folders of this machine, and forwards to a server."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    with HTTPServer(("127.0.0.1", 0), _Echo) as behind, socket.socket() as probe, socket.socket() as other:
        probe.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, plain = probe.getsockname()[1], other.getsockname()[1]
        probe.close()
        other.close()
        make_certificate(tmp_path)
        (tmp_path / "images").mkdir()
        (tmp_path / "images" / "one.png").write_bytes(b"a picture")
        text = (DEPLOY / "nginx.conf").read_text()
        for theirs, ours in (
            ("user root;", f"user {getpass.getuser()}; pid {tmp_path}/pid;"),
            ("server server:8000", f"server 127.0.0.1:{behind.server_port}"),
            ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            ("listen 80", f"listen 127.0.0.1:{plain}"),
            ("/etc/nginx/tls", str(tmp_path)),
            ("/data/images/", f"{tmp_path}/images/"),
        ):
            assert theirs in text
            text = text.replace(theirs, ours)
        version = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < (1, 25):
            text = text.replace("http2 on;", "")  # from 1.25.1 on; the compose file has 1.28
        (tmp_path / "nginx.conf").write_text(text)
        words = [nginx, "-e", str(tmp_path / "log"), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
        subprocess.run([*words, "-t"], check=True, capture_output=True)
        running = subprocess.Popen([*words, "-g", "daemon off;"])
        threading.Thread(target=behind.serve_forever, daemon=True).start()
        try:
            with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=False) as client:
                page = answering(client, "/s/demo", headers={"X-Forwarded-For": "203.0.113.9"})
                assert page.json()["x-forwarded-for"] == "127.0.0.1"  # what the visitor claims is not passed on
                assert page.json()["x-forwarded-proto"] == "https"
                assert client.get("/accelerated").content == b"a picture"
                assert client.get("/protected/one.png").status_code == 404
                assert client.get("/metrics").status_code == 404
                tried = [client.post("/admin/sign-in").status_code for _ in range(12)]
                assert tried[0] == 200 and tried[-1] == 429
        finally:
            running.terminate()
            running.wait(10)
            behind.shutdown()


class _Echo(BaseHTTPRequestHandler):
    """Answers with the request's headers, and sends one picture as the study server does behind a proxy."""

    def do_GET(self) -> None:
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        if self.path == "/accelerated":
            self.send_header("X-Accel-Redirect", "/protected/one.png")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def answering(client: httpx.Client, path: str, **more: Any) -> httpx.Response:
    """The answer, as soon as nginx listens."""
    for _ in range(100):
        try:
            return client.get(path, **more)
        except httpx.ConnectError:
            time.sleep(0.05)
    raise TimeoutError("nginx does not listen")


def make_certificate(folder: Path) -> None:
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    made = [*shlex.split(words), "-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(["openssl", *made], check=True, capture_output=True)


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
