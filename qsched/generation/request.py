"""A request to `generate_pairs`, its report, and its progress. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from qsched.backbones.find import find_spec
from qsched.backbones.spec import BackboneSpec, Lora, Offload
from qsched.generation.arms import Arm
from qsched.generation.quantize import STATISTICS_PROMPTS
from qsched.locations import Location

if TYPE_CHECKING:
    from qsched.precision.report import PrecisionReport


@dataclass(frozen=True)
class Request:
    """What the researcher asked for; None means the backbone's own value.

    prompts_format  layout of the prompts file (`qsched.generation.prompt_layouts`); None: the one that it shows
    shard    (index from 1, count): only that part is made, in a folder of its own below `out`
    """

    backbone: str
    arms: str
    prompts: Path
    out: Location
    samples: int = 1
    set_seed: int = 0
    batch_size: int = 8
    steps: int | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    device: str = "auto"
    dtype: str | None = None
    limit: int | None = None
    overwrite: bool = False
    allow_other_coefficients: bool = False
    calibration_prompts: Path | None = None
    calibration_limit: int = STATISTICS_PROMPTS
    shard: tuple[int, int] | None = None
    revision: str | None = None
    variant: str | None = None
    loras: tuple[Lora, ...] = ()
    vae_dtype: str | None = None
    negative_prompt: str | None = None
    eta: float | None = None
    offload: Offload = "none"
    compiled: bool = False
    prompts_format: str | None = None

    def spec(self) -> BackboneSpec:
        """The backbone that was asked for."""
        return find_spec(self.backbone, revision=self.revision, variant=self.variant, loras=self.loras)

    def call_options(self) -> dict[str, object]:
        """Keywords of the pipeline's call that were asked for."""
        asked = {"negative_prompt": self.negative_prompt, "eta": self.eta}
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(frozen=True)
class ArmSummary:
    """One arm after the run."""

    name: str
    images_made: int
    seconds_per_image: float | None
    report: PrecisionReport | None
    same_as: str | None = None


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    unlike         number of kept images that came out different when their batch was made again
    truncated      ids of prompts that are longer than the text encoder reads
    assumed        call options that neither the model folder nor the request states
    notes          what else the researcher should know
    contact_sheet  None for a shard
    """

    folder: Location
    n_images: int
    made: int
    kept: int
    remade: int
    unlike: int
    truncated: tuple[str, ...]
    assumed: tuple[str, ...]
    arms: tuple[ArmSummary, ...]
    contact_sheet: Location | None
    notes: tuple[str, ...] = ()


class RunProgress(Protocol):
    """Receives what a run does."""

    def planned(self, total: int, done: int) -> None: ...

    def loading(self, arms: tuple[Arm, ...]) -> None: ...

    def loaded(self, report: PrecisionReport) -> None: ...

    def advanced(self, arm: Arm, images: int) -> None: ...


class Silent:
    """A RunProgress that says nothing."""

    def planned(self, total: int, done: int) -> None: ...

    def loading(self, arms: tuple[Arm, ...]) -> None: ...

    def loaded(self, report: PrecisionReport) -> None: ...

    def advanced(self, arm: Arm, images: int) -> None: ...
