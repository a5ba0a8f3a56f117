"""The backbones that have a name: pinned revision, licence, and the settings of their pages. No torch.

The commit ids were taken from public records (repositories that pin them), not from the hub itself: a mistake shows as
a failed download, not as other weights. Where no record was found there is none, and the user states it.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from qsched.backbones.families import registered
from qsched.backbones.spec import BackboneSpec, Lora
from qsched.tiny.paths import weights_folder

# The scheduler of PCM's own examples.
_PCM_SCHEDULER: tuple[str, dict[str, Any]] = (
    "TCDScheduler",
    {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "timestep_spacing": "trailing"},
)
_SHIFT_3 = {"base_shift": math.log(3), "max_shift": math.log(3), "shift_terminal": None, "use_dynamic_shifting": True}


def _pcm(file: str) -> Lora:
    return Lora("wangfuyun/PCM_Weights", file=file, revision="39560fead4ce00f94db3cb8e93dd8fba90ec0be6")


def _tiny(name: str) -> BackboneSpec:
    return BackboneSpec(name, str(weights_folder() / name), steps=4, guidance_scale=0.0, width=128, height=128)


def _hub(name: str, source: str, revision: str | None, size: int, **more: Any) -> BackboneSpec:
    """A hub model of square pictures."""
    return BackboneSpec(name, source, revision=revision, unpinned=revision is None, width=size, height=size, **more)


BACKBONES: dict[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        _tiny("tiny-flux"),
        _tiny("tiny-sdxl"),
        _hub(
            "flux-schnell",
            "black-forest-labs/FLUX.1-schnell",
            "741f7c3ce8b383c54771c7003378a50191e9efe9",
            1024,
            steps=4,
            guidance_scale=0.0,
            gpu_dtype="bf16",
            parameters=16_870_000_000,
            denoiser_parameters=11_900_000_000,
            call_options={"max_sequence_length": 256},
            licence="Apache-2.0",
        ),
        _hub(
            "sdxl-turbo",
            "stabilityai/sdxl-turbo",
            "71153311d3dbb46851df1931d3ca6e939de83304",
            512,
            steps=4,
            guidance_scale=0.0,
            gpu_dtype="fp16",
            fp16_variant="fp16",
            parameters=3_470_000_000,
            denoiser_parameters=2_570_000_000,
            licence="Stability AI, non-commercial research",
        ),
        _hub(
            "lcm-dreamshaper",
            "SimianLuo/LCM_Dreamshaper_v7",
            "a85df6a8bd976cdd08b4fd8f3b73f229c9e54df5",
            768,
            steps=4,
            guidance_scale=8.0,
            gpu_dtype="fp16",
            parameters=1_070_000_000,
            denoiser_parameters=860_000_000,
            licence="MIT",
        ),
        _hub(
            "pcm-sd15",
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
            512,
            steps=4,
            guidance_scale=0.0,
            gpu_dtype="fp16",
            fp16_variant="fp16",
            parameters=1_070_000_000,
            denoiser_parameters=860_000_000,
            scheduler=_PCM_SCHEDULER,
            loras=(_pcm("sd15/pcm_sd15_smallcfg_4step_converted.safetensors"),),
            licence="CreativeML OpenRAIL-M (base); the adapter's page states its own",
        ),
        _hub(
            "pcm-sdxl",
            "stabilityai/stable-diffusion-xl-base-1.0",
            "462165984030d82259a11f4367a4eed129e94a7b",
            1024,
            steps=4,
            guidance_scale=0.0,
            gpu_dtype="fp16",
            fp16_variant="fp16",
            parameters=3_470_000_000,
            denoiser_parameters=2_570_000_000,
            scheduler=_PCM_SCHEDULER,
            loras=(_pcm("sdxl/pcm_sdxl_smallcfg_4step_converted.safetensors"),),
            licence="CreativeML OpenRAIL++-M (base); the adapter's page states its own",
        ),
        _hub(
            "flux2-klein",
            "black-forest-labs/FLUX.2-klein-4B",
            "e7b7dc27f91deacad38e78976d1f2b499d76a294",
            1024,
            steps=4,
            guidance_scale=1.0,
            gpu_dtype="bf16",
            parameters=7_990_000_000,
            denoiser_parameters=3_880_000_000,
            licence="Apache-2.0",
        ),
        _hub(
            "z-image-turbo",
            "Tongyi-MAI/Z-Image-Turbo",
            "f332072aa78be7aecdf3ee76d5c247082da564a6",
            1024,
            steps=8,  # nine for the same eight evaluations before diffusers 0.39 (its pull request 13730)
            guidance_scale=0.0,
            gpu_dtype="bf16",
            parameters=10_260_000_000,
            denoiser_parameters=6_150_000_000,
            licence="Apache-2.0",
        ),
        _hub(
            "sd35-turbo",
            "stabilityai/stable-diffusion-3.5-large-turbo",
            "ec07796fc06b096cc56de9762974a28f4c632eda",
            1024,
            steps=4,
            guidance_scale=0.0,
            gpu_dtype="bf16",
            parameters=13_720_000_000,
            denoiser_parameters=8_060_000_000,
            licence="Stability AI Community",
        ),
        _hub(
            "qwen-image-lightning",
            "Qwen/Qwen-Image",
            "75e0b4be04f60ec59a75f475837eced720f823b6",
            1024,
            steps=4,
            guidance_scale=1.0,
            gpu_dtype="bf16",
            parameters=28_850_000_000,
            denoiser_parameters=20_430_000_000,
            vae_parameters=127_000_000,
            scheduler=("FlowMatchEulerDiscreteScheduler", _SHIFT_3),
            loras=(
                Lora(
                    "lightx2v/Qwen-Image-Lightning",
                    file="Qwen-Image-Lightning-4steps-V1.0.safetensors",
                    revision="e74da8d4e71a54b341de86aa9f8d2509165aa513",
                ),
            ),
            licence="Apache-2.0",
        ),
        _hub(
            "sana-sprint",
            "Efficient-Large-Model/Sana_Sprint_0.6B_1024px_diffusers",
            "a7d9fc31dd5c3f5e22dbfd78360777ceed56ae97",
            1024,
            steps=2,
            guidance_scale=4.5,
            gpu_dtype="bf16",
            parameters=3_520_000_000,
            denoiser_parameters=594_000_000,
            vae_parameters=312_000_000,
            licence="NVIDIA NSCL v2-custom; its text encoder has Gemma's terms",
        ),
    )
}


@functools.cache
def registered_backbones() -> dict[str, BackboneSpec]:
    """Backbones that other packages register, by name; a name of ours stays ours."""
    return {spec.name: spec for spec in registered(BackboneSpec) if spec.name not in BACKBONES}
