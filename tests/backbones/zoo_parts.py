"""Small text encoders, tokenizers and autoencoders of the real classes, of which the zoo's pipelines are built."""

from __future__ import annotations

from functools import cache
from typing import Any

import diffusers
import transformers

from tests.pipelines import SIZE, WORDS, vae

WIDTH = 32


FLOW = diffusers.FlowMatchEulerDiscreteScheduler


CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


@cache
def words(*more: str) -> Any:
    """A tokenizer of whole words, fit for every text encoder below."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ["<pad>", "</s>", "<s>", "<unk>"]
    listed = [
        *special,
        *WORDS[2:],
        *[
            "im_start",
            "im_end",
            "system",
            "user",
            "assistant",
            "Describe",
            "image",
            "color",
            "shape",
            ".",
            ",",
            "<",
            "|",
            ">",
        ],
    ]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(listed)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(more))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
        unk_token="<unk>",
        model_max_length=64,
        chat_template=CHAT,
    )


def small(config: Any, **more: Any) -> Any:
    """The config of a decoder language model with two small layers."""
    return config(
        vocab_size=64,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=more.pop("num_hidden_layers", 2),
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
        **more,
    )


def t5(cls: Any = None, config: Any = None) -> Any:
    config = (config or transformers.T5Config)(
        vocab_size=400, d_model=WIDTH, d_kv=16, num_heads=2, d_ff=64, num_layers=1, pad_token_id=0
    )
    return (cls or transformers.T5EncoderModel)(config)


def gemma2() -> Any:
    return transformers.Gemma2Model(small(transformers.Gemma2Config, query_pre_attn_scalar=16))


def qwen3(cls: Any = None, **more: Any) -> Any:
    return (cls or transformers.Qwen3Model)(small(transformers.Qwen3Config, **more))


def qwen_vl() -> Any:
    text = {
        "vocab_size": 64,
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
    }
    vision = {"depth": 1, "hidden_size": WIDTH, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": WIDTH}
    config = transformers.Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, image_token_id=60, video_token_id=61, vision_start_token_id=62
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def vl_processor() -> Any:
    tokenizer = words("<|image_pad|>", "<|video_pad|>")
    return transformers.Qwen2VLProcessor(
        transformers.Qwen2VLImageProcessor(), tokenizer, transformers.Qwen2VLVideoProcessor()
    )


def flow_vae(channels: int = 4) -> Any:
    return vae(channels, scaling_factor=1.0, shift_factor=0.0)


def flux2_vae() -> Any:
    return diffusers.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(16, 32),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
    )


def qwen_vae() -> Any:
    return diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )


def dc_vae() -> Any:
    return diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=8,
        encoder_block_out_channels=(16, 16),
        decoder_block_out_channels=(16, 16),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()),
        scaling_factor=0.5,
    )


def t5_wide() -> Any:
    config = transformers.T5Config(vocab_size=64, d_model=64, d_kv=16, num_heads=2, d_ff=64, num_layers=1)
    return transformers.T5EncoderModel(config)


def vae8() -> Any:
    """A VAE of the factor 8 that some pipelines take for granted."""
    return diffusers.AutoencoderKL(
        shift_factor=0.0,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        mid_block_add_attention=False,
        sample_size=64,
    )


def t5gemma_config() -> Any:
    part = {
        "vocab_size": 64,
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "query_pre_attn_scalar": 16,
    }
    return transformers.T5GemmaConfig(encoder=part, decoder=part)


def flat_vae() -> Any:
    """A VAE whose pictures are as large as its latents."""
    return diffusers.AutoencoderKL(
        shift_factor=0.0,
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(4,),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        mid_block_add_attention=False,
    )
