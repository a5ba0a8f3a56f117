"""The errors of scoring.

QschedError
+-- ScoringError    one image could not be scored; the message names it. Never turned into a number.
"""

from __future__ import annotations

from qsched.errors import QschedError


class ScoringError(QschedError):
    """A scorer failed on an image, or gave something that is not a finite number."""

    def __init__(self, scorer: str, image: str, problem: str) -> None:
        super().__init__(f"{scorer} cannot score {image}: {problem}")
        self.scorer = scorer
        self.image = image
        self.problem = problem
