"""JAQ = TC + k IQ, image by image."""

from __future__ import annotations

import pytest

from qsched.errors import InputError
from qsched.scoring import Jaq, jaq, load_scorer
from qsched.scoring.clip_scorers import ClipIqa, ClipScore
from tests.scoring.pictures import PROMPTS


def scorers(folder):
    return load_scorer("clipscore", weights=str(folder)), load_scorer("clip-iqa", weights=str(folder))


def test_jaq_adds_k_times_the_quality_to_the_fit():
    assert jaq(0.25, 0.5) == 1.25
    assert jaq(0.25, 0.5, k=0.5) == 0.5


def test_per_image_values_are_kept_and_add_up(clip_folder, pictures):
    tc, iq = scorers(clip_folder)
    scores = Jaq(tc, iq, k=0.5).score(pictures, PROMPTS)
    assert scores.tc == pytest.approx(tc.score(pictures, PROMPTS), abs=1e-6)
    assert scores.iq == pytest.approx(iq.score(pictures, PROMPTS), abs=1e-6)
    assert list(scores.jaq) == [t + 0.5 * i for t, i in zip(scores.tc, scores.iq, strict=True)]


def test_one_clip_pass_serves_both_scorers_and_changes_nothing(clip_folder, pictures):
    tc, iq = scorers(clip_folder)
    calls = []
    original = type(tc.clip).image_features

    def counted(self, images):
        calls.append(len(images))
        return original(self, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tc.clip), "image_features", counted)
        shared = Jaq(tc, iq).score(pictures, PROMPTS)
    assert sum(calls) == len(pictures)
    apart = tc.score(pictures, PROMPTS), iq.score(pictures, PROMPTS)
    assert shared.tc == pytest.approx(apart[0], abs=1e-6) and shared.iq == pytest.approx(apart[1], abs=1e-6)


def test_the_record_states_scorers_versions_scales_and_k(clip_folder):
    record = Jaq(*scorers(clip_folder), k=2.0).record.to_json()
    assert record["k"] == 2.0 and record["tc"]["name"] == "clipscore" and record["iq"]["name"] == "clip-iqa"
    assert "sha256" in record["tc"]["version"] and "0..1" in record["iq"]["scale"]


def test_terms_in_the_wrong_place_or_of_the_wrong_sign_are_refused(clip_folder):
    tc, iq = ClipScore(clip_folder), ClipIqa(clip_folder)
    with pytest.raises(InputError, match="ignores the prompt"):
        Jaq(iq, iq)
    with pytest.raises(InputError, match="one score twice"):
        Jaq(tc, tc)
    with pytest.raises(InputError, match="k is nan"):
        Jaq(tc, iq, k=float("nan"))

    class Lower(ClipIqa):
        @property
        def info(self):
            from dataclasses import replace

            return replace(super().info, higher_is_better=False)

    with pytest.raises(InputError, match="better when lower"):
        Jaq(tc, Lower(clip_folder))
