"""Triplet votes in: read and check files, screen people by their traps, code the rest as arrays."""

from __future__ import annotations

from analysis.triplets.codes import BOOSTED, PLAIN, TripletCodes, code_triplets
from analysis.triplets.read import read_triplets
from analysis.triplets.screen import ScreenedTriplets, TrapRule, screen
from analysis.triplets.table import TripletTable

__all__ = [
    "BOOSTED",
    "PLAIN",
    "ScreenedTriplets",
    "TrapRule",
    "TripletCodes",
    "TripletTable",
    "code_triplets",
    "read_triplets",
    "screen",
]
