"""A tokenizer of whole words, saved as transformers saves one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast


def save_tokenizer(
    folder: Path, words: Sequence[str], *, end: str, special: Sequence[str] = (), start: str = ""
) -> None:
    """Words split at spaces; `end` closes every text and pads it, `special` are kept whole."""
    listed = list(dict.fromkeys([end, "<unk>", *special, *([start] if start else []), *words]))
    inner = Tokenizer(models.WordLevel({word: place for place, word in enumerate(listed)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    before = f"{start} " if start else ""
    ids = [(word, listed.index(word)) for word in ([start, end] if start else [end])]
    inner.post_processor = processors.TemplateProcessing(single=f"{before}$A {end}", special_tokens=ids)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=end, eos_token=end, unk_token="<unk>", extra_special_tokens=list(special)
    )
    tokenizer.save_pretrained(folder)
