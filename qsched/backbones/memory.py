"""What a backbone needs in memory, by arithmetic from its numbers of weights. No torch.

Bytes of weights are parameters times bits; scales of the formats are included. What a forward pass takes beyond the
weights is not known before it runs: `WORKING` is an allowance for it, an assumption that every number here shares.
"""

from __future__ import annotations

from dataclasses import dataclass

from qsched.backbones.spec import BackboneSpec

WORKING = 2 * 1024**3
# Bits that one weight takes in memory, scales included, by precision. w4a8 keeps its 4-bit codes in 8 bits (simulated
# arithmetic), and a fake or simulated format keeps the base dtype.
RESIDENT_BITS = {"bf16": 16.0, "w8a8": 8.0, "int8": 8.0, "w4a8": 8.5, "nf4": 4.5, "simulated": 16.0}


@dataclass(frozen=True)
class Need:
    """Bytes of one precision on the device.

    together      everything resident at once, as `generate-pairs` runs today after quantizing
    largest       the largest of text encoders and denoiser, if they took turns
    at_load       before quantizing: all of it in 16 bits
    """

    precision: str
    together: int
    largest: int
    at_load: int


def memory_need(spec: BackboneSpec, precision: str) -> Need | None:
    """The need of a named backbone in a precision of `RESIDENT_BITS`; None if its numbers of weights are not known."""
    if spec.parameters is None or spec.denoiser_parameters is None:
        return None
    others = 2 * (spec.parameters - spec.denoiser_parameters)
    denoiser = round(spec.denoiser_parameters * RESIDENT_BITS[precision] / 8)
    return Need(
        precision,
        together=others + denoiser + WORKING,
        largest=max(others, denoiser) + WORKING,
        at_load=2 * spec.parameters + WORKING,
    )
