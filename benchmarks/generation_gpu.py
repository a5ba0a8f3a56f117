"""FLUX.1[schnell] and SDXL at full size with random weights on a GPU: seconds per picture, peak memory, bytes.

    python -m benchmarks.generation_gpu --limit-seconds 780            # all of it, on one GPU, stopping in time
    python -m benchmarks.generation_gpu --models sdxl --precisions bf16,nf4
    python -m benchmarks.generation_gpu --size small --device cpu      # the same code on toy sizes

Denoiser and VAE have the sizes of the published configurations and random weights, which cost the same time and memory
as trained ones. Text encoders are one layer of the right width: they run once for a prompt, whatever the arm. Pictures
are 1024 x 1024, of 4 steps, one at a time, through `render_batch` as in `generate-pairs`, stock and with Q-Sched.
The denoiser is made on the device and converted there, so no time for reading files is in the figures.

A line is written to the results file as soon as it is measured; a run that reaches its limit names what is missing.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from qsched.errors import QschedError

RESULTS = Path(__file__).parent / "results" / "generation_gpu.json"
MODELS = ("flux", "sdxl")
PRECISIONS = ("bf16", "w8a8", "w4a8", "nf4", "fp8")
STEPS = 4
_VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "sample_size": 1024,
}
# transformer/config.json and vae/config.json of black-forest-labs/FLUX.1-schnell.
_FLUX: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": False,
}
_FLUX_VAE: dict[str, Any] = {**_VAE, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
# unet/config.json and vae/config.json of stabilityai/stable-diffusion-xl-base-1.0; upcasting is off for all arms alike.
_SDXL: dict[str, Any] = {
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 2048,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_SDXL_VAE: dict[str, Any] = {**_VAE, "latent_channels": 4, "force_upcast": False}


@dataclass(frozen=True)
class Line:
    """One arm of one model. Bytes are those of the denoiser; the peak is of everything, and None on a CPU."""

    model: str
    precision: str
    schedule: str
    parameters: int
    seconds_per_picture: float
    seconds_to_convert: float
    peak_bytes_converting: int | None
    peak_bytes_rendering: int | None
    resident_bytes: int
    packed_bytes: int | None
    nominal_bytes: int
    layers_converted: int
    simulated: bool
    pictures: int


def build(model: str, size: str, device: str) -> Any:
    """The pipeline on the device in bfloat16, its weights drawn there."""
    import torch
    from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

    from tests import pipelines

    builders: dict[str, Any] = {"flux": pipelines.flux, "sdxl": pipelines.sdxl}
    small = builders[model]()
    torch.manual_seed(0)
    if size == "small":
        return _ready(small, device)

    def text(width: int, *, projected: bool) -> Any:
        kind = CLIPTextModelWithProjection if projected else CLIPTextModel
        config = small.text_encoder.config.to_dict()
        heads = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": width // 64}
        return kind(CLIPTextConfig(**{**config, **heads, "num_hidden_layers": 1, "projection_dim": width}))

    with torch.device(device), _made_in(torch.bfloat16):
        parts = dict(small.components)
        parts["text_encoder"] = text(768, projected=False)
        if model == "flux":
            wide: Any = {
                "d_model": 4096,
                "d_kv": 64,
                "num_heads": 64,
                "d_ff": 10240,
                "num_layers": 1,
                "pad_token_id": 0,
            }
            spoken: Any = {"vocab_size": len(small.tokenizer_2), "feed_forward_proj": "gated-gelu"}
            parts["text_encoder_2"] = T5EncoderModel(T5Config(**wide, **spoken))
            parts |= {"transformer": FluxTransformer2DModel(**_FLUX), "vae": AutoencoderKL(**_FLUX_VAE)}
        else:
            parts["text_encoder_2"] = text(1280, projected=True)
            parts |= {"unet": UNet2DConditionModel(**_SDXL), "vae": AutoencoderKL(**_SDXL_VAE)}
    # Made anew, because a pipeline works out its sizes from its parts.
    return _ready(type(small)(**parts), device)


def _ready(pipeline: Any, device: str) -> Any:
    """On the device, in bfloat16, without dropout."""
    import torch

    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipeline.to(device=device, dtype=torch.bfloat16)


class _made_in:  # a context manager
    """Tensors are made in this dtype inside the block."""

    def __init__(self, dtype: Any) -> None:
        import torch

        self._dtype, self._before = dtype, torch.get_default_dtype()

    def __enter__(self) -> None:
        import torch

        torch.set_default_dtype(self._dtype)

    def __exit__(self, *_: object) -> None:
        import torch

        torch.set_default_dtype(self._before)


def measure(model: str, precision: str, *, size: str, device: str, pictures: int) -> Iterator[Line]:
    """The arm without and with Q-Sched, on one converted denoiser."""
    from qsched.backbones import backbone_from_pipeline
    from qsched.generation import render_batch
    from qsched.precision import apply_precision
    from qsched.scheduling import Coefficients

    side = 1024 if size == "full" else 32
    pipeline = build(model, size, device)
    pipeline.set_progress_bar_config(disable=True)
    backbone = backbone_from_pipeline(
        pipeline, name=model, steps=STEPS, guidance_scale=0.0, width=side, height=side, call_options={}
    )
    parameters = sum(one.numel() for one in backbone.denoiser.parameters())
    peak = _Peak(device)
    began = time.perf_counter()
    report = apply_precision(backbone, precision)
    peak.wait()
    converting, at_most = time.perf_counter() - began, peak.bytes()
    tuned = Coefficients.linear(model=(0.955, 1.099), sample=(1.012, 0.967))
    for schedule, coefficients in (("stock", None), ("q-sched", tuned)):
        render_batch(backbone, ["a red ring"], [0], coefficients=coefficients)  # kernels are chosen at the first call
        peak = _Peak(device)
        began = time.perf_counter()
        for seed in range(1, pictures + 1):
            render_batch(backbone, ["a red ring"], [seed], coefficients=coefficients)
        peak.wait()
        seconds = (time.perf_counter() - began) / pictures
        yield Line(
            model=model,
            precision=precision,
            schedule=schedule,
            parameters=parameters,
            seconds_per_picture=round(seconds, 4),
            seconds_to_convert=round(converting, 2),
            peak_bytes_converting=at_most,
            peak_bytes_rendering=peak.bytes(),
            resident_bytes=report.resident_bytes,
            packed_bytes=report.packed_bytes,
            nominal_bytes=report.nominal_bytes,
            layers_converted=len(report.converted),
            simulated=report.simulated,
            pictures=pictures,
        )


class _Peak:
    """Most bytes that torch had allocated on a GPU since this was made."""

    def __init__(self, device: str) -> None:
        import torch

        self._on_gpu = device.startswith("cuda")
        if self._on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()

    def wait(self) -> None:
        import torch

        if self._on_gpu:
            torch.cuda.synchronize()

    def bytes(self) -> int | None:
        import torch

        return torch.cuda.max_memory_allocated() if self._on_gpu else None


def free() -> None:
    """Let the last model go before the next one comes."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def run(models: Sequence[str], precisions: Sequence[str], given: argparse.Namespace) -> dict[str, Any]:
    """Every arm that fits into the time; the record is written after each."""
    import torch

    began = time.perf_counter()
    record: dict[str, Any] = {
        "machine": {
            **machine("torch", "diffusers", "torchao", "bitsandbytes"),
            "gpu": torch.cuda.get_device_name() if given.device.startswith("cuda") else None,
        },
        "size": given.size,
        "lines": [],
        "failed": {},
        "missing": [f"{model} {precision}" for model in models for precision in precisions],
    }
    for model in models:
        for precision in precisions:
            name = f"{model} {precision}"
            if time.perf_counter() - began > given.limit_seconds:
                print(f"{given.limit_seconds:.0f} s are over; not measured: {', '.join(record['missing'])}", flush=True)
                return record
            try:
                for line in measure(model, precision, size=given.size, device=given.device, pictures=given.pictures):
                    record["lines"].append(asdict(line))
                    print(words(line), flush=True)
            except (
                RuntimeError,
                ValueError,
                QschedError,
            ) as error:  # one arm that a device cannot do must not cost the others
                record["failed"][name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
                print(f"{name} failed: {record['failed'][name]}", flush=True)
            record["missing"].remove(name)
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            free()
    return record


def words(line: Line) -> str:
    """A line of the table."""
    peak = "-" if line.peak_bytes_rendering is None else f"{line.peak_bytes_rendering / 1e9:.2f} GB"
    kind = "simulated" if line.simulated else "native"
    return (
        f"{line.model:5} {line.precision:6} {line.schedule:8} {line.seconds_per_picture:8.3f} s/picture  peak {peak:9} "
        f"denoiser {line.resident_bytes / 1e9:.3f} GB  nominal {line.nominal_bytes / 1e9:.3f} GB  {kind}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--limit-seconds", type=float, default=780.0, help="begin no further arm after so many")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    run(given.models.split(","), given.precisions.split(","), given)


if __name__ == "__main__":
    main()
