"""The drill: back up while people vote, lose everything, restore elsewhere, and go on."""

from __future__ import annotations

import asyncio
import shutil
import stat
import subprocess
import sys

import pytest

from qsched.errors import InputError
from study_server.backup import back_up
from study_server.db.database import Database
from study_server.export import export_votes
from study_server.owner import existing_database, make_settings
from study_server.web.security import read_or_make_secret
from tests.study_server.quality.test_exclusion import check_slots
from tests.study_server.visiting import Visitor, query, serving


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_copy_made_while_people_vote_is_one_moment_and_goes_on_elsewhere(
    settings, database, make_study, tmp_path, monkeypatch
):
    make_study(votes_per_pair=3)
    secret = read_or_make_secret(tmp_path / "study.db.secret")
    running = make_settings(database_url=settings.database_url, data=settings.data_folder)
    folder = tmp_path / "backup"
    async with serving(running) as browser:
        visitors = [await Visitor(browser()).enter() for _ in range(3)]
        voting = asyncio.gather(*(visitor.vote_all(limit=15, wait=None) for visitor in visitors))
        await asyncio.sleep(0.2)
        done = await asyncio.to_thread(back_up, database, folder, data_folder=settings.data_folder)
        await voting
        cookies = visitors[0].client.cookies
    assert done.pictures == 18 and done.has_key, "six prompts in three arms"
    assert [stat.S_IMODE(path.stat().st_mode) & 0o77 for path in (folder, done.database)] == [0, 0]
    copied = Database(settings.model_copy(update={"database_url": f"sqlite:///{done.database}"}))
    expected = export_votes(copied, study="s", path=tmp_path / "before.csv").written
    copied.close()

    database.close()
    for path in tmp_path.glob("study.db*"):
        path.unlink()
    shutil.rmtree(settings.data_folder)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)

    restored = make_settings(database_url=f"sqlite:///{elsewhere / 'study.db'}")
    assert restored.secret_key.get_secret_value() == secret
    again = existing_database(restored.database_url)
    try:
        export_votes(again, study="s", path=tmp_path / "after.csv")
        assert (tmp_path / "after.csv").read_bytes() == (tmp_path / "before.csv").read_bytes()
        check_slots(again)
        async with serving(restored) as browser:
            assert (await browser().get("/healthz")).status_code == 200
            back = browser(cookies=cookies)
            assert (await back.get("/s/s")).status_code == 303, "the person's cookie still opens their place"
            newcomer = await Visitor(browser()).enter()
            await newcomer.vote_all(limit=2)
        assert query(again, "SELECT COUNT(*) FROM votes_table")[0][0] >= expected + 2
    finally:
        again.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_copy_without_its_key_is_a_warning_also_with_quiet(settings, database, tmp_path):
    words = ["admin", "backup", str(tmp_path / "copy"), "--db", settings.database_url, "--quiet"]
    done = subprocess.run([sys.executable, "-m", "qsched", *words], capture_output=True, text=True, check=True)
    assert done.stdout == "" and "there is no key file: keep QSCHED_SECRET_KEY with the copy" in done.stderr


def test_postgresql_is_left_to_its_own_tool_and_no_folder_is_written_over(database, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    words = "pg_dump" if database.dialect == "postgresql" else "is not empty"
    with pytest.raises(InputError, match=words):
        back_up(database, tmp_path / "full")
