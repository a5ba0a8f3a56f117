"""The prompts of a benchmark: chosen from several files by limit, category or draw, as one file of our own format."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from qsched.bench.spec import PromptSource
from qsched.errors import InputError
from qsched.generation import Prompt, read_prompts
from qsched.tiny.paths import PROMPT_SETS, prompts_path


def choose_prompts(sources: Sequence[PromptSource], *, folder: Path, without: Sequence[Prompt] = ()) -> list[Prompt]:
    """The chosen prompts of all sources, in order; ids get the number of their source if two of them share one.

    folder     paths in benchmark.yaml are relative to it
    without    prompts whose texts are not chosen: coefficients are not fitted to what they are judged by
    """
    texts = frozenset(one.prompt for one in without)
    chosen = [_of(source, folder=folder, without=texts) for source in sources]
    counts = Counter(prompt.prompt_id for prompts in chosen for prompt in prompts)
    if max(counts.values()) == 1:
        return list(itertools.chain.from_iterable(chosen))
    return [
        Prompt(f"{number}-{prompt.prompt_id}", prompt.prompt, prompt.category)
        for number, prompts in enumerate(chosen, start=1)
        for prompt in prompts
    ]


def source_path(source: PromptSource, *, folder: Path) -> Path:
    """Where the prompts of a source are, or should be; a file that is named like a shipped set comes before the set."""
    path = folder / source.file
    if not path.exists() and source.file in PROMPT_SETS:
        return prompts_path(source.file)
    return path


def stand_in_prompts(sources: Sequence[PromptSource], *, folder: Path) -> tuple[list[Prompt], list[str]]:
    """For a plan: the prompts, and those of files that are not here as placeholders, with a sentence about each.

    InputError for a file that is neither here nor has a limit.
    """
    prompts: list[Prompt] = []
    notes = []
    for number, source in enumerate(sources, start=1):
        path = source_path(source, folder=folder)
        if path.exists():
            prompts += [
                Prompt(f"{number}-{one.prompt_id}", one.prompt, one.category) for one in _of(source, folder=folder)
            ]
            continue
        if source.limit is None:
            raise InputError(f"{path} does not exist, so the number of prompts is unknown; write it, or set a limit")
        notes.append(f"prompts: {source.file} is not here, its limit of {source.limit:,} is taken")
        prompts += [Prompt(f"{number}-{place:06d}", "a prompt that is not here") for place in range(source.limit)]
    return prompts, notes


def prompts_text(prompts: Sequence[Prompt]) -> str:
    """The prompts as a file of our own JSON format, one to a line."""
    rows = [
        json.dumps(one.prompt_id, ensure_ascii=False)
        + ": "
        + json.dumps(
            {"prompt": one.prompt, **({} if one.category is None else {"category": one.category})}, ensure_ascii=False
        )
        for one in prompts
    ]
    return "{\n" + ",\n".join(rows) + "\n}\n"


def _of(source: PromptSource, *, folder: Path, without: frozenset[str] = frozenset()) -> list[Prompt]:
    path = source_path(source, folder=folder)
    prompts = [one for one in read_prompts(path, layout=source.format) if one.prompt not in without]
    if not prompts:
        raise InputError(f"every prompt of {path} is among the benchmark's own; calibrate on others")
    if source.draw is not None:
        random.Random(source.draw).shuffle(prompts)
    if source.per_category is not None:
        if bare := next((prompt.prompt_id for prompt in prompts if prompt.category is None), None):
            raise InputError(f"{path}: per_category asks for categories, and prompt {bare} has none; use limit")
        seen: Counter[str | None] = Counter()
        kept = []
        for prompt in prompts:
            seen[prompt.category] += 1
            if seen[prompt.category] <= source.per_category:
                kept.append(prompt)
        prompts = kept
    if source.limit is not None:
        if len(prompts) < source.limit:
            raise InputError(f"{path} has {len(prompts):,} prompts to choose from, and limit asks for {source.limit:,}")
        prompts = prompts[: source.limit]
    return prompts if source.draw is None else sorted(prompts, key=lambda one: one.prompt_id)
