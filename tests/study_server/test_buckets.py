"""A study whose image set and pictures are in a bucket: the same pages, the same bytes, and 503 for what is missing."""

from __future__ import annotations

import pytest

from analysis.report.subjects.pictures import ExamplePair, load_image_set, with_pictures
from qsched.errors import InputError
from qsched.locations import all_file_sizes, read_location
from qsched.records import iter_rows
from study_server.media.inspection import check_pictures
from study_server.owner import make_settings
from study_server.studies.creation import create_study
from study_server.studies.design import StudyDesign
from study_server.studies.ownership import delete_study
from tests.study_server.visiting import Visitor, query, serving


@pytest.fixture
def remote_set(bucket, tiny_set):
    out = read_location(f"{bucket}/sets/tiny")
    for name in all_file_sizes(tiny_set):
        (out / name).write_bytes((tiny_set / name).read_bytes())
    return out


@pytest.fixture
def remote_settings(settings, bucket):
    return settings.model_copy(update={"data_folder": read_location(f"{bucket}/pictures")})


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_study_in_a_bucket_is_served_and_its_missing_pictures_are_503(
    remote_settings, database, remote_set, tiny_set
):
    design = StudyDesign(slug="s", title="A test", images=str(remote_set), votes_per_pair=1, repeat_rate=0.0)
    data = remote_settings.data_folder
    made = create_study(database, design, set_folder=remote_set, data_folder=data, progress=lambda _: None)
    assert (made.pairs, made.images) == (12, 12)
    check_pictures(database, data)
    originals = {(tiny_set / row.file_name).read_bytes() for row in iter_rows(tiny_set)}

    async with serving(remote_settings) as browser:
        visitor = await Visitor(browser()).enter()
        await visitor.begin()
        pair = visitor.queue[0]
        sources = [pair[side]["src"] for side in ("left", "right")]
        answers = [await visitor.client.get(source) for source in sources]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert {answer.content.rstrip(b"\0") for answer in answers} <= originals
        assert len({len(answer.content) for answer in answers}) == 1
        assert (await browser().get("/healthz")).status_code == 200

        (data / "s").remove_all()
        other = visitor.queue[1]
        assert (await visitor.client.get(other["left"]["src"])).status_code == 503
        assert (await browser().get("/healthz")).status_code == 503
    with pytest.raises(InputError, match=r"study s: 12 in s3://bucket-.*/pictures/s"):
        check_pictures(database, data)
    delete_study(database, "s", data_folder=data)
    assert query(database, "SELECT COUNT(*) FROM studies") == [(0,)] and all_file_sizes(data) == {}


def test_a_report_shows_pictures_from_a_bucket(remote_set):
    found = load_image_set(remote_set)
    item = ExamplePair("p0", None, 0, "fp32", "w4a4", 3, 1, 0)
    assert [picture.arm for picture in with_pictures(item, found).pictures] == ["fp32", "w4a4"]


def test_a_proxy_cannot_send_pictures_that_are_in_a_bucket(bucket, tmp_path):
    with pytest.raises(InputError, match="a proxy sends files of a folder"):
        make_settings(
            database_url=f"sqlite:///{tmp_path / 's.db'}", data=read_location(f"{bucket}/x"), accel_prefix="/images/"
        )
