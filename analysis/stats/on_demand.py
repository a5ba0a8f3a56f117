"""A mapping whose values are made, all together, when one of them is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

V = TypeVar("V")


class OnDemand(Mapping[str, V], Generic[V]):
    """Calls `make` at most once and then lets go of it, with what it holds."""

    def __init__(self, make: Callable[[], dict[str, V]]) -> None:
        self._make: Callable[[], dict[str, V]] | None = make
        self._made: dict[str, V] = {}

    def _all(self) -> dict[str, V]:
        make = self._make
        if make is not None:
            # In this order: another thread finds the values, or makes the same ones again.
            self._made = make()
            self._make = None
        return self._made

    def __getitem__(self, name: str) -> V:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
