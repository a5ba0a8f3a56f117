"""Pictures that cannot be shown: the server looks at its own files first, and reports never empty a study."""

from __future__ import annotations

import shutil
import uuid

import pytest

from qsched.errors import InputError
from study_server.errors import NotFound
from study_server.media.inspection import check_pictures
from study_server.studies.ownership import enable_pairs, list_studies, reported_pairs
from study_server.voting import sessions
from tests.conftest import write_image_set
from tests.study_server.visiting import Visitor, query, serving


def report(visitor, pair):
    body = {
        "assignment": pair["token"],
        "problem": "image_missing",
        "tab_token": visitor.tab,
        "idempotency_key": str(uuid.uuid4()),
    }
    return visitor.post("api/report", body)


async def report_all(visitor, *, limit=1000):
    await visitor.begin()
    while visitor.queue and limit:
        limit -= 1
        answer = await report(visitor, visitor.queue.pop(0))
        assert answer.status_code == 200
        body = answer.json()
        visitor.queue.extend(pair for pair in (body["next"], *body["more"]) if pair)


async def test_two_visitors_who_report_everything_empty_nothing(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        for _ in range(2):
            await report_all(await Visitor(browser()).enter(), limit=60)
    assert query(database, "SELECT COUNT(*) FROM pairs WHERE disabled = TRUE") == [(0,)]


async def test_many_visitors_who_report_everything_take_out_a_small_share(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        for _ in range(8):
            await report_all(await Visitor(browser()).enter(), limit=60)
    ((disabled,),) = query(database, "SELECT COUNT(*) FROM pairs WHERE disabled = TRUE")
    assert disabled <= max(1, sessions.MOST_DISABLED * 18)


async def test_a_pair_that_several_people_cannot_see_is_taken_out_shown_to_the_owner_and_can_come_back(
    settings, make_study, database, tmp_path
):
    make_study(images=write_image_set(tmp_path / "one", prompts=1, arms=("a", "b")), votes_per_pair=9)
    disabled = []

    async with serving(settings) as browser:
        same_person = await Visitor(browser()).enter()
        for number in range(sessions.PEOPLE_TO_DISABLE):
            visitor = same_person if number == 0 else await Visitor(browser()).enter()
            await visitor.begin()
            assert (await report(visitor, visitor.queue[0])).status_code == 200
            disabled.append(list_studies(database)[0].disabled)
        assert disabled == [0] * (sessions.PEOPLE_TO_DISABLE - 1) + [1]
        (pair,) = reported_pairs(database, "s")
        assert (pair.disabled, pair.reports) == (True, sessions.PEOPLE_TO_DISABLE)
        assert enable_pairs(database, "s", keys=[pair.pair_key]) == 1
        assert list_studies(database)[0].disabled == 0
        with pytest.raises(NotFound, match="nothing-like-it"):
            enable_pairs(database, "s", keys=["nothing-like-it"])
        for reports in range(1, sessions.PEOPLE_TO_DISABLE):  # counted anew, as many people as before
            visitor = await Visitor(browser()).enter()
            await visitor.begin()
            assert (await report(visitor, visitor.queue[0])).status_code == 200
            (pair,) = reported_pairs(database, "s")
            assert (pair.disabled, pair.reports) == (False, reports)


async def test_a_session_that_reports_much_counts_no_more(settings, make_study, database):
    make_study()

    async with serving(settings) as browser:
        await report_all(await Visitor(browser()).enter(), limit=60)
    ((reports, problems),) = query(database, "SELECT (SELECT COUNT(*) FROM reports), (SELECT SUM(problems) FROM pairs)")
    assert reports > problems == sessions.REPORTS_THAT_COUNT


@pytest.mark.parametrize("harm", ["folder", "file", "content"])
async def test_a_file_that_the_server_cannot_read_is_its_own_fault_and_counts_against_nobody(
    settings, make_study, database, harm, caplog
):
    make_study()
    files = sorted(settings.data_folder.rglob("*.png"))
    if harm == "folder":
        settings.data_folder.rename(settings.data_folder.with_name("unmounted"))
    else:
        for file in files:
            file.unlink() if harm == "file" else file.write_bytes(b"\x89PNG\r\n\x1a\nbroken")

    async with serving(settings) as browser:
        for _ in range(4):
            visitor = await Visitor(browser()).enter()
            await visitor.begin()
            pair = visitor.queue[0]
            if harm != "content":
                picture = await visitor.client.get(pair["left"]["src"])
                assert picture.status_code == 503
            answer = await report(visitor, pair)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "pictures_missing")
    assert query(database, "SELECT COUNT(*) FROM reports") == [(0,)]
    assert query(database, "SELECT SUM(problems) FROM pairs") == [(0,)]
    assert "cannot be shown" in caplog.text


def test_a_server_does_not_start_with_pictures_missing_and_names_the_study_and_the_folder(
    settings, make_study, database
):
    make_study()
    check_pictures(database, settings.data_folder)
    next(settings.data_folder.rglob("*.png")).write_bytes(b"")
    with pytest.raises(InputError, match=r"study s: 1 in .*--data"):
        check_pictures(database, settings.data_folder)
    shutil.rmtree(settings.data_folder)
    with pytest.raises(InputError, match="study s: 18 in"):
        check_pictures(database, settings.data_folder)


async def test_pictures_are_found_where_they_were_put_whatever_the_server_is_told(
    settings, make_study, database, tmp_path
):
    make_study()
    elsewhere = settings.model_copy(update={"data_folder": tmp_path / "another-working-folder"})
    check_pictures(database, elsewhere.data_folder)

    async with serving(elsewhere) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        assert (await visitor.client.get(visitor.queue[0]["left"]["src"])).status_code == 200
