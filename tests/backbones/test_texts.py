"""What text encoders made of the prompts is kept on disk, and a disk that is full is named."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from qsched.backbones.errors import BackboneError
from qsched.backbones.texts import RememberedTexts


def test_a_full_disk_is_named_with_the_variable_that_moves_the_file(monkeypatch) -> None:
    pipeline = SimpleNamespace(encode_prompt=lambda prompt: torch.ones(len(prompt)), components={})
    texts = RememberedTexts(pipeline, torch.device("cpu"), None)
    assert torch.equal(pipeline.encode_prompt(prompt=["ring"]), pipeline.encode_prompt(prompt=["ring"]))
    assert len(texts) == 1

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(texts, "_file", SimpleNamespace(seek=lambda *_: 0, write=full))
    with pytest.raises(BackboneError, match="No space left on device; set TMPDIR to a folder"):
        pipeline.encode_prompt(prompt=["disc"])
    assert len(texts) == 1
