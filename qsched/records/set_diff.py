"""In what two image sets differ: settings, arms and their recipes, prompts, pictures, versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from qsched.locations import Location
from qsched.records.image_set import ImageRow, Manifest, iter_rows, read_manifest

# Measured while a set is made, so not part of what was asked for.
MEASURED = ("denoiser_bytes", "packed_bytes", "nominal_bytes", "layers_converted", "layers_skipped", "layers_kept")
_SETTINGS = ("backbone", "set_seed", "steps", "width", "height", "n_prompts", "samples")
# About the run and not about the pictures, or compared apart.
_ABOUT_THE_RUN = (
    *("versions", "git_commit", "threads", "machine", "arms", "command", "backbone_licence"),
    *("prompts_file", "limit", "truncated_prompts", "asked_sha256"),
)


@dataclass(frozen=True)
class ValueDifference:
    """One value that differs: its dotted name, and what it is in A and in B (None: it is not there)."""

    name: str
    a: object
    b: object


@dataclass(frozen=True)
class SetDiff:
    """What differs between the image sets A and B.

    settings, arms    values that differ; those of arms that are in both begin with the arm's name
    only_a, only_b    names of arms, then ids of prompts, that one of the sets has
    texts             ids of prompts of both whose text or category differs
    same, other       by arm: places that both sets have a picture for, with the same bytes and with others
    other_batch       how many of the `other` were made in another batch
    missing_a/b       places of arms and prompts of both sets that only the other has a picture for
    versions          (name, values in the rows of A, values in the rows of B) that differ
    """

    settings: tuple[ValueDifference, ...]
    arms: tuple[ValueDifference, ...]
    only_a: tuple[tuple[str, ...], tuple[str, ...]]
    only_b: tuple[tuple[str, ...], tuple[str, ...]]
    texts: tuple[str, ...]
    same: dict[str, int]
    other: dict[str, int]
    other_batch: int
    missing_a: int
    missing_b: int
    versions: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]

    @property
    def is_empty(self) -> bool:
        """True if both sets have the same pictures, made in the same way, whatever software is recorded."""
        found = (self.settings, self.arms, *self.only_a, *self.only_b, self.texts, self.missing_a, self.missing_b)
        return not any(found) and not sum(self.other.values())


def diff_sets(a: Location, b: Location) -> SetDiff:
    """Compare two image sets by manifests and rows; no picture is opened. InputError for what is not one."""
    manifests = read_manifest(a), read_manifest(b)
    rows = list(iter_rows(a)), list(iter_rows(b))
    arms = [[arm.name for arm in manifest.arms] for manifest in manifests]
    prompts = [list(dict.fromkeys(row.prompt_id for row in some)) for some in rows]
    shared_arms = [name for name in arms[0] if name in set(arms[1])]
    shared_prompts = set(prompts[0]) & set(prompts[1])
    pictures = [_by_place(some, shared_arms, shared_prompts) for some in rows]
    both = [(pictures[0][key], pictures[1][key]) for key in pictures[0] if key in pictures[1]]
    other = [(one, two) for one, two in both if one.sha256 != two.sha256]
    return SetDiff(
        settings=tuple(_differences(_settings(manifests[0]), _settings(manifests[1]))),
        arms=tuple(_arm_differences(manifests[0], manifests[1], shared_arms)),
        only_a=(_without(arms[0], arms[1]), _without(prompts[0], prompts[1])),
        only_b=(_without(arms[1], arms[0]), _without(prompts[1], prompts[0])),
        texts=_changed_texts(rows[0], rows[1]),
        same=dict(Counter(one.arm for one, two in both if one.sha256 == two.sha256)),
        other=dict(Counter(one.arm for one, _ in other)),
        other_batch=sum(one.batch != two.batch for one, two in other),
        missing_a=len(pictures[1].keys() - pictures[0].keys()),
        missing_b=len(pictures[0].keys() - pictures[1].keys()),
        versions=tuple(_version_differences(rows[0], rows[1])),
    )


def _by_place(
    rows: Sequence[ImageRow], arms: Sequence[str], prompts: Collection[str]
) -> dict[tuple[str, str, int], ImageRow]:
    chosen = (row for row in rows if row.arm in arms and row.prompt_id in prompts)
    return {(row.arm, row.prompt_id, row.sample_index): row for row in chosen}


def flat(data: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Nested dicts as one with dotted names, so that a difference can be named."""
    found: dict[str, object] = {}
    for key, value in data.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return found


def _settings(manifest: Manifest) -> dict[str, object]:
    provenance = {key: value for key, value in manifest.provenance.items() if key not in _ABOUT_THE_RUN}
    return flat({**{key: getattr(manifest, key) for key in _SETTINGS}, **provenance})


def _differences(a: dict[str, object], b: dict[str, object], prefix: str = "") -> list[ValueDifference]:
    return [ValueDifference(prefix + key, a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key)]


def _arm_differences(a: Manifest, b: Manifest, shared: Sequence[str]) -> list[ValueDifference]:
    about = {*MEASURED, "recipe_hash"}
    recipes = [{arm.name: arm.model_dump(mode="json", exclude=about) for arm in m.arms} for m in (a, b)]
    return [d for name in shared for d in _differences(flat(recipes[0][name]), flat(recipes[1][name]), f"{name}: ")]


def _without(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    there = set(others)
    return tuple(name for name in names if name not in there)


def _changed_texts(a: Sequence[ImageRow], b: Sequence[ImageRow]) -> tuple[str, ...]:
    texts = [{row.prompt_id: (row.prompt, row.category) for row in rows} for rows in (a, b)]
    return tuple(name for name in texts[0] if name in texts[1] and texts[0][name] != texts[1][name])


def _version_differences(
    a: Sequence[ImageRow], b: Sequence[ImageRow]
) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    found: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
    for rows, values in zip((a, b), found, strict=True):
        for row in rows:
            for name, value in {**row.versions, "git commit": row.git_commit or "not recorded"}.items():
                values.setdefault(name, set()).add(value)
    names = list({**found[0], **found[1]})
    pairs = [(name, tuple(sorted(found[0].get(name, ()))), tuple(sorted(found[1].get(name, ())))) for name in names]
    return [pair for pair in pairs if pair[1] != pair[2]]
