"""With several machines on one PostgreSQL, each machine's clock decides leases: one that is wrong must not serve."""

from __future__ import annotations

import re

import pytest

from qsched.errors import InputError
from study_server.db.database import Database
from tests.study_server.visiting import serving


def test_the_clock_of_this_machine_is_compared_with_the_databases(database):
    assert abs(database.clock_skew_ms()) < 1000


@pytest.mark.parametrize("skew_ms", [600_000, -600_000])
async def test_a_machine_whose_clock_is_ten_minutes_off_does_not_serve(settings, make_study, monkeypatch, skew_ms):
    make_study()
    monkeypatch.setattr(Database, "clock_skew_ms", lambda self: skew_ms)

    with pytest.raises(InputError, match=re.escape(f"clock is {skew_ms / 1000:+.1f} s off")):
        async with serving(settings):
            pass
