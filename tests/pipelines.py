"""Random-weight pipelines of the real diffusers classes, saved in the ordinary folder layout.

Built once a session in about two seconds; every layer kind of the real models is there, only narrow.
"""

from __future__ import annotations

import json
from pathlib import Path

WORDS = ["<|startoftext|>", "<|endoftext|>", "a", "red", "blue", "green", "ring", "dot", "on", "grey", "large", "small"]
SIZE = 32


def clip_tokenizer(longest: int = 16):
    from transformers import CLIPTokenizer

    vocab = {word if word.startswith("<") else word + "</w>": i for i, word in enumerate(WORDS)}
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    for letter in letters:
        vocab.setdefault(letter, len(vocab))
        vocab.setdefault(letter + "</w>", len(vocab))
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=longest)


def clip(*, projected: bool, longest: int = 16):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(clip_tokenizer()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=longest,
        projection_dim=32,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def vae(channels: int, **more):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(16, 32),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=8,
        sample_size=SIZE,
        **more,
    )


def loud(module):
    """Larger random weights, none of them zero, so that prompts and noise visibly matter in a model nobody trained."""
    import torch

    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(std=0.1)
            elif parameter.ndim > 1:
                parameter.mul_(1.6)
    return module


def flux():
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -8.0)]
    pieces += [("▁" + word, -1.0) for word in WORDS[2:]] + [(c, -10.0) for c in "abcdefghijklmnopqrstuvwxyz0123456789"]
    tokenizer_2 = T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=16)
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae(4, scaling_factor=1.0, shift_factor=0.0),
        text_encoder=clip(projected=False),
        tokenizer=clip_tokenizer(),
        text_encoder_2=T5EncoderModel(
            T5Config(
                vocab_size=len(tokenizer_2),
                d_model=32,
                d_kv=16,
                num_heads=2,
                d_ff=64,
                num_layers=1,
                feed_forward_proj="gated-gelu",
                pad_token_id=0,
            )
        ),
        tokenizer_2=tokenizer_2,
        transformer=loud(
            FluxTransformer2DModel(
                patch_size=1,
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=4,
                joint_attention_dim=32,
                pooled_projection_dim=32,
                axes_dims_rope=(4, 6, 6),
            )
        ),
    )


def sdxl():
    from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    return StableDiffusionXLPipeline(
        scheduler=EulerAncestralDiscreteScheduler(timestep_spacing="trailing"),
        vae=vae(4, force_upcast=False),
        text_encoder=clip(projected=False),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=clip_tokenizer(),
        add_watermarker=False,
        unet=loud(
            UNet2DConditionModel(
                sample_size=SIZE // 2,
                in_channels=4,
                out_channels=4,
                block_out_channels=(32, 64),
                layers_per_block=1,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                cross_attention_dim=64,
                attention_head_dim=(2, 4),
                norm_num_groups=8,
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                transformer_layers_per_block=(1, 1),
                projection_class_embeddings_input_dim=8 * 6 + 32,
            )
        ),
    )


def sd15(**more):
    from diffusers import LCMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    return StableDiffusionPipeline(
        scheduler=LCMScheduler(steps_offset=1),
        vae=vae(4),
        text_encoder=clip(projected=False),
        tokenizer=clip_tokenizer(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        unet=loud(
            UNet2DConditionModel(
                sample_size=SIZE // 2,
                in_channels=4,
                out_channels=4,
                block_out_channels=(32, 64),
                layers_per_block=1,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                cross_attention_dim=32,
                attention_head_dim=8,
                norm_num_groups=8,
                **more,
            )
        ),
    )


BUILDERS = {"flux": flux, "sdxl": sdxl, "sd15": sd15}


def save_pipelines(root: Path) -> dict[str, Path]:
    """Write every pipeline below `root`; name -> folder. Seeded: the same weights each time."""
    import torch

    folders = {}
    for number, (name, build) in enumerate(BUILDERS.items()):
        torch.manual_seed(number)
        folders[name] = root / name
        build().save_pretrained(folders[name])
        defaults = {"steps": 4, "guidance_scale": 0.0, "width": SIZE, "height": SIZE}
        (folders[name] / "qsched.json").write_text(json.dumps(defaults), encoding="utf-8")
    return folders
