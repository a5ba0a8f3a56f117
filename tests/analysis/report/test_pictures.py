"""Examples: which items are shown, and pictures that are what the image set says they are."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from analysis.report.subjects.pictures import WHOLE_BYTES, find_examples, load_image_set
from qsched.records import InputError, IntegrityError
from tests.analysis.report.simulated import simulated_votes, write_image_set


def votes_on(items: dict[str, str]) -> pl.DataFrame:
    """Items by prompt; one letter a vote: a and b (the left arm is a), t a tie."""
    answers = {"a": "left", "b": "right", "t": "tie"}
    rows = [
        {"prompt_id": prompt, "sample_index": 0, "left_arm": "a", "right_arm": "b", "choice": answers[letter]}
        for prompt, letters in items.items()
        for letter in letters
    ]
    return pl.DataFrame(rows)


def test_the_most_and_least_agreed_items_are_found_and_small_ones_left_out() -> None:
    frame = votes_on({"all-a": "aaaaa", "split": "aabb", "mostly": "aaab", "two-votes": "aa", "all-tie": "ttttt"})
    most, least = find_examples(frame, None)
    assert [item.prompt_id for item in most] == ["all-a", "mostly", "split"]
    # An item that everybody called a tie is agreed on, but not on a preference: it is in neither list.
    assert least == ()
    assert (most[0].wins_a, most[0].wins_b, most[0].ties) == (5, 0, 0)


def test_an_item_is_one_whichever_side_its_arms_lay_on() -> None:
    frame = votes_on({"p": "aaaa"})
    swapped = frame.with_columns(left_arm=pl.lit("b"), right_arm=pl.lit("a"), choice=pl.lit("right"))
    (item,), _ = find_examples(pl.concat([frame, swapped]), None)
    assert (item.arm_a, item.arm_b, item.wins_a, item.wins_b) == ("a", "b", 8, 0)


def test_the_order_of_rows_does_not_change_the_choice() -> None:
    votes = simulated_votes()
    assert find_examples(votes, None) == find_examples(votes.sample(fraction=1.0, shuffle=True, seed=4), None)


def test_a_picture_that_differs_from_its_row_is_refused(tmp_path: Path) -> None:
    votes = simulated_votes()
    folder = write_image_set(tmp_path / "set", votes, sizes={})
    for path in (folder / "images").iterdir():
        path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(IntegrityError, match="qsched verify"):
        find_examples(votes, load_image_set(folder))


def test_a_missing_picture_is_an_error_that_names_it(tmp_path: Path) -> None:
    votes = simulated_votes()
    folder = write_image_set(tmp_path / "set", votes, sizes={})
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"\.png cannot be read"):
        find_examples(votes, load_image_set(folder))


def test_small_pictures_keep_their_bytes_and_their_size_is_stated(tmp_path: Path) -> None:
    votes = simulated_votes()
    folder = write_image_set(tmp_path / "set", votes, sizes={}, pixels=48)
    most, _ = find_examples(votes, load_image_set(folder))
    for picture in most[0].pictures:
        assert picture.src.startswith("data:image/png;base64,") and not picture.copy
        assert (picture.width, picture.height) == (48, 48)
        assert len(picture.src) < WHOLE_BYTES


def test_votes_of_another_set_show_no_pictures(tmp_path: Path) -> None:
    votes = simulated_votes()
    folder = write_image_set(tmp_path / "set", votes, sizes={})
    other = votes.with_columns(pl.col("prompt_id") + "-other")
    most, least = find_examples(other, load_image_set(folder))
    assert most and all(not item.pictures for item in (*most, *least))


def test_the_item_that_divides_people_most_comes_first_among_the_least_agreed() -> None:
    agreed = {f"agreed-{i}": "aaaaa" for i in range(3)}
    _, least = find_examples(votes_on({**agreed, "near": "aaabb", "split": "aaabbb", "ties": "abtt"}), None)
    assert [item.prompt_id for item in least] == ["split", "near", "ties"]


def test_a_list_shows_each_prompt_once() -> None:
    frame = votes_on({"p": "aaaaaa", "q": "aaaa"})
    other = votes_on({"p": "aaaaaaa"}).with_columns(right_arm=pl.lit("c"))
    most, _ = find_examples(pl.concat([frame, other]), None)
    assert [(item.prompt_id, item.arm_b) for item in most] == [("p", "c"), ("q", "b")]
