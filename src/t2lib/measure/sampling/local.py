"""Draw answers from a checkpoint with ``transformers``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import t2lib.measure._torch  # noqa: F401

import torch

from t2lib.measure.sampling.endpoints import NoAnswer
from t2lib.measure.scoring.hf import load_hf
from t2lib.measure.scoring.references import Reference

BATCH = 64  # answers that are drawn together


class LocalModel:
    """Draw with ``generate`` of ``transformers``, whatever a checkpoint's own defaults are.

    Prompts are encoded as for scoring; with ``chat`` the tokenizer's chat template wraps them.
    """

    def __init__(self, reference: Reference, *, bos: bool | None, device: str, chat: bool) -> None:
        import transformers

        empty: Any = transformers.GenerationConfig
        self.model, self.tokenizer = load_hf(reference, bos=bos, device=device)
        inner = self.model.inner
        defaults = getattr(inner, "generation_config", None)
        ends = getattr(defaults, "eos_token_id", None)
        self._ends = [ends] if isinstance(ends, int) else list(ends or [])
        if not self._ends and self.tokenizer.inner.eos_token_id is not None:
            self._ends = [int(self.tokenizer.inner.eos_token_id)]
        inner.generation_config = empty()  # a checkpoint may ask for top_k or penalties
        self.chat = chat
        if chat and not getattr(self.tokenizer.inner, "chat_template", None):
            raise ValueError(f"chat needs a tokenizer with a chat template, {reference} has none.")

    def draw(self, prompt: str, n: int, seed: int, options: Mapping[str, Any]) -> list[str]:
        """Return ``n`` answers to a prompt.

        Raises
        ------
        NoAnswer
            If prompt and answer are longer than the context.
        """
        ids = self._encode(prompt)
        room = self.model.cfg.context - len(ids)
        if room < options["max_tokens"]:
            raise NoAnswer(
                f"its prompt has {len(ids)} tokens, and max_tokens = {options['max_tokens']} more "
                f"exceed the context of {self.model.cfg.context}"
            )
        answers: list[str] = []
        while len(answers) < n:
            count = min(n - len(answers), BATCH)
            answers += self._generate(ids, count, seed + len(answers), options)
        return answers

    def _encode(self, prompt: str) -> list[int]:
        """Return the tokens that are read."""
        if self.chat:
            messages = [{"role": "user", "content": prompt}]
            text = self.tokenizer.inner.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False
            )
            return self.tokenizer.encode(text)
        context = prompt.rstrip()
        return [*self.tokenizer.opening(context), *self.tokenizer.encode(context)]

    @torch.inference_mode()
    def _generate(
        self, ids: list[int], count: int, seed: int, options: Mapping[str, Any]
    ) -> list[str]:
        """Draw ``count`` answers together."""
        import transformers

        make_config: Any = transformers.GenerationConfig
        inner, stops = self.model.inner, list(options.get("stop") or [])
        temperature = float(options["temperature"])
        random: dict[str, Any] = {"do_sample": False}
        if temperature > 0:
            # top_k = 0: the default of transformers would cut the distribution at 50 tokens
            random = {"do_sample": True, "temperature": temperature, "top_k": 0}
            random["top_p"] = float(options.get("top_p", 1.0))
        config = make_config(
            max_new_tokens=int(options["max_tokens"]),
            eos_token_id=self._ends or None,
            pad_token_id=self._ends[0] if self._ends else 0,
            stop_strings=stops or None,
            **random,
        )
        rows_to_draw = count if temperature > 0 else 1
        read = torch.tensor([ids], device=inner.device).expand(rows_to_draw, -1)
        devices = [inner.device] if inner.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            extra = {"tokenizer": self.tokenizer.inner} if stops else {}
            extra |= self._prompt_cache(ids, rows_to_draw)
            rows = inner.generate(
                read, attention_mask=torch.ones_like(read), generation_config=config, **extra
            )
        texts = [self._decode(row[len(ids) :].tolist(), stops) for row in rows]
        return texts if temperature > 0 else texts * count

    def _prompt_cache(self, ids: list[int], count: int) -> dict[str, Any]:
        """Read the prompt once for all answers, where the model's cache can be repeated."""
        inner = self.model.inner
        if count == 1 or len(ids) < 2:
            return {}
        prompt = torch.tensor([ids[:-1]], device=inner.device)  # the last token is read by generate
        cache: Any = getattr(inner(input_ids=prompt, use_cache=True), "past_key_values", None)
        if type(cache).__name__ != "DynamicCache":
            return {}
        cache.batch_repeat_interleave(count)
        return {"past_key_values": cache}

    def _decode(self, tokens: list[int], stops: list[str]) -> str:
        """Return the text up to the end token or the first stop string."""
        end = next((i for i, token in enumerate(tokens) if token in self._ends), len(tokens))
        text: str = self.tokenizer.inner.decode(tokens[:end], skip_special_tokens=True)
        return cut_at(text, stops)


def cut_at(text: str, stops: list[str]) -> str:
    """Cut a text before the first stop string."""
    return text[: min((text.index(stop) for stop in stops if stop in text), default=len(text))]
