"""Pace and charts, as values."""

from __future__ import annotations

import math

from study_server.admin.charts import HEIGHT, bar_chart
from study_server.admin.progress import HOUR_MS, KEPT_MS, HourCounts, hours_left


def test_time_left_follows_the_pace_and_is_unknown_at_first():
    assert hours_left(100, votes=50, since_ms=0, now=1_800_000) == 1.0
    assert hours_left(100, votes=0, since_ms=None, now=0) is None
    assert hours_left(100, votes=9, since_ms=0, now=60_000) is None
    assert hours_left(0, votes=0, since_ms=None, now=0) == 0.0


def test_a_chart_has_a_common_scale_and_hides_no_value():
    chart = bar_chart([("0", 0), ("1", 1), ("2", 1000)], words="w")
    assert [bar.height for bar in chart.bars] == [0.0, 1.5, HEIGHT] and chart.highest == 1000
    assert bar_chart([], words="w").bars == ()


class Votes:
    """Hours in which voted pairs were handed out, in place of a database; notes which hours were counted."""

    def __init__(self, hours):
        self.hours, self.asked, self.exclusions = hours, [], 0

    def scalar(self, _statement, *, slug):
        assert slug == "s"
        return self.exclusions

    def all(self, _statement, *, study, first, end):
        asked = range((first >> 20) // HOUR_MS, (end >> 20) // HOUR_MS)
        self.asked.append(asked)
        return [(hour, study * self.hours.count(hour)) for hour in set(self.hours) if hour in asked]


def read(counts, votes, at, *, study=1, seconds=math.inf):
    first = at // HOUR_MS - 23
    found = counts.read(votes, study=study, slug="s", first=first, now=at, seconds=seconds)
    return {hour: n for hour, n in found.items() if n}


def test_hours_that_are_over_are_counted_once_in_ten_minutes_and_for_one_study():
    votes, counts = Votes([80, 80, 97, 98, 99, 99, 100]), HourCounts()
    now = 100 * HOUR_MS
    assert read(counts, votes, now) == {80: 2, 97: 1, 98: 1, 99: 2, 100: 1}
    votes.hours += [99, 100, 100]  # a pair of the hour before may be judged in this one
    votes.asked.clear()
    assert read(counts, votes, now + 60_000) == {80: 2, 97: 1, 98: 1, 99: 3, 100: 3}
    assert votes.asked == [range(99, 101)]
    votes.hours.remove(80)  # a lease that ran out was judged after all
    assert read(counts, votes, now + KEPT_MS)[80] == 1
    assert read(counts, votes, now + KEPT_MS, study=2)[80] == 2
    votes.hours += [101]
    votes.asked.clear()
    assert read(counts, votes, 101 * HOUR_MS, study=2)[101] == 2
    assert votes.asked == [range(100, 102), *(range(hour, hour + 1) for hour in range(99, 77, -1))]


def test_hours_that_are_over_are_counted_again_at_once_when_somebody_is_excluded_in_any_process():
    votes, counts = Votes([80, 80, 97]), HourCounts()
    assert read(counts, votes, 100 * HOUR_MS)[80] == 2
    votes.hours.remove(80)
    votes.exclusions += 1
    assert read(counts, votes, 100 * HOUR_MS + 1_000)[80] == 1


def test_a_read_without_time_counts_one_more_hour_and_the_next_one_goes_on():
    votes, counts = Votes([97, 98, 99, 100]), HourCounts()
    assert read(counts, votes, 100 * HOUR_MS, seconds=0) == {98: 1, 99: 1, 100: 1}
    assert read(counts, votes, 100 * HOUR_MS, seconds=0) == {97: 1, 98: 1, 99: 1, 100: 1}
