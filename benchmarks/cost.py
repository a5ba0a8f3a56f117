"""What a search costs, counted where the work is done: NFE, decodes, scores, processor seconds.

The wraps are round the classes' own methods, below everything that a renderer puts on its objects, so the count does
not depend on what is being measured. Processor seconds count every thread of the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Cost:
    """NFE (rows of the denoiser's batches), pictures, and processor seconds: all of them, and those of the parts."""

    nfe: int = 0
    pictures: int = 0
    seconds: float = 0.0
    denoiser_seconds: float = 0.0
    decode_seconds: float = 0.0
    scoring_seconds: float = 0.0

    def to_json(self) -> dict[str, float]:
        """A plain dictionary, seconds to a hundredth."""
        return {name: round(value, 2) for name, value in vars(self).items()}


@contextmanager
def counted(denoiser: type, autoencoder: type, scorer: type) -> Iterator[Cost]:
    """Count while the block runs. `scorer` has a method `score(images, texts)`."""
    cost = Cost()

    def on_denoiser(seconds: float, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        latents: Any = arguments[0] if arguments else options.get("hidden_states", options.get("sample"))
        cost.nfe += len(latents)
        cost.denoiser_seconds += seconds

    def on_decode(seconds: float, arguments: tuple[Any, ...], _: dict[str, Any]) -> None:
        cost.pictures += len(arguments[0])
        cost.decode_seconds += seconds

    def on_score(seconds: float, *_: Any) -> None:
        cost.scoring_seconds += seconds

    started = time.process_time()
    with ExitStack() as stack:
        stack.enter_context(_wrapped(denoiser, "forward", on_denoiser))
        stack.enter_context(_wrapped(autoencoder, "decode", on_decode))
        stack.enter_context(_wrapped(scorer, "score", on_score))
        try:
            yield cost
        finally:
            cost.seconds = time.process_time() - started


@contextmanager
def _wrapped(owner: Any, name: str, on_call: Callable[..., None]) -> Iterator[None]:
    stock = owner.__dict__[name]

    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        started = time.process_time()
        result = stock(self, *arguments, **options)
        on_call(time.process_time() - started, arguments, options)
        return result

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, stock)
