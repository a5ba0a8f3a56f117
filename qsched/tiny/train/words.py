"""The two small tokenizers: one token a word of the grammar, characters for everything else.

Both are ordinary `transformers` tokenizers (byte-level BPE for CLIP, Unigram for T5) that save to and
load from a folder; unknown words fall apart into characters and crash nothing.
"""

from __future__ import annotations

import json
import string

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer, T5TokenizerFast

from qsched.tiny.scene import BACKGROUNDS, COLOURS, POSITIONS, RELATIONS, SHAPES, SIZES, TEXTURES

PROMPT_TOKENS = 24
"""Tokens a prompt is padded to, in both tokenizers: the longest caption has 16 words and two marks."""

_PHRASES = (*SIZES, *COLOURS, *TEXTURES, *SHAPES, *POSITIONS, *RELATIONS, *BACKGROUNDS, "a", "an", "background")
GRAMMAR_WORDS = tuple(sorted({word for phrase in _PHRASES for word in phrase.split()}))
QUALITY_WORDS = ("good", "bad", "photo", "picture", "image", "clean", "noisy", "sharp", "blurry", "quality", "high",
                 "low", "of", "with", "and")
_CLIP_PATTERN = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def build_clip_tokenizer() -> CLIPTokenizer:
    """Byte-level BPE whose merges make each known word one token; 24 tokens at most."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_CLIP_PATTERN), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    trainer = trainers.BpeTrainer(
        vocab_size=5000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    words = sorted({*GRAMMAR_WORDS, *QUALITY_WORDS})
    tokenizer.train_from_iterator([" ".join(words)], trainer)
    merges = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    pieces += [a + b for a, b in merges]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=PROMPT_TOKENS)


def build_t5_tokenizer() -> T5TokenizerFast:
    """Unigram with one piece a word and one a character; 24 tokens at most."""
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
