"""Read tokenizers of Hugging Face checkpoints as lm-evaluation-harness does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

_PROBES = ("a", "1", ".")  # texts that show which special tokens a tokenizer adds


class HFTokenizer:
    """Encode with a tokenizer of ``transformers``, whatever its kind.

    Truncation and padding that its file switches on stay off, as they do in ``transformers``.

    Parameters
    ----------
    inner : transformers.PreTrainedTokenizerBase
    bos : bool, optional
        Whether prompts begin with the BOS token. None follows the tokenizer: prompts begin with
        the special tokens that it puts before a text. True puts its BOS token there, False
        nothing. The harness calls this ``add_bos_token``.

    Raises
    ------
    ValueError
        If ``bos`` is True and the tokenizer has no BOS token.
    """

    def __init__(self, inner: Any, bos: bool | None = None) -> None:
        self.inner = inner
        self.prefix = self._prefix(bos)
        ends = (inner.bos_token_id, inner.eos_token_id)
        self._first = next((i for i in ends if i is not None), None)
        self._marker = None if self._first is None else inner.decode(self._first)

    @property
    def vocab_size(self) -> int:
        """Return the largest id + 1, added tokens included."""
        return 1 + max(map(int, self.inner.get_vocab().values()))

    @property
    def base_size(self) -> int:
        """Return the largest id + 1 without added tokens."""
        added = self.inner.get_added_vocab()
        return 1 + max((i for t, i in self.inner.get_vocab().items() if t not in added), default=0)

    @property
    def fingerprint(self) -> str:
        """Hash the tokenizer's JSON, or its vocabulary, and its separator."""
        if self.inner.is_fast:
            text = self.inner.backend_tokenizer.to_str()
        else:
            text = json.dumps([type(self.inner).__name__, sorted(self.inner.get_vocab().items())])
        return hashlib.sha256((text + (self.inner.eos_token or "")).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, no special tokens added."""
        ids: list[int] = self.inner.encode(text, add_special_tokens=False, verbose=False)
        return ids

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of token ids, special tokens shown."""
        text: str = self.inner.decode([int(t) for t in tokens], skip_special_tokens=False)
        return text

    def opening(self, prompt: str) -> list[int]:
        """Return the special tokens before a prompt.

        An empty prompt becomes BOS, or else EOS.
        """
        if not prompt:
            return [] if self._first is None else [self._first]
        if self._marker is not None and prompt.startswith(self._marker):
            return []
        return self.prefix

    def _prefix(self, bos: bool | None) -> list[int]:
        """Find the special tokens that come before a text."""
        if bos is False:
            return []
        if bos:
            if self.inner.bos_token_id is None:
                raise ValueError(
                    f"bos must be False or None for {self.inner.name_or_path!r}, got True: its "
                    "tokenizer has no BOS token. Leave bos out."
                )
            return [int(self.inner.bos_token_id)]
        for text in _PROBES:
            ids, all_ids = self.encode(text), list(self.inner.encode(text))
            for start in range(len(all_ids) - len(ids) + 1):
                # A closing token is left out: it would end the text before the answer.
                if ids and all_ids[start : start + len(ids)] == ids:
                    return all_ids[:start]
        return []
