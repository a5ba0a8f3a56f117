"""The two small tokenizers: one token per word of the grammar, characters for everything else.

Both are ordinary `transformers` tokenizers (byte-level BPE for CLIP, Unigram for T5) that save to and
load from a folder; unknown words fall apart into characters and crash nothing.
"""

from __future__ import annotations

import string
from collections import Counter
from itertools import pairwise

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer, T5TokenizerFast  # type: ignore[attr-defined]  # an alias made at import

from qsched.tiny.scene import BACKGROUNDS, COLOURS, POSITIONS, RELATIONS, SHAPES, SIZES, TEXTURES

PROMPT_TOKENS = 24
"""Tokens a prompt is padded to, in both tokenizers: the longest caption has 16 words and two marks."""

_PHRASES = (*SIZES, *COLOURS, *TEXTURES, *SHAPES, *POSITIONS, *RELATIONS, *BACKGROUNDS, "a", "an", "background")
GRAMMAR_WORDS = tuple(sorted({word for phrase in _PHRASES for word in phrase.split()}))
QUALITY_WORDS = (
    "good",
    "bad",
    "photo",
    "picture",
    "image",
    "clean",
    "noisy",
    "sharp",
    "blurry",
    "quality",
    "high",
    "low",
    "of",
    "with",
    "and",
)


def merge_words(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """The byte-pair merges that make each word one token; ties go to the alphabetically first pair.

    `tokenizers`' own trainer breaks ties in a different order on every call, so two calls would give one
    word two ids.
    """
    spelled = [[*word[:-1], word[-1] + "</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while True:
        counts = Counter(pair for pieces in spelled for pair in pairwise(pieces))
        if not counts:
            return merges
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for pieces in spelled:
            i = 0
            while i < len(pieces) - 1:
                if (pieces[i], pieces[i + 1]) == best:
                    pieces[i : i + 2] = ["".join(best)]
                i += 1


def build_clip_tokenizer() -> CLIPTokenizer:
    """Byte-level BPE whose merges make each known word one token; 24 tokens at most."""
    merges = merge_words(tuple(sorted({*GRAMMAR_WORDS, *QUALITY_WORDS})))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    pieces += [a + b for a, b in merges]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=PROMPT_TOKENS)  # type: ignore[arg-type]  # pairs


def build_t5_tokenizer() -> T5TokenizerFast:
    """Unigram with one piece per word and one per character; 24 tokens at most."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -8.0)]
    words = sorted({*GRAMMAR_WORDS, *QUALITY_WORDS})
    pieces += [("▁" + word, -1.0) for word in (*words, *(word.capitalize() for word in words))]
    pieces += [(character, -10.0) for character in string.ascii_lowercase + string.digits + string.punctuation]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=PROMPT_TOKENS)


def capital_twins(tokenizer: T5TokenizerFast) -> list[tuple[int, int]]:
    """(id of a capitalised word, id of the word): captions are lower case, so training never sees the first."""
    identify = tokenizer.convert_tokens_to_ids
    words = sorted({*GRAMMAR_WORDS, *QUALITY_WORDS})
    return [(identify("▁" + word.capitalize()), identify("▁" + word)) for word in words]
