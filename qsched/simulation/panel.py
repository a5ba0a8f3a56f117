"""Observers at the page of a fidelity study: they see the three pictures that were served, and nothing else.

The difference of a test picture from the reference is the root mean square of their code values' difference, as a share
of the range; `one_jnd` says how much of it is one JND. That is an assumption, not a measurement: it only makes damage
grow with what is on the screen. A boosted crop has been amplified already, so the gain of boosting follows from the
pictures.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from qsched.errors import InputError
from qsched.records.votes import Choice
from qsched.simulation.observers import ObserverPopulation, Observers, answer_triplets

_CHOICES = (Choice.LEFT, Choice.TIE, Choice.RIGHT)


@dataclass(frozen=True)
class TripletPanel:
    """People who answer triplets, and what one JND is for them."""

    people: Observers
    population: ObserverPopulation
    one_jnd: float = 0.05
    _known: dict[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.one_jnd <= 1:
            raise InputError(f"one_jnd is {self.one_jnd}; it is a share of the range, above 0 and at most 1")

    def answer(
        self, person: int, *, reference: bytes, left: bytes, right: bytes, boosted: bool, rng: np.random.Generator
    ) -> Choice:
        """Which picture differs more from the reference; a tie is "not sure"."""
        damages = [np.array([self.damage(reference, test)]) for test in (left, right)]
        answer = answer_triplets(
            self.people,
            person=np.array([person]),
            left=damages[0],
            right=damages[1],
            boosted=np.array([boosted]),
            gain=np.ones(1),
            population=self.population,
            rng=rng,
        )
        return _CHOICES[int(answer[0])]

    def damage(self, reference: bytes, test: bytes) -> float:
        """The difference of two served pictures in JND of what is shown."""
        key = (hashlib.sha256(reference).hexdigest(), hashlib.sha256(test).hexdigest())
        if key not in self._known:
            pictures = []
            for data in (reference, test):
                with Image.open(io.BytesIO(data)) as picture:
                    pictures.append(np.asarray(picture.convert("RGB"), dtype=np.float64))
            rms = float(np.sqrt(np.mean((pictures[0] - pictures[1]) ** 2))) / 255
            self._known[key] = rms / self.one_jnd
        return self._known[key]
