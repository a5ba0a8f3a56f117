"""One small random-weight pipeline for each text-to-image class that the tests drive, all of them diffusers classes.

`ZOO` says how each is built and called; `save` writes it as a folder. The text encoders are of the real classes with a
few small layers, the tokenizer is one of words.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from tests.pipelines import SIZE, WORDS, clip, clip_tokenizer, flux, loud, sd15, sdxl, vae

WIDTH = 32
FLOW = diffusers.FlowMatchEulerDiscreteScheduler
CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


@dataclass(frozen=True)
class Member:
    """How a class is built and called: steps, guidance, and the picture's size in pixels."""

    build: Callable[[], Any]
    steps: int = 2
    guidance_scale: float = 0.0
    size: int = SIZE
    options: dict[str, Any] = field(default_factory=dict)


def save(name: str, root: Path) -> Path:
    """Write the pipeline `name` and its defaults below `root`, with the same weights each time."""
    member = ZOO[name]
    torch.manual_seed(sum(name.encode()))
    member.build().save_pretrained(root / name)
    defaults = {"steps": member.steps, "guidance_scale": member.guidance_scale}
    defaults |= {"width": member.size, "height": member.size, "call_options": member.options}
    if name == "PRXPipeline":  # diffusers expects the whole T5Gemma's configuration beside the encoder
        t5gemma_config().save_pretrained(root / name / "text_encoder")
    (root / name / "qsched.json").write_text(json.dumps(defaults), encoding="utf-8")
    return root / name


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


def flux2_klein() -> Any:
    return diffusers.Flux2KleinPipeline(
        scheduler=FLOW(),
        vae=flux2_vae(),
        text_encoder=qwen3(transformers.Qwen3ForCausalLM, num_hidden_layers=3),
        tokenizer=words(),
        is_distilled=True,
        transformer=loud(
            diffusers.Flux2Transformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=3 * WIDTH,
                timestep_guidance_channels=16,
                axes_dims_rope=(4, 4, 4, 4),
                guidance_embeds=False,
            )
        ),
    )


def z_image() -> Any:
    return diffusers.ZImagePipeline(
        scheduler=FLOW(),
        vae=flow_vae(),
        text_encoder=qwen3(),
        tokenizer=words(),
        transformer=loud(
            diffusers.ZImageTransformer2DModel(
                in_channels=4,
                dim=32,
                n_layers=1,
                n_refiner_layers=1,
                n_heads=2,
                n_kv_heads=2,
                cap_feat_dim=WIDTH,
                axes_dims=[4, 6, 6],
                axes_lens=[600, 64, 64],
            )
        ),
    )


def qwen_image() -> Any:
    return diffusers.QwenImagePipeline(
        scheduler=FLOW(),
        vae=qwen_vae(),
        text_encoder=qwen_vl(),
        tokenizer=words(),
        transformer=loud(
            diffusers.QwenImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                axes_dims_rope=(4, 6, 6),
            )
        ),
    )


def sd3() -> Any:
    return diffusers.StableDiffusion3Pipeline(
        scheduler=FLOW(),
        vae=flow_vae(),
        text_encoder=clip(projected=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_wide(),
        tokenizer_3=words(),
        transformer=loud(
            diffusers.SD3Transformer2DModel(
                sample_size=16,
                patch_size=1,
                in_channels=4,
                out_channels=4,
                num_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=64,
                caption_projection_dim=32,
                pooled_projection_dim=64,
                pos_embed_max_size=32,
            )
        ),
    )


def t5_wide() -> Any:
    config = transformers.T5Config(vocab_size=64, d_model=64, d_kv=16, num_heads=2, d_ff=64, num_layers=1)
    return transformers.T5EncoderModel(config)


def sana(cls: Any, scheduler: Any, **more: Any) -> Any:
    return cls(
        tokenizer=words(),
        text_encoder=gemma2(),
        vae=dc_vae(),
        scheduler=scheduler,
        transformer=loud(
            diffusers.SanaTransformer2DModel(
                in_channels=4,
                out_channels=4,
                num_attention_heads=2,
                attention_head_dim=16,
                num_layers=1,
                num_cross_attention_heads=2,
                cross_attention_head_dim=16,
                cross_attention_dim=32,
                caption_channels=WIDTH,
                sample_size=16,
                **more,
            )
        ),
    )


def pixart(cls: Any) -> Any:
    return cls(
        tokenizer=words(),
        text_encoder=t5(),
        vae=vae(4),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
        transformer=loud(
            diffusers.PixArtTransformer2DModel(
                num_attention_heads=2,
                attention_head_dim=16,
                in_channels=4,
                out_channels=8,
                num_layers=1,
                cross_attention_dim=32,
                sample_size=16,
                caption_channels=WIDTH,
                use_additional_conditions=False,
            )
        ),
    )


def sd_tcd() -> Any:
    pipeline = sd15()
    pipeline.scheduler = diffusers.TCDScheduler()
    return pipeline


def lcm() -> Any:
    parts = sd15(time_cond_proj_dim=32).components
    return diffusers.LatentConsistencyModelPipeline(
        **{name: part for name, part in parts.items() if name not in ("scheduler", "image_encoder")},
        scheduler=diffusers.LCMScheduler(),
        requires_safety_checker=False,
    )


def lumina2() -> Any:
    return diffusers.Lumina2Pipeline(
        scheduler=FLOW(),
        vae=vae8(),
        text_encoder=gemma2(),
        tokenizer=words(),
        transformer=loud(
            diffusers.Lumina2Transformer2DModel(
                sample_size=16,
                in_channels=4,
                hidden_size=32,
                num_layers=1,
                num_refiner_layers=1,
                num_attention_heads=2,
                num_kv_heads=1,
                multiple_of=16,
                axes_dim_rope=(4, 6, 6),
                axes_lens=(300, 64, 64),
                cap_feat_dim=WIDTH,
            )
        ),
    )


def lumina() -> Any:
    return diffusers.LuminaPipeline(
        scheduler=FLOW(),
        vae=vae8(),
        text_encoder=gemma2(),
        tokenizer=words(),
        transformer=loud(
            diffusers.LuminaNextDiT2DModel(
                sample_size=16,
                in_channels=4,
                hidden_size=32,
                num_layers=1,
                num_attention_heads=2,
                num_kv_heads=1,
                multiple_of=16,
                cross_attention_dim=WIDTH,
            )
        ),
    )


def chroma() -> Any:
    return diffusers.ChromaPipeline(
        scheduler=FLOW(),
        vae=flow_vae(),
        text_encoder=t5(),
        tokenizer=words(),
        transformer=loud(
            diffusers.ChromaTransformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                axes_dims_rope=(4, 6, 6),
                approximator_num_channels=8,
                approximator_hidden_dim=32,
                approximator_layers=1,
            )
        ),
    )


def hidream() -> Any:
    llama = small(transformers.LlamaConfig)
    llama._attn_implementation = "eager"
    return diffusers.HiDreamImagePipeline(
        scheduler=FLOW(),
        vae=flat_vae(),
        text_encoder=clip(projected=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(),
        tokenizer_3=words(),
        text_encoder_4=transformers.LlamaForCausalLM(llama),
        tokenizer_4=words(),
        transformer=loud(
            diffusers.HiDreamImageTransformer2DModel(
                patch_size=4,  # a quarter of the tokens: this class makes pictures of one area only
                in_channels=4,
                out_channels=4,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                caption_channels=[WIDTH, WIDTH],
                text_emb_dim=64,
                axes_dims_rope=(4, 6, 6),
                max_resolution=(128, 128),
                llama_layers=[0, 1],
            )
        ),
    )


def hunyuan_image() -> Any:
    return diffusers.HunyuanImagePipeline(
        scheduler=FLOW(),
        vae=diffusers.AutoencoderKLHunyuanImage(
            in_channels=3,
            out_channels=3,
            latent_channels=4,
            block_out_channels=(32, 32),
            layers_per_block=1,
            spatial_compression_ratio=2,
            sample_size=SIZE,
            scaling_factor=0.5,
        ),
        text_encoder=qwen_vl(),
        tokenizer=words(),
        text_encoder_2=t5(),
        tokenizer_2=transformers.ByT5Tokenizer(),
        transformer=loud(
            diffusers.HunyuanImageTransformer2DModel(
                in_channels=4,
                out_channels=4,
                num_attention_heads=2,
                attention_head_dim=16,
                num_layers=1,
                num_single_layers=1,
                num_refiner_layers=1,
                text_embed_dim=WIDTH,
                text_embed_2_dim=WIDTH,
                rope_axes_dim=(8, 8),
                guidance_embeds=True,
            )
        ),
    )


def kandinsky5() -> Any:
    return diffusers.Kandinsky5T2IPipeline(
        scheduler=FLOW(),
        vae=vae8(),
        text_encoder=qwen_vl(),
        tokenizer=vl_processor(),
        text_encoder_2=clip(projected=False, longest=77),
        tokenizer_2=clip_tokenizer(77),
        transformer=loud(
            diffusers.Kandinsky5Transformer3DModel(
                in_visual_dim=4,
                in_text_dim=WIDTH,
                in_text_dim2=32,
                time_dim=16,
                out_visual_dim=4,
                model_dim=32,
                ff_dim=64,
                num_text_blocks=1,
                num_visual_blocks=1,
                axes_dims=(4, 6, 6),
            )
        ),
    )


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


def prx() -> Any:
    from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

    return diffusers.PRXPipeline(
        scheduler=FLOW(),
        vae=flow_vae(),
        text_encoder=T5GemmaEncoder(t5gemma_config().encoder),
        tokenizer=words(),
        transformer=loud(
            diffusers.PRXTransformer2DModel(
                in_channels=4, context_in_dim=WIDTH, hidden_size=32, num_heads=2, depth=1, axes_dim=[8, 8]
            )
        ),
    )


def aura_flow() -> Any:
    return diffusers.AuraFlowPipeline(
        scheduler=FLOW(),
        vae=vae(4),
        text_encoder=t5(transformers.UMT5EncoderModel, transformers.UMT5Config),
        tokenizer=words(),
        transformer=loud(
            diffusers.AuraFlowTransformer2DModel(
                sample_size=16,
                in_channels=4,
                out_channels=4,
                num_mmdit_layers=1,
                num_single_dit_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                caption_projection_dim=32,
                pos_embed_max_size=64,
            )
        ),
    )


def ovis() -> Any:
    return diffusers.OvisImagePipeline(
        scheduler=FLOW(),
        vae=flow_vae(),
        text_encoder=qwen3(),
        tokenizer=words(),
        transformer=loud(
            diffusers.OvisImageTransformer2DModel(
                in_channels=16,
                out_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                axes_dims_rope=(4, 6, 6),
            )
        ),
    )


def longcat() -> Any:
    return diffusers.LongCatImagePipeline(
        scheduler=FLOW(),
        vae=flow_vae(16),
        text_encoder=qwen_vl(),
        tokenizer=words(),
        text_processor=vl_processor(),
        transformer=loud(
            diffusers.LongCatImageTransformer2DModel(
                in_channels=64,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                pooled_projection_dim=WIDTH,
                axes_dims_rope=[4, 6, 6],
            )
        ),
    )


def ernie() -> Any:
    return diffusers.ErnieImagePipeline(
        scheduler=FLOW(),
        vae=flux2_vae(),
        text_encoder=qwen3(),
        tokenizer=words(),
        transformer=loud(
            diffusers.ErnieImageTransformer2DModel(
                hidden_size=32,
                num_attention_heads=2,
                num_layers=1,
                ffn_hidden_size=64,
                in_channels=16,
                out_channels=16,
                text_in_dim=WIDTH,
                rope_axes_dim=(4, 6, 6),
            )
        ),
    )


def cogview4() -> Any:
    return diffusers.CogView4Pipeline(
        scheduler=FLOW(use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, base_image_seq_len=256),
        vae=flow_vae(),
        text_encoder=transformers.GlmModel(small(transformers.GlmConfig)),
        tokenizer=words(),
        transformer=loud(
            diffusers.CogView4Transformer2DModel(
                in_channels=4,
                out_channels=4,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                text_embed_dim=WIDTH,
                time_embed_dim=16,
                condition_dim=8,
                sample_size=16,
                rope_axes_dim=(32, 32),
            )
        ),
    )


def hunyuan_dit() -> Any:
    bert = transformers.BertConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    return diffusers.HunyuanDiTPipeline(
        scheduler=diffusers.DDPMScheduler(),
        vae=vae8(),
        text_encoder=transformers.BertModel(bert),
        tokenizer=words(),
        text_encoder_2=t5(),
        tokenizer_2=words(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        transformer=loud(
            diffusers.HunyuanDiT2DModel(
                num_attention_heads=2,
                attention_head_dim=16,
                in_channels=4,
                patch_size=2,
                sample_size=16,
                hidden_size=32,
                num_layers=2,
                cross_attention_dim=32,
                cross_attention_dim_t5=WIDTH,
                pooled_projection_dim=16,
            )
        ),
    )


ZOO: dict[str, Member] = {
    "FluxPipeline": Member(flux, options={"max_sequence_length": 16}),
    "Flux2KleinPipeline": Member(
        flux2_klein, options={"text_encoder_out_layers": [0, 1, 2], "max_sequence_length": 48}
    ),
    "ZImagePipeline": Member(z_image, options={"max_sequence_length": 48}),
    "QwenImagePipeline": Member(qwen_image),
    "StableDiffusion3Pipeline": Member(sd3, options={"max_sequence_length": 48}),
    "SanaSprintPipeline": Member(
        lambda: sana(diffusers.SanaSprintPipeline, diffusers.SCMScheduler(), guidance_embeds=True),
        guidance_scale=4.5,
    ),
    "SanaPipeline": Member(lambda: sana(diffusers.SanaPipeline, diffusers.DPMSolverMultistepScheduler())),
    "PixArtAlphaPipeline": Member(lambda: pixart(diffusers.PixArtAlphaPipeline)),
    "PixArtSigmaPipeline": Member(lambda: pixart(diffusers.PixArtSigmaPipeline)),
    "StableDiffusionXLPipeline": Member(sdxl),
    "StableDiffusionPipeline": Member(sd15),
    "StableDiffusionPipeline, TCD": Member(sd_tcd),
    "LatentConsistencyModelPipeline": Member(lcm, guidance_scale=8.0),
    "Lumina2Pipeline": Member(lumina2, size=64),
    "LuminaPipeline": Member(lumina, size=64),
    "ChromaPipeline": Member(chroma, options={"max_sequence_length": 48}),
    "HiDreamImagePipeline": Member(hidream, size=128, options={"max_sequence_length": 16}),
    "HunyuanImagePipeline": Member(hunyuan_image, guidance_scale=3.25),
    "Kandinsky5T2IPipeline": Member(kandinsky5, steps=1, size=1024),
    "PRXPipeline": Member(prx, guidance_scale=1.0),
    "AuraFlowPipeline": Member(aura_flow),
    "OvisImagePipeline": Member(ovis, options={"max_sequence_length": 48}),
    "LongCatImagePipeline": Member(longcat),
    "ErnieImagePipeline": Member(ernie),
    "CogView4Pipeline": Member(cogview4),
    "HunyuanDiTPipeline": Member(hunyuan_dit, size=64),
}
