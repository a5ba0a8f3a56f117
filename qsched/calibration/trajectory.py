"""Many (candidate, prompt) pictures through the plain pipeline, with every repeated model evaluation saved.

Coefficients act after the model, so the model's output at step j depends on the prompt, the noise and the
coefficients BEFORE step j. Rows of a batch that agree in these are evaluated once and the result is given to
all of them; the first step's outputs are kept from call to call. For T prompts, S steps and P pictures:

    NFE = T + P (S - 1)

Nothing of a pipeline is copied: `render_batch` runs as it always does, with the scheduler adapter carrying one
row of coefficients per picture, while the denoiser's `forward` and the pipeline's `encode_prompt` are wrapped.

The last bits of an output depend on which rows were evaluated with it (BLAS rounds differently at other sizes), and
rounding to few bits amplifies that. A search that is to be resumed calls `evaluate_first_step` with all of its prompts
before it renders: always the same batches, so the first step has the same values before and after a kill.

Holds for every denoiser that treats the rows of its batch independently (all of ours; per-token activation
quantization too). One NFE is the denoiser on one picture at one step; with classifier-free guidance each
NFE runs it on two rows.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from qsched.backbones import Backbone
from qsched.calibration.decoding import early_decoding
from qsched.calibration.errors import CalibrationError
from qsched.generation import Prompt, render_batch
from qsched.scheduling import Coefficients, apply_coefficients
from qsched.scheduling.noise_correction import correction_of

# Arguments of a denoiser that are shared by the rows of a batch although they are tensors (FLUX's positions).
SHARED_ARGUMENTS = frozenset({"img_ids", "txt_ids"})


@dataclass(frozen=True)
class BatchRow:
    """One picture to make."""

    prompt: Prompt
    seed: int
    coefficients: Coefficients


@dataclass(frozen=True)
class StepCall:
    """One call of the scheduler's `step` by the pipeline, for the rows from `first` on; `make` carries it out."""

    number: int
    first: int
    scheduler: Any
    inputs: tuple[torch.Tensor, Any, torch.Tensor]  # model output, timestep, sample
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    make: Callable[[], Any]


OnStep = Callable[[StepCall], Any]  # returns what `step` would return


class LeavePipeline(Exception):
    """Raised in a step: nothing more is wanted of this batch. Never seen by a user."""


class TrajectoryRenderer:
    """Renders rows in batches and remembers model outputs; `nfe` counts what was really evaluated.

    kept_bytes    bound on the remembered outputs beyond the first step (least recently used go first)
    """

    def __init__(self, backbone: Backbone, *, steps: int, batch_rows: int = 32, kept_bytes: int = 512 * 2**20) -> None:
        if batch_rows < 1:
            raise CalibrationError(f"batch of {batch_rows} rows; give 1 or more")
        self._backbone = backbone
        self._scheduler: Any = apply_coefficients(backbone.pipeline.scheduler, Coefficients.constant())
        self._encode_prompt = _RememberedPrompts(backbone.pipeline.encode_prompt)
        self.steps = steps
        self._batch_rows = batch_rows
        self.first: dict[Any, torch.Tensor] = {}
        self.later = _Bounded(kept_bytes)
        self.nfe = 0

    def render(self, rows: Sequence[BatchRow]) -> list[Image.Image]:
        """The pictures of the rows, in their order."""
        images: list[Image.Image] = []
        for start in range(0, len(rows), self._batch_rows):
            images += self._render_batch(rows[start : start + self._batch_rows])
        return images

    def follow(self, rows: Sequence[BatchRow], on_step: OnStep) -> None:
        """Run the rows with `on_step` in the place of the scheduler's step; a LeavePipeline from it ends its batch."""
        for start in range(0, len(rows), self._batch_rows):
            stock = self._scheduler.step
            calls = 0

            # Pipelines look for eta and generator in the signature.
            @functools.wraps(stock)
            def step(  # type: ignore[no-untyped-def]
                model_output, timestep, sample, *args, _stock=stock, _start=start, **kwargs
            ):
                nonlocal calls
                number, calls = calls, calls + 1
                inputs = (model_output, timestep, sample)
                make = functools.partial(_stock, *inputs, *args, **kwargs)
                return on_step(StepCall(number, _start, self._scheduler, inputs, args, kwargs, make))

            self._scheduler.step = step
            try:
                self._render_batch(rows[start : start + self._batch_rows])
            except LeavePipeline:
                continue
            finally:
                del self._scheduler.step

    def early_decoding(self, how: str) -> AbstractContextManager[None]:
        """Cheaper pictures inside the block (decoding.py); what the model made is remembered as always."""
        return early_decoding(self._backbone.pipeline, how)

    def evaluate_first_step(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> None:
        """Remember the first step's outputs of these prompts, evaluated in batches that depend on nothing else."""

        def leave(_call: StepCall) -> Any:
            raise LeavePipeline

        self.follow([BatchRow(p, seed, Coefficients.constant()) for p, seed in zip(prompts, seeds, strict=True)], leave)

    def later_nfe(self, rows: Sequence[BatchRow]) -> int:
        """The model evaluations after the first step that these rows would take now."""
        keys = {_before(row, row.coefficients.at_steps(self.steps), j) for row in rows for j in range(1, self.steps)}
        return sum((0, key) not in self.later for key in keys)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents, before a pipeline packs them; CalibrationError if the autoencoder does not say."""
        config = self._backbone.pipeline.vae.config
        for name in ("latent_channels", "z_dim"):
            if config.get(name):
                return int(config[name])
        raise CalibrationError(
            f"the autoencoder {type(self._backbone.pipeline.vae).__name__} does not say how many channels its latents "
            "have, so no coefficients are fitted in closed form; use --strategy race"
        )

    @property
    def corrects_noise(self) -> bool:
        """True if the pipeline's scheduler corrects the model's output (ptqd)."""
        return correction_of(self._backbone.pipeline.scheduler) is not None

    def _render_batch(self, rows: Sequence[BatchRow]) -> list[Image.Image]:
        n = self.steps
        at_steps = [row.coefficients.at_steps(n) for row in rows]
        model_BS, sample_BS = [c.model for c in at_steps], [c.sample for c in at_steps]
        bias_BSC = None
        if any(c.bias for c in at_steps):
            none = ((0.0,) * self.latent_channels,) * n
            bias_BSC = [c.bias or none for c in at_steps]
        self._scheduler.set_batch_coefficients(model_BS, sample_BS, bias_BSC)

        def key(row: int, step: int) -> Any:
            return _before(rows[row], at_steps[row], step)

        with self._remembering(len(rows), key):
            return render_batch(
                self._backbone, [row.prompt for row in rows], [row.seed for row in rows], steps=n, coefficients=None
            )

    @contextmanager
    def _remembering(self, n_rows: int, key: Callable[[int, int], Any]) -> Iterator[None]:
        """While open, the pipeline has our scheduler, prompts are encoded once and distinct keys evaluated once."""
        pipeline, denoiser = self._backbone.pipeline, self._backbone.denoiser
        shared = _SharedForward(self, denoiser.forward, n_rows, key)
        # A hook may sit on forward already, and a memory of the texts of the whole run on encode_prompt.
        stock, before, texts = pipeline.scheduler, vars(denoiser).get("forward"), vars(pipeline).get("encode_prompt")
        pipeline.scheduler, pipeline.encode_prompt, denoiser.forward = self._scheduler, self._encode_prompt, shared
        try:
            yield
        finally:
            pipeline.scheduler = stock
            del pipeline.encode_prompt, denoiser.forward
            if before is not None:
                denoiser.forward = before
            if texts is not None:
                pipeline.encode_prompt = texts
        if shared.calls != self.steps:
            raise CalibrationError(
                f"{type(pipeline).__name__} called its denoiser {shared.calls} times in {self.steps} steps; "
                "first-step sharing needs one call per step (no second-order scheduler)"
            )


class _SharedForward:
    """The denoiser's `forward` for one batch: equal keys are evaluated once, known ones not at all."""

    def __init__(
        self,
        memory: TrajectoryRenderer,
        forward: Callable[..., Any],
        n_rows: int,
        key: Callable[[int, int], Any],
    ) -> None:
        self._memory, self._forward, self._n_rows, self._key = memory, forward, n_rows, key
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor]:
        step, self.calls = self.calls, self.calls + 1
        total = _rows_in(args, kwargs)
        if total % self._n_rows:
            raise CalibrationError(f"the denoiser was called with {total} rows for {self._n_rows} pictures")
        copies = total // self._n_rows  # 2 if guidance stacks the unconditional half on the conditional one
        keys = [(copy, self._key(row, step)) for copy in range(copies) for row in range(self._n_rows)]
        kept: Any = self._memory.first if step == 0 else self._memory.later
        outputs = {k: kept[k] for k in dict.fromkeys(keys) if k in kept}
        fresh = [i for i, k in enumerate(keys) if k not in outputs and keys.index(k) == i]
        if fresh:
            index = torch.tensor(fresh)
            result = _sample_of(self._forward(*_select(args, index, total), **_select(kwargs, index, total)))
            self._memory.nfe += len(fresh) // copies
            for row, i in enumerate(fresh):
                # A copy: a view would keep the whole batch's output alive.
                outputs[keys[i]] = kept[keys[i]] = result[row].clone()
        return (torch.stack([outputs[k] for k in keys]),)


class _Bounded:
    """A mapping of tensors that forgets the least recently used ones beyond `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._items: OrderedDict[Any, torch.Tensor] = OrderedDict()
        self._max = max_bytes
        self._bytes = 0

    def __contains__(self, key: Any) -> bool:
        return key in self._items

    def __getitem__(self, key: Any) -> torch.Tensor:
        self._items.move_to_end(key)
        return self._items[key]

    def __setitem__(self, key: Any, tensor: torch.Tensor) -> None:
        self._items[key] = tensor
        self._bytes += tensor.nbytes
        while self._bytes > self._max:
            self._bytes -= self._items.popitem(last=False)[1].nbytes


class _RememberedPrompts:
    """`encode_prompt`, called once for each distinct prompt and answered from memory afterwards."""

    def __init__(self, encode: Callable[..., Any]) -> None:
        self._encode = encode
        self._known: dict[Any, tuple[Any, ...]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        prompt, rest = (args[0], args[1:]) if args else (kwargs.pop("prompt", None), ())
        if not isinstance(prompt, list):
            raise CalibrationError(f"encode_prompt was given {type(prompt).__name__}; a list of prompts is expected")
        common = {name: value for name, value in kwargs.items() if not _per_prompt(value, prompt)}
        options = repr((rest, sorted(common.items())))
        for i, text in enumerate(prompt):
            if (text, options) not in self._known:
                one = {name: [value[i]] for name, value in kwargs.items() if name not in common}
                self._known[text, options] = self._encode([text], *rest, **common, **one)
        parts = [self._known[text, options] for text in prompt]
        return tuple(_stacked([part[i] for part in parts]) for i in range(len(parts[0])))


def _before(row: BatchRow, at_steps: Coefficients, step: int) -> Any:
    """What the model's output at a step depends on: prompt, noise, and the coefficients before it."""
    before = at_steps.model[:step], at_steps.sample[:step], at_steps.bias[:step]
    return row.prompt.prompt, row.seed, step, *before


def _per_prompt(value: Any, prompt: list[str]) -> bool:
    return isinstance(value, list) and len(value) == len(prompt)


def _stacked(values: list[Any]) -> Any:
    # Of one prompt: a leading 1 is the batch; anything else (FLUX's text positions, None) is common to all.
    first = values[0]
    if isinstance(first, torch.Tensor) and first.ndim >= 2 and first.shape[0] == 1:
        return torch.cat(values)
    return first


def _rows_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Batch size of a denoiser's call: its first argument is the latents."""
    latents = args[0] if args else kwargs.get("hidden_states", kwargs.get("sample"))
    if not isinstance(latents, torch.Tensor):
        raise CalibrationError("the denoiser was called without latents as its first argument")
    return int(latents.shape[0])


def _select(value: Any, index: torch.Tensor, total: int, name: str = "") -> Any:
    """The chosen rows of every per-row tensor in a call's arguments; all else as it is."""
    if isinstance(value, torch.Tensor):
        if name in SHARED_ARGUMENTS or value.ndim == 0 or value.shape[0] != total:
            return value
        return value[index.to(value.device)]
    if isinstance(value, dict):
        return {key: _select(item, index, total, key) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_select(item, index, total, name) for item in value)
    return value


def _sample_of(output: Any) -> torch.Tensor:
    sample = output[0]
    if not isinstance(sample, torch.Tensor):
        raise CalibrationError(f"the denoiser returned {type(sample).__name__} instead of a tensor")
    return sample
