"""The training script: its parts are exact, and two steps of each model run, stop and resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from qsched.tiny.render import NUISANCE_DIM  # noqa: E402
from tools.train_tiny.coupling import couple, coupling_directions  # noqa: E402
from tools.train_tiny.damage import DAMAGES, damage  # noqa: E402
from tools.train_tiny.optimiser import orthogonalise  # noqa: E402
from tools.train_tiny.session import Settings, load_checkpoint  # noqa: E402
from tools.train_tiny.words import (  # noqa: E402
    GRAMMAR_WORDS,
    PROMPT_TOKENS,
    build_clip_tokenizer,
    build_t5_tokenizer,
    merge_words,
)


def test_coupled_noise_carries_the_nuisances_and_stays_standard_normal() -> None:
    directions = coupling_directions(8, 16)
    assert torch.allclose(directions @ directions.mT, torch.eye(NUISANCE_DIM), atol=1e-5)
    generator = torch.Generator().manual_seed(0)
    nuisance = torch.rand(3000, NUISANCE_DIM, generator=generator).clamp(1e-3, 1 - 1e-3)
    noise = couple(torch.randn(3000, 8, 16, 16, generator=generator), nuisance, directions)
    read_back = torch.special.ndtr(noise.flatten(1) @ directions.mT)
    assert torch.allclose(read_back, nuisance, atol=1e-3)
    assert abs(float(noise.mean())) < 2e-3 and abs(float(noise.std()) - 1) < 2e-3
    covariance = torch.cov(noise.flatten(1)[:, :64].mT)
    assert float((covariance - torch.eye(64)).abs().max()) < 0.12


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    for shape in ((4, 24, 64), (4, 64, 24)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape, generator=torch.Generator().manual_seed(1))))
        assert float(values.min()) > 0.6 and float(values.max()) < 1.3


def test_each_grammar_word_is_one_token_and_the_longest_caption_fits() -> None:
    longest = "a small red checkered triangle right of a large blue checkered triangle on a white background"
    for tokenizer in (build_clip_tokenizer(), build_t5_tokenizer()):
        assert all(len(tokenizer.tokenize(word)) == 1 for word in GRAMMAR_WORDS)
        assert len(tokenizer(longest).input_ids) <= PROMPT_TOKENS


def test_the_shipped_tokenizers_give_each_word_the_id_that_training_gave_it() -> None:
    """A word whose id changes between training and shipping is silently another word."""
    from transformers import AutoTokenizer

    from qsched.tiny import model_path

    text = "a small red ring at the top left of a large blue star on a gray background. Good photo."
    wanted = {"clip": build_clip_tokenizer()(text).input_ids, "t5": build_t5_tokenizer()(text).input_ids}
    folders = {
        "clip": [
            model_path("tiny-flux") / "tokenizer",
            model_path("tiny-sdxl") / "tokenizer",
            model_path("tiny-sdxl") / "tokenizer_2",
            model_path("tiny-clip"),
        ],
        "t5": [model_path("tiny-flux") / "tokenizer_2"],
    }
    for kind, paths in folders.items():
        for path in paths:
            assert AutoTokenizer.from_pretrained(path)(text).input_ids == wanted[kind], path


def test_merges_make_words_of_ties_in_one_order_only() -> None:
    merges = merge_words(("on", "of", "at", "top"))
    assert merges == [*sorted(merges[:-1]), merges[-1]]
    assert merges == merge_words(("top", "at", "of", "on"))


def test_tokenizers_survive_saving_and_unknown_words_become_pieces(tmp_path: Path) -> None:
    for name, tokenizer in {"clip": build_clip_tokenizer(), "t5": build_t5_tokenizer()}.items():
        tokenizer.save_pretrained(tmp_path / name)
        again = type(tokenizer).from_pretrained(tmp_path / name)
        for text in ("a small red ring", "zebra 7 é", ""):
            assert again(text).input_ids == tokenizer(text).input_ids


@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_a_damage_grows_with_its_severity_and_is_nothing_at_zero(kind: str) -> None:
    from qsched.tiny.domain import Nuisance, parse
    from qsched.tiny.render import render_array

    picture = render_array(parse("a large red striped star in the center on a sand background"), Nuisance())
    picture = picture.astype(np.float32)
    errors = [
        float(
            np.mean(
                [
                    np.abs(damage(picture, severity, np.random.default_rng(seed), kind=kind) - picture).mean()
                    for seed in range(4)
                ]
            )
        )
        for severity in (0.0, 0.2, 0.6, 1.0)
    ]
    assert errors[0] == 0.0
    assert errors == sorted(errors) and errors[1] > 0.05, errors


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with a barely trained autoencoder and one small chunk of latents."""
    from tools.train_tiny import data, vae

    work, draw = tmp_path_factory.mktemp("training"), vae.picture_batch
    settings = Settings(work=work, out=work, steps=2, batch=2, scenes=20, precision="fp32")
    with pytest.MonkeyPatch.context() as patch:
        # It is whitened and measured with 576 pictures after those two steps; 2 of each batch of 32 or 64 will do.
        patch.setattr(vae, "picture_batch", lambda rng, count: draw(rng, min(count, 2)))
        vae.train_vae(settings)
        patch.setattr(data, "CHUNK", 20)
        data.cache_latents(settings)
    return work


@pytest.mark.slow
def test_the_autoencoders_latents_are_whitened_without_changing_its_pictures(prepared: Path) -> None:
    from tools.train_tiny.vae import build_vae, picture_batch, whiten

    torch.manual_seed(0)
    vae = build_vae().eval()
    pictures = [picture_batch(np.random.default_rng(0), 8) for _ in range(2)]
    with torch.no_grad():
        before = vae.decode(vae.encode(pictures[0]).latent_dist.mode()).sample
        whiten(vae, pictures)
        latents = torch.cat([vae.encode(x).latent_dist.mode() for x in pictures])
        after = vae.decode(vae.encode(pictures[0]).latent_dist.mode()).sample
    assert torch.allclose(before, after, atol=1e-3)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(8), atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(8), atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-flux", "tiny-sdxl"])
def test_two_steps_train_a_loadable_pipeline(
    prepared: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    from tools.train_tiny import loop
    from tools.train_tiny.flux import train_flux
    from tools.train_tiny.sdxl import train_sdxl

    everything = loop.load_prompts
    monkeypatch.setattr(loop, "load_prompts", lambda path: dict(list(everything(path).items())[:2]))
    settings = Settings(work=prepared, out=tmp_path, steps=2, batch=2, precision="fp32", checkpoint_every=1)
    if name == "tiny-flux":
        train_flux(settings, double_blocks=1, single_blocks=1, heads=2)
    else:
        train_sdxl(settings, channels=(32, 64))
    state = load_checkpoint(prepared / f"{name}.pt")
    assert state is not None and state["step"] == 2
    assert diffusers.DiffusionPipeline.from_pretrained(tmp_path / name) is not None
    assert (tmp_path / name / "training.json").exists()
    assert not [path for path in (tmp_path / name).rglob("*.json") if str(prepared) in path.read_text(encoding="utf-8")]


@pytest.mark.slow
def test_two_steps_train_a_clip_that_open_clip_loads(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_clip = pytest.importorskip("open_clip")
    from tools.train_tiny import clip

    measure = clip.measure_clip
    monkeypatch.setattr(clip, "measure_clip", lambda *model, seed, count: measure(*model, seed=seed, count=50))
    clip.train_clip(Settings(work=prepared, out=tmp_path, steps=2, batch=6, precision="fp32"), decoded=16)
    folder = f"local-dir:{tmp_path / 'tiny-clip'}"
    model, _ = open_clip.create_model_from_pretrained(folder)
    ids = open_clip.get_tokenizer(folder)(["Good photo."])
    assert model.encode_text(ids).shape == (1, 128)


def test_one_step_of_the_sampler_sees_what_training_showed() -> None:
    """Euler ancestral keeps sigma_i / sigma_0 of the first noise: the share that training gives it."""
    from tools.train_tiny.sdxl import STEPS, build_scheduler

    scheduler = build_scheduler()
    scheduler.set_timesteps(STEPS)
    sigmas = scheduler.sigmas.double()
    picture, noise = torch.zeros(1, 1, 64, 64), torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    x = noise * sigmas[0]
    generator = torch.Generator().manual_seed(2)
    for i, t in enumerate(scheduler.timesteps[:-1]):
        scheduler.scale_model_input(x, t)
        x = scheduler.step((x - picture) / sigmas[i], t, x, generator=generator).prev_sample
        effective = x / sigmas[i + 1]
        share = float((effective * noise).mean() / noise.square().mean())
        assert share == pytest.approx(float(sigmas[i + 1] / sigmas[0]), abs=0.05)
        assert float(effective.std()) == pytest.approx(1.0, abs=0.05)


def test_a_missing_autoencoder_names_the_command_that_makes_it(tmp_path: Path) -> None:
    from tools.train_tiny.vae import load_vae

    with pytest.raises(FileNotFoundError, match="--model vae"):
        load_vae(Settings(work=tmp_path, out=tmp_path))
