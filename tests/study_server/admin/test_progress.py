"""Pace and charts, as values."""

from __future__ import annotations

from study_server.admin.charts import HEIGHT, bar_chart
from study_server.admin.progress import hours_left


def test_time_left_follows_the_pace_and_is_unknown_at_first():
    assert hours_left(100, votes=50, since_ms=0, now=1_800_000) == 1.0
    assert hours_left(100, votes=0, since_ms=None, now=0) is None
    assert hours_left(100, votes=9, since_ms=0, now=60_000) is None
    assert hours_left(0, votes=0, since_ms=None, now=0) == 0.0


def test_a_chart_has_a_common_scale_and_hides_no_value():
    chart = bar_chart([("0", 0), ("1", 1), ("2", 1000)], words="w")
    assert [bar.height for bar in chart.bars] == [0.0, 1.5, HEIGHT] and chart.highest == 1000
    assert bar_chart([], words="w").bars == ()
