"""Train or open tokenizers for real text.

Byte-level BPE trained here, or any fast Hugging Face tokenizer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2lib import _check, _extras, _files

if TYPE_CHECKING:
    import tokenizers

END_OF_TEXT = "<|endoftext|>"
_KNOWN_ENDS = (END_OF_TEXT, "</s>", "<eos>", "<|end_of_text|>", "<|im_end|>")


class TextTokenizer:
    """Wrap a ``tokenizers.Tokenizer`` with the document separator known.

    Truncation and padding that it switches on are switched off in a copy.

    Parameters
    ----------
    backend : tokenizers.Tokenizer
    end_of_text : str, optional
        The separator token; by default the first of the usual names that it has.
    """

    def __init__(self, backend: tokenizers.Tokenizer, end_of_text: str | None = None) -> None:
        names = _KNOWN_ENDS if end_of_text is None else (end_of_text,)
        known_names = [name for name in names if backend.token_to_id(name) is not None]
        if not known_names:
            raise ValueError(
                f"tokenizer must have a document separator, found none of {list(names)}. Name its "
                'own with "end_of_text" in the tokenizer description.'
            )
        self.backend = without_limits(backend)
        self._stored = backend
        self.end_of_text = known_names[0]
        self.eot_id = int(backend.token_to_id(known_names[0]) or 0)  # found, so never None
        self._size = 1 + max(backend.get_vocab(with_added_tokens=True).values())

    @property
    def vocab_size(self) -> int:
        """Return the largest id + 1."""
        return self._size

    @property
    def fingerprint(self) -> str:
        """Hash the tokenizer's JSON and its separator, SHA-256."""
        return hashlib.sha256((self.backend.to_str() + self.end_of_text).encode()).hexdigest()

    @property
    def stored_fingerprint(self) -> str:
        """Hash the tokenizer as it was given, truncation and padding included."""
        return hashlib.sha256((self._stored.to_str() + self.end_of_text).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return token ids, no special tokens added."""
        ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of many texts.

        Encoded in parallel where TOKENIZERS_PARALLELISM allows.
        """
        return [e.ids for e in self.backend.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of token ids, separators shown."""
        text: str = self.backend.decode([int(t) for t in tokens], skip_special_tokens=False)
        return text


def without_limits(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Return the tokenizer without truncation and padding.

    A copy of it, if it has any.
    """
    if backend.truncation is None and backend.padding is None:
        return backend
    copy = type(backend).from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def train_bpe(documents: Iterator[str], vocab_size: int) -> TextTokenizer:
    """Train a byte-level BPE of exactly ``vocab_size`` tokens.

    Separator included (Radford et al., 2019).

    Raises
    ------
    ValueError
        If the documents hold too little text for so many tokens.
    """
    _extras.need("tokenizers")
    import tokenizers

    min_size = 257  # all bytes and the separator
    vocab_size = _check.count("tokenizer vocab_size", vocab_size, min_size)
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(documents, trainer)
    size = backend.get_vocab_size(with_added_tokens=True)
    if size != vocab_size:
        raise ValueError(
            f"tokenizer vocab_size must be reachable, asked {vocab_size}, but the training text "
            f"yields only {size}. Give more text or a smaller vocab_size."
        )
    return TextTokenizer(backend)


def open_tokenizer(spec: Mapping[str, Any]) -> TextTokenizer:
    """Open a tokenizer from a file, a folder or Hugging Face.

    ``{"path": file or folder}`` or ``{"name": Hugging Face repository}``.

    ``end_of_text`` names the separator where it is not one of the usual.
    """
    end = spec.get("end_of_text")
    if "path" in spec:
        path = Path(spec["path"])
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise ValueError(
                f"tokenizer path must be a tokenizer.json or a folder with one, got {str(path)!r}."
            )
        return TextTokenizer(_from_file(file), end)
    _extras.need("transformers")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(spec["name"], revision=spec.get("revision"))
    if not tokenizer.is_fast:
        raise ValueError(
            f"tokenizer {spec['name']!r} has no fast version, which packing needs. Choose one with "
            "a tokenizer.json."
        )
    return TextTokenizer(tokenizer.backend_tokenizer, end or tokenizer.eos_token)


def _from_file(file: Path) -> tokenizers.Tokenizer:
    _extras.need("tokenizers")
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_str(_files.read_text(file))
    except _files.UnreadableFileError:
        raise
    except Exception as error:  # the Rust side raises bare Exception
        raise ValueError(f"{file} is not a tokenizer ({error}). Restore or rebuild it.") from error
