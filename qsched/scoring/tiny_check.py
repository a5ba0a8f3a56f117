"""The procedural domain's ground-truth check as a scorer: does the picture show what its prompt says?"""

from __future__ import annotations

from PIL import Image

from qsched.scoring.protocol import BatchedScorer, ScorerInfo


class TinyCheck(BatchedScorer):
    """The check's score, 0..1: the share of the prompt's statements that the picture bears out."""

    def __init__(self, *, batch_size: int = 64) -> None:
        from qsched import __version__
        from qsched.tiny.check import check

        self._check = check
        super().__init__(
            ScorerInfo(
                name="tiny-check",
                kind="text",
                version=f"qsched {__version__}",
                scale="0..1; 1 is all right",
                higher_is_better=True,
                weights=None,
                batch_size=batch_size,
                device="cpu",
            )
        )

    def _score_batch(self, images: list[Image.Image], prompts: list[str]) -> list[float]:
        return [self._check(image, prompt).score for image, prompt in zip(images, prompts, strict=True)]
