"""What `qsched serve` prepares before it serves: nothing at a mistyped path, the stored design of a bare image set."""

from __future__ import annotations

import json
import logging.config

import pytest
from sqlalchemy.engine import make_url

from qsched.errors import InputError, QschedError
from study_server.db.connections import count_connections
from study_server.owner import add_study
from study_server.running import serving
from study_server.running.logs import log_config
from study_server.running.serving import Launch, launch
from study_server.settings import SECRET_VARIABLE
from tests.study_server.visiting import query


@pytest.fixture
def start(database_url, monkeypatch, tmp_path):
    """start(path, votes_per_pair=None) does all of `qsched serve` but the serving; returns what it printed."""
    monkeypatch.setenv(SECRET_VARIABLE, "a secret of the tests, forty characters!")
    monkeypatch.setattr(serving, "_serve", lambda settings, sock, workers, logs: sock.close())

    def run(image_set, votes_per_pair=None):
        said: list[str] = []
        launch(
            Launch(
                image_set=image_set,
                database_url=database_url,
                host="127.0.0.1",
                port=0,
                votes_per_pair=votes_per_pair,
                data=tmp_path / "data",
                allow_simulated=False,
                workers=1,
                secure_cookies=False,
                accel_prefix=None,
                say=said.append,
            )
        )
        return said

    return run


def test_a_bare_image_set_is_served_again_with_the_design_it_was_given(start, database, small_image_set):
    start(small_image_set, votes_per_pair=7)
    start(small_image_set)
    ((design,),) = query(database, "SELECT design FROM studies")
    assert json.loads(design)["votes_per_pair"] == 7
    start(small_image_set, votes_per_pair=7)
    with pytest.raises(InputError, match=r"these keys differ: votes_per_pair.*without --votes-per-pair"):
        start(small_image_set, votes_per_pair=8)


def test_a_study_file_is_always_compared(start, database, small_image_set, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(f"slug: s\ntitle: One\nimages: {small_image_set}\n", encoding="utf-8")
    start(file)
    file.write_text(f"slug: s\ntitle: Two\nimages: {small_image_set}\n", encoding="utf-8")
    with pytest.raises(InputError, match="these keys differ: title"):
        start(file)


def test_the_line_about_export_can_be_used_as_it_stands(start, database, database_url, small_image_set):
    url = make_url(database_url)
    (line,) = [line for line in start(small_image_set) if line.startswith("export them with")]
    assert "***" not in line
    if url.get_backend_name() == "sqlite":
        assert line.endswith(f"--db {database_url}")
    else:
        assert line.endswith("--db (the same database)")


@pytest.mark.parametrize("broken", ["missing.yaml", "folder", "missing-set"])
def test_a_mistyped_path_leaves_no_database_and_no_secret_behind(start, tmp_path, monkeypatch, broken):
    monkeypatch.delenv(SECRET_VARIABLE)
    place = tmp_path / "place"
    place.mkdir()
    file = place / broken
    if broken == "folder":
        file.mkdir()
    elif broken == "missing-set":
        file = place / "study.yaml"
        file.write_text("slug: s\ntitle: t\nimages: nowhere\n", encoding="utf-8")
    before = sorted(place.rglob("*"))
    url = f"sqlite:///{place / 'study.db'}"
    with pytest.raises(QschedError):
        add_study(file, database_url=url, data=None, note=lambda _: None)
    monkeypatch.setattr(serving, "default_database", lambda: url)
    with pytest.raises(QschedError):
        launch(
            Launch(
                image_set=file,
                database_url=None,
                host="127.0.0.1",
                port=0,
                votes_per_pair=None,
                data=None,
                allow_simulated=False,
                workers=1,
                secure_cookies=False,
                accel_prefix=None,
                say=print,
            )
        )
    assert sorted(place.rglob("*")) == before


def test_connections_are_counted_against_what_postgresql_has_left(start, database, small_image_set):
    if database.dialect == "sqlite":
        assert count_connections(database, workers=1) == ""
        return
    assert any("at most 15 connections to PostgreSQL for 1 processes" in line for line in start(small_image_set))
    with pytest.raises(InputError, match=r"needs at most 150000 connections .* Take fewer --workers, raise max_connec"):
        count_connections(database, workers=10_000)


def test_a_line_of_the_log_is_one_json_object_with_its_traceback(capsys):
    logging.config.dictConfig(log_config("json"))
    log = logging.getLogger("study_server.test")
    try:
        try:
            raise ValueError("two\nlines")
        except ValueError:
            log.exception("it %s", "failed")
        line = json.loads(capsys.readouterr().err)
    finally:
        logging.getLogger("study_server").handlers.clear()
        logging.getLogger("study_server").propagate = True
    assert (line["level"], line["logger"], line["message"]) == ("error", "study_server.test", "it failed")
    assert "ValueError: two\nlines" in line["exception"]
