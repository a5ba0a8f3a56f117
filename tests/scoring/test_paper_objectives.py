"""The paper's objectives: golden values from code that knows nothing of ours, forms, and what is refused."""

from __future__ import annotations

import math

import open_clip
import pytest
import torch

from qsched.errors import InputError, MissingExtraError
from qsched.scoring import Jaq, load_scorer
from qsched.scoring.aq_map import AqMap, nouns_of, spacy_nouns
from qsched.scoring.clip_scorers import ClipIqa, ClipScore100
from qsched.scoring.errors import ScoringError
from qsched.scoring.objectives import OBJECTIVES, find_objective
from qsched.scoring.registry import SCORERS
from tests.scoring.pictures import PROMPTS

NOUNS = {prompt: ["ring", "star"] if number % 2 else ["square"] for number, prompt in enumerate(PROMPTS)}


@pytest.fixture(scope="module")
def plain_clip(clip_folder):
    """The same model by open_clip's own calls."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    return model.eval(), preprocess, open_clip.get_tokenizer(f"local-dir:{clip_folder}")


def unit(vector: torch.Tensor) -> torch.Tensor:
    return vector / vector.norm()


def by_hand(plain_clip, picture, nouns: list[str]) -> float:
    """AQ-Map of one picture, template by template, noun by noun."""
    model, preprocess, tokenize = plain_clip

    def text(word: str) -> torch.Tensor:
        each = [unit(model.encode_text(tokenize([t(word)]))[0]) for t in open_clip.OPENAI_IMAGENET_TEMPLATES]
        return unit(sum(each) / len(each))

    with torch.no_grad():
        image = unit(model.encode_image(preprocess(picture.convert("RGB"))[None])[0])
        cosines = [float(image @ (text(noun) - text(""))) for noun in nouns]
    return sum(1 / (1 + math.exp(-10 * cosine)) for cosine in cosines) / len(nouns)


def test_aq_map_is_what_the_formula_gives_by_hand(clip_folder, plain_clip, pictures):
    scorer = AqMap(clip_folder, nouns=NOUNS.__getitem__)
    ours = scorer.score(pictures, PROMPTS)
    for score, picture, prompt in zip(ours[:3], pictures[:3], PROMPTS[:3], strict=True):
        assert score == pytest.approx(by_hand(plain_clip, picture, NOUNS[prompt]), abs=1e-5)
    assert all(0 < score < 1 for score in ours) and len(set(ours)) == len(ours)


def test_a_prompt_without_a_noun_is_an_error_and_not_a_zero(clip_folder, pictures):
    scorer = AqMap(clip_folder, nouns=lambda prompt: [])
    with pytest.raises(ScoringError, match="no noun in the prompt"):
        scorer.score(pictures[:1], PROMPTS[:1])


def test_nouns_are_those_of_noun_phrases_each_once():
    spacy = pytest.importorskip("spacy")
    words = ["a", "red", "ring", "left", "of", "two", "stars", "and", "a", "ring", "runs"]
    parsed = spacy.tokens.Doc(
        spacy.blank("en").vocab,
        words=words,
        pos=["DET", "ADJ", "NOUN", "ADV", "ADP", "NUM", "NOUN", "CCONJ", "DET", "NOUN", "VERB"],
        deps=["det", "amod", "nsubj", "advmod", "prep", "nummod", "pobj", "cc", "det", "conj", "ROOT"],
        heads=[2, 2, 10, 2, 3, 6, 4, 6, 9, 6, 10],
    )
    assert nouns_of(parsed) == ["ring", "stars"]


def test_a_missing_spacy_or_model_is_said_with_the_line_that_installs_it(monkeypatch):
    pytest.importorskip("spacy")
    with pytest.raises(InputError, match="python -m spacy download no_such_model"):
        spacy_nouns("no_such_model")
    monkeypatch.setitem(__import__("sys").modules, "spacy", None)
    with pytest.raises(MissingExtraError, match="aq-map"):
        spacy_nouns()


def test_the_papers_clipscore_is_forty_times_ours_and_its_logarithm_that_of_the_text(clip_folder, pictures):
    ours = load_scorer("clipscore", weights=str(clip_folder)).score(pictures, PROMPTS)
    hundred = ClipScore100(clip_folder, log=False).score(pictures, PROMPTS)
    assert hundred == pytest.approx([40 * value for value in ours])
    kept = [i for i, value in enumerate(hundred) if value > 0]
    logs = ClipScore100(clip_folder, log=True)
    found = logs.score([pictures[i] for i in kept], [PROMPTS[i] for i in kept])
    assert found == pytest.approx([math.log(hundred[i]) for i in kept])
    with pytest.raises(ScoringError, match="finite"):
        logs.score(pictures[:1], PROMPTS[:1]) if hundred[0] <= 0 else logs_of_zero(logs)


def logs_of_zero(scorer) -> None:
    from qsched.scoring.protocol import checked_scores

    features = torch.zeros(1, 24)
    checked_scores("clipscore:log", scorer.score_features(features, PROMPTS[:1]), ["p"])


def test_hpsv21_may_be_iq_and_a_term_may_not_be_counted_twice(clip_folder, pictures):
    tc, iq = ClipScore100(clip_folder, log=False), AqMap(clip_folder, nouns=NOUNS.__getitem__)
    scores = Jaq(tc, iq, k=2.0).score(pictures[:2], PROMPTS[:2])
    assert scores.jaq == pytest.approx([t + 2 * i for t, i in zip(scores.tc, scores.iq, strict=True)])
    with pytest.raises(InputError, match="one score twice"):
        Jaq(tc, tc)
    with pytest.raises(InputError, match="ignores the prompt"):
        Jaq(ClipIqa(clip_folder), tc)


def test_every_named_objective_is_made_of_scorers_and_unknown_ones_are_refused():
    assert set(OBJECTIVES) == {"paper-clip", "paper-clip-script", "paper-aesthetic", "paper-aesthetic-eval"}
    assert all({one.tc, one.iq} <= set(SCORERS) and one.k == 2.0 for one in OBJECTIVES.values())
    with pytest.raises(InputError, match="choose one of paper-clip"):
        find_objective("jaq")
    for name in ("clipscore:100", "clipscore:log", "aq-map"):
        with pytest.raises(InputError, match="has no default weights"):
            load_scorer(name)
