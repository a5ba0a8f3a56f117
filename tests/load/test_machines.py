"""Two servers in network namespaces of their own, as on two machines: one PostgreSQL, one folder of pictures.

Each has its own network, address and port 8000; they share nothing but the database and the folder. PostgreSQL is
reached by its socket in the file system, which namespaces of networks do not part.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from benchmarks.server_load import Connection
from tests.conftest import write_image_set
from tests.load.annotators import Record, Stubborn, audit, serve
from tests.load.test_workers import postgres

__all__ = ["postgres"]
pytestmark = [pytest.mark.load, pytest.mark.slow, pytest.mark.postgres]
VOTES, PEOPLE, PORT = 9, 24, 8000


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)


@pytest.fixture
def machines() -> Iterator[dict[str, str]]:
    """Two network namespaces by name, each with the address at which this process reaches it."""
    tag = os.getpid() % 200
    made = {f"qs{tag}{letter}": f"10.213.{tag}.{4 * n + 2}" for n, letter in enumerate("ab")}
    try:
        if shutil.which("ip") is None:
            raise FileNotFoundError("the command ip (iproute2) is not installed")
        for name, address in made.items():
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"{name}0", "type", "veth", "peer", "name", "eth0", "netns", name)
            run(
                "ip",
                "address",
                "add",
                f"{address[: address.rindex('.')]}.{int(address.split('.')[-1]) - 1}/30",
                "dev",
                f"{name}0",
            )
            run("ip", "link", "set", f"{name}0", "up")
            for words in (
                ("address", "add", f"{address}/30", "dev", "eth0"),
                ("link", "set", "eth0", "up"),
                ("link", "set", "lo", "up"),
            ):
                run("ip", "-n", name, *words)
    except (OSError, subprocess.CalledProcessError) as error:
        _remove(made)
        # Marked postgres: where QSCHED_REQUIRE_ALL is set, a skip is a failure.
        pytest.skip(f"no network namespaces here (root is needed): {getattr(error, 'stderr', None) or error}")
    yield made
    _remove(made)


def _remove(made: dict[str, str]) -> None:
    for name in made:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", f"{name}0"], check=False, capture_output=True)


async def test_two_machines_give_exactly_the_votes_asked_for_although_one_dies(postgres, machines, tmp_path):
    folder = write_image_set(tmp_path / "set", prompts=16, size=16)
    study = folder / "study.yaml"
    study.write_text(
        f"slug: s\ntitle: Load\nimages: .\nvotes_per_pair: {VOTES}\npairs_per_annotator: null\nmax_minutes: null\n"
        "lease_seconds: 10\nrepeat_rate: 0\n",
        encoding="utf-8",
    )
    record = Record()
    servers = [
        serve(study, postgres, PORT, tmp_path / "images", host=address, within=("ip", "netns", "exec", name))
        for name, address in machines.items()
    ]
    first, second = machines.values()

    try:
        async with asyncio.timeout(150):
            crowds = [Stubborn("s", record) for _ in range(2)]
            doomed = [asyncio.create_task(crowds[0].stay(Connection(first, PORT))) for _ in range(PEOPLE // 2)]
            staying = [asyncio.create_task(crowds[1].stay(Connection(second, PORT))) for _ in range(PEOPLE // 2)]
            while len(record.acknowledged) < 120:
                await asyncio.sleep(0.02)
            servers[0].kill()
            crowds[0].stopped = True
            await asyncio.gather(*doomed)
            await asyncio.gather(*staying)
        audit(postgres, record)
        engine = sa.create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            counts = connection.exec_driver_sql(
                "SELECT COUNT(*) FROM assignments WHERE kind = 'task' AND state = 'voted' AND counted GROUP BY pair_id"
            ).all()
        engine.dispose()
        assert [count for (count,) in counts] == [VOTES] * 48
    finally:
        for server in servers:
            server.kill()
            server.wait()
