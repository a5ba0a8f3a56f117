"""Votes that somebody else counted: tables made by `votes count`, a database or DuckDB, read into `VoteCounts`.

The folder has these parquet or csv files (docs/counts.md): by_annotator, by_prompt, together, intersections. From them
the estimate and its intervals are those of the votes, to rounding: annotators and prompts have the same order and
counts, and what the two-way variance takes from their intersections is in `Together`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse

from analysis.stats.cluster_counts import ClusterCounts, cluster_table
from analysis.stats.counts import CLUSTER_COLUMNS, OUTCOMES, VoteCounts
from analysis.stats.together import Together
from analysis.votes.coded import IntArray, codes
from qsched.records import InputError

KIND = ("left_arm", "right_arm", "choice")
OTHER = ("other_left_arm", "other_right_arm", "other_choice")
#: Files of the folder without their ending: the text columns and the numbers of each.
BY_CLUSTER = {"annotator": "by_annotator", "prompt_id": "by_prompt"}
FILES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **{file: ((column, *KIND), ("votes",)) for column, file in BY_CLUSTER.items()},
    "together": ((*KIND, *OTHER), ("products",)),
    "intersections": (("arm_a", "arm_b"), ("intersections", "decided")),
}


def read_counts(folder: str | Path) -> VoteCounts:
    """The counts of the folder.

    Raises InputError for a file or column that is missing, for a number that is not a whole one of 0 or more, and for
    tables that contradict each other.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"{place} is not a folder. Counts are a folder with {', '.join(FILES)} (docs/counts.md).")
    frames = {name: _read(place, name) for name in FILES}
    found = {column: frames[name] for column, name in BY_CLUSTER.items() if frames[name] is not None}
    if not found:
        raise InputError(f"{place} has neither by_annotator nor by_prompt (.parquet or .csv). See docs/counts.md.")
    arms, keys = _kinds(place, [frame for frame in found.values() if frame is not None])
    counts = _empty(arms, keys)
    totals = {}
    clusters = {}
    for column, frame in found.items():
        if frame is None:
            continue
        labels, code = codes(frame[column])
        slot, votes = _slots(frame, KIND, arms, keys), frame["votes"].to_numpy().astype(np.float64)
        name = CLUSTER_COLUMNS[column]
        clusters[name] = ClusterCounts(name, labels, cluster_table(code, slot, votes, len(labels), 3 * len(keys)))
        totals[column] = np.bincount(slot, votes, 3 * len(keys))
    if len(totals) == 2 and not np.array_equal(totals["annotator"], totals["prompt_id"]):
        odd = int(np.flatnonzero(totals["annotator"] != totals["prompt_id"])[0])
        n = [int(total[odd]) for total in totals.values()]
        raise InputError(
            f"{place}: by_annotator and by_prompt do not count the same votes: {_named(arms, keys, odd)} has {n[0]:,} "
            f"in one and {n[1]:,} in the other. Make both from the same votes."
        )
    outcomes = next(iter(totals.values())).reshape(-1, 3).astype(np.float64)
    counts = replace(counts, outcomes=outcomes, clusters=clusters)
    if len(totals) < 2:
        return counts
    lacking = [name for name in ("together", "intersections") if frames[name] is None]
    if lacking:
        raise InputError(
            f"{place} has no {' and no '.join(lacking)} (.parquet or .csv). Without it the two-way interval is not "
            "known, because an annotator may have judged a prompt twice. docs/counts.md has the query; to give up "
            "prompts, take by_prompt out of the folder."
        )
    return replace(counts, together=_together(place, frames, counts, keys))


def _read(folder: Path, name: str) -> pl.DataFrame | None:
    """The checked table, or None if there is no such file."""
    path = next((p for ending in ("parquet", "csv") if (p := folder / f"{name}.{ending}").is_file()), None)
    if path is None:
        return None
    texts, numbers = FILES[name]
    try:
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    lacking = [column for column in (*texts, *numbers) if column not in frame.columns]
    if lacking:
        raise InputError(f"{path} has no column {lacking[0]!r}; it needs {', '.join((*texts, *numbers))}.")
    given = frame.select(*(pl.col(c).cast(pl.String) for c in texts), *(pl.col(c).cast(pl.String) for c in numbers))
    whole = given.with_columns(pl.col(column).cast(pl.Float64, strict=False) for column in numbers)
    for column in numbers:
        value = pl.col(column)
        bad = (value.is_null() | (value < 0) | (value != value.round()) | ~value.is_finite()).fill_null(True)
        row = whole.select(bad.arg_true()).to_series()
        if len(row):
            shown = given[column][int(row[0])]
            raise InputError(f"{path}: row {row[0] + 1} has {column} {shown!r}; it must be a whole number, 0 or more.")
    # What the sums of a database may have left at zero is nothing.
    frame = whole.filter(pl.any_horizontal(pl.col(column) > 0 for column in numbers))
    twice = frame.select(texts).is_duplicated()
    if twice.any():
        first = frame.select(texts).filter(twice).row(0)
        raise InputError(f"{path}: two rows have {', '.join(str(value) for value in first)}. Add them up (GROUP BY).")
    empty = [column for column in texts if name != "intersections" and frame[column].null_count()]
    if empty:
        raise InputError(f"{path}: column {empty[0]!r} has empty values; every vote needs one.")
    for column in ("choice", "other_choice"):
        if column in texts and not frame[column].is_in(OUTCOMES).all():
            odd = frame.filter(~pl.col(column).is_in(OUTCOMES))[column][0]
            raise InputError(f"{path}: {column} is {odd!r}; counted are {', '.join(OUTCOMES)}, without skips.")
    return frame


def _kinds(folder: Path, frames: list[pl.DataFrame]) -> tuple[tuple[str, ...], IntArray]:
    """The arms, sorted, and the cells that occur: left K + right, ascending."""
    pairs = pl.concat([frame.select("left_arm", "right_arm") for frame in frames]).unique()
    if pairs.is_empty():
        raise InputError(f"{folder}: the tables have no votes.")
    same = pairs.filter(pl.col("left_arm") == pl.col("right_arm"))
    if same.height:
        raise InputError(f"{folder}: votes compare {same['left_arm'][0]!r} with itself. Leave such votes out.")
    arms = tuple(sorted({*pairs["left_arm"].to_list(), *pairs["right_arm"].to_list()}))
    return arms, np.sort(_pair(pairs, "left_arm", "right_arm", arms))


def _pair(frame: pl.DataFrame, left: str, right: str, arms: tuple[str, ...]) -> IntArray:
    place = pl.Series(range(len(arms)), dtype=pl.Int64)
    one, other = (frame[side].replace_strict(list(arms), place, default=-1).to_numpy() for side in (left, right))
    unknown = np.flatnonzero((one < 0) | (other < 0))
    if len(unknown):
        raise InputError(f"{frame.row(int(unknown[0]))}: an arm that no vote of by_annotator or by_prompt has.")
    return np.asarray(one * len(arms) + other, dtype=np.int64)


def _slots(frame: pl.DataFrame, kind: tuple[str, ...], arms: tuple[str, ...], keys: IntArray) -> IntArray:
    """The slot 3 cell + outcome of each row."""
    pair = _pair(frame, kind[0], kind[1], arms)
    cell = np.minimum(np.searchsorted(keys, pair), len(keys) - 1)
    if not np.array_equal(keys[cell], pair):
        row = frame.row(int(np.flatnonzero(keys[cell] != pair)[0]))
        raise InputError(f"{row}: two arms that no vote of by_annotator or by_prompt compares.")
    outcome = frame[kind[2]].replace_strict(list(OUTCOMES), pl.Series(range(3), dtype=pl.Int64)).to_numpy()
    return np.asarray(3 * cell + outcome, dtype=np.int64)


def _named(arms: tuple[str, ...], keys: IntArray, slot: int) -> str:
    left, right = divmod(int(keys[slot // 3]), len(arms))
    return f"{arms[left]} (left) against {arms[right]}, choice {OUTCOMES[slot % 3]},"


def _empty(arms: tuple[str, ...], keys: IntArray) -> VoteCounts:
    c, k = len(keys), len(arms)
    return VoteCounts(arms, keys // k, keys % k, np.ones(c), np.zeros((c, 0)), np.zeros((c, 3)))


def _together(folder: Path, frames: dict[str, pl.DataFrame | None], counts: VoteCounts, keys: IntArray) -> Together:
    products, numbers = frames["together"], frames["intersections"]
    assert products is not None and numbers is not None
    arms, m = counts.arms, 3 * counts.n_cells
    a, b = (_slots(products, kind, arms, keys) for kind in (KIND, OTHER))
    value = products["products"].to_numpy()
    table = sparse.csr_array(sparse.coo_array((value, (a, b)), shape=(m, m)))
    if abs(table - table.T).max() > 0:
        raise InputError(f"{folder}: together is not the same in both directions. Do not leave out one of the two.")
    whole = numbers.filter(pl.col("arm_a").fill_null("") == "")
    pairs = numbers.filter(pl.col("arm_a").fill_null("") != "")
    if whole.height != 1:
        raise InputError(f"{folder}: intersections needs one row without arms, for all votes together.")
    k = counts.n_arms
    by_pair = np.zeros((2, k, k))
    first, second = np.divmod(_pair(pairs, "arm_a", "arm_b", arms), k)
    for part, column in zip(by_pair, ("intersections", "decided"), strict=True):
        np.add.at(part, (first, second), pairs[column].to_numpy())
        np.add.at(part, (second, first), pairs[column].to_numpy())
    found = Together(table, float(whole["intersections"][0]), float(whole["decided"][0]), by_pair[0], by_pair[1])
    _check(folder, found, counts)
    return found


def _check(folder: Path, found: Together, counts: VoteCounts) -> None:
    """What the tables have in common whatever the votes were: n <= sum of n_g^2, of the same parity, and so on."""
    votes, squares = counts.outcomes.ravel(), found.products.diagonal()
    # An intersection is a part of an annotator's votes, and of a prompt's.
    most = np.min([(part.counts**2).sum(axis=0) for part in counts.clusters.values()], axis=0)
    wrong = np.flatnonzero((squares < votes) | ((squares - votes) % 2 != 0) | (squares > most))
    if len(wrong):
        slot, keys = int(wrong[0]), counts.left * counts.n_arms + counts.right
        raise InputError(
            f"{folder}: together has {squares[slot]:,.0f} for {_named(counts.arms, keys, slot)} with "
            f"itself, which {votes[slot]:,.0f} votes cannot give. Make all tables from the same votes."
        )
    # Numbers n_g of 1 or more in g groups: g >= n - sum n_g (n_g - 1) / 2, with equality if none is above 2. And the
    # sum is largest if one group has all the n - g votes beyond the first of each.
    entries = sparse.coo_array(found.products)
    k, low, high = counts.n_arms, np.minimum(counts.left, counts.right), np.maximum(counts.left, counts.right)
    pair = np.repeat(low * k + high, 3)
    same = pair[entries.row] == pair[entries.col]
    squares_of = np.bincount(pair[entries.row][same], entries.data[same], k * k).reshape(k, k)
    votes_of = np.bincount(pair, votes, k * k).reshape(k, k)
    of, decided = np.triu(found.of_pairs), np.triu(found.decided_of_pairs)
    n, total = counts.n_votes, float(found.products.sum())
    fits = (of >= votes_of - (squares_of - votes_of) / 2) & (of <= votes_of) & (decided <= of)
    fits &= ((of > 0) == (votes_of > 0)) & (squares_of - votes_of <= (votes_of - of) * (votes_of - of + 1))
    whole = n - (total - n) / 2 <= found.number <= n and found.decided <= found.number and n**2 <= total * found.number
    whole &= total - n <= (n - found.number) * (n - found.number + 1)
    for part in counts.clusters.values():
        # Each has an intersection or more; only if each has one, the sums of squares are the same.
        groups, squared = int(part.present().sum()), float(np.sum(part.votes**2))
        whole &= groups <= found.number and (total < squared or (total == squared and found.number == groups))
    if not (whole and fits.all()):
        raise InputError(
            f"{folder}: intersections ({found.number:,.0f} in all) does not fit {n:,.0f} votes and the sums of "
            f"products ({total:,.0f}). Make all tables from the same votes."
        )
