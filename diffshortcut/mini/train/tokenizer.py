"""The CLIP tokenizer of the mini zoo: byte-pair codes in which every caption word is one token.

The rare identifiers (sks, bhj, ...) get a token of their own too, but stand in no caption: that is
what makes them rare, and the paper's mechanism (the rare token absorbs the noise) possible.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

LENGTH = 40  # tokens of a prompt; the longest caption has 37
RARE = ("sks", "bhj", "bhi", "unknown", "xx", "zwx", "olis")
SPOKEN = (  # words of prompts and presets that captions may happen not to draw
    "smiling dslr portrait degraded quality artifact masked noise corruption noisy pattern "
    "abstract lowres low high highres quality clear resolution noise-free chaotic intricate "
    "blurry worst good bad face person photo painting style of a an the in by cubism picasso "
    "without with"
)
SPECIAL = ("<|startoftext|>", "<|endoftext|>")


def words(captions: Iterable[str]) -> Counter[str]:
    """How often each word stands in the captions, lower case, punctuation apart."""
    split = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    counts: Counter[str] = Counter()
    for text in captions:
        counts.update(word for word, _ in split.pre_tokenize_str(text.lower()))
    return counts


def train(captions: Iterable[str], folder: Path) -> CLIPTokenizer:
    """Write vocab.json and merges.txt so that all words, rare ones included, are whole tokens."""
    counts = words(captions)
    assert not counts.keys() & set(RARE), "a rare identifier stands in a caption"
    everything = sorted({*counts, *words([SPOKEN]), *RARE})
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=100_000,
        min_frequency=1,
        end_of_word_suffix="</w>",
        initial_alphabet=alphabet,
        show_progress=False,
    )
    bpe.train_from_iterator(everything, trainer)
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    symbols = alphabet + [c + "</w>" for c in alphabet] + ["".join(pair) for pair in merges]
    vocabulary = {s: i for i, s in enumerate(dict.fromkeys([*symbols, *SPECIAL]))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "bos_token": SPECIAL[0],
        "eos_token": SPECIAL[1],
        "unk_token": SPECIAL[1],
        "pad_token": SPECIAL[1],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))
    return CLIPTokenizer.from_pretrained(folder)
