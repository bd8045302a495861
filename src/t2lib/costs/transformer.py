"""Count a transformer's FLOPs, attention included."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib._check import Floats
from t2lib.costs.base import Cost, positive_number, single_number

__all__ = ["ShapeLadder", "TransformerCost"]


@dataclass(frozen=True, kw_only=True)
class ShapeLadder:
    """Describe depth, width and KV size of a transformer of N parameters.

    By default widths follow from N: blocks of (10 + 2·kv_share)·width² parameters (12·width² with
    as many key-value heads as query heads), width = aspect·depth, and one (tied) or two tables of
    vocab·width. Depth and width are real numbers, so that costs are smooth in N. Give ``sizes``,
    ``depths`` and ``widths`` to follow models that exist instead: between them both are
    interpolated in log N, beyond them they grow as N^(1/3).

    Parameters
    ----------
    aspect : float
        Width per layer; 128 is that of many 7B to 13B models.
    vocab : float
        Entries of the vocabulary; 0 leaves tables out.
    tied : bool
        Whether the output head shares the embedding table.
    kv_share : float
        Key-value heads per query head, in (0, 1]: 1 is multi-head, 1/8 grouped-query attention.
    sizes, depths, widths : tuple of float
        Models to follow, by increasing N: all three, or none.

    Raises
    ------
    TypeError, ValueError
        For shapes that no transformer has, such as blocks that hold more than N parameters.
    """

    aspect: float = 128.0
    vocab: float = 50_432.0
    tied: bool = False
    kv_share: float = 1.0
    sizes: tuple[float, ...] = ()
    depths: tuple[float, ...] = ()
    widths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        positive_number("aspect", self.aspect, "Give the width per layer, such as 128.")
        _check.at_least("vocab", self.vocab, 0.0, "Give the number of entries, or 0 for none.")
        share = positive_number("kv_share", self.kv_share, "Give key-value heads per query head.")
        _check.require(
            "kv_share", np.asarray(share), share <= 1, "in (0, 1]", "1 is multi-head attention."
        )
        lengths = [len(np.atleast_1d(v)) for v in (self.sizes, self.depths, self.widths)]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"sizes, depths and widths must be of equal length, got {lengths}. Give all three, "
                "one entry per model, or none."
            )
        if lengths[0]:
            self._check_models()

    def _check_models(self) -> None:
        rows = {
            name: np.atleast_1d(_check.positive(name, getattr(self, name)))
            for name in ("sizes", "depths", "widths")
        }
        for name, values in rows.items():
            object.__setattr__(self, name, tuple(values.tolist()))
        N, depth, width = rows.values()
        if (np.diff(N) <= 0).any() or (np.diff(depth * width) < 0).any():
            raise ValueError(
                "sizes must increase, and depth·width with them, got sizes "
                f"{self.sizes}, depths {self.depths}, widths {self.widths}. Sort by N and keep one "
                "shape per size."
            )
        blocks = (10.0 + 2.0 * self.kv_share) * depth * width**2
        bad = np.flatnonzero(blocks > 1.25 * N)
        if bad.size:
            i = bad[0]
            raise ValueError(
                f"depth {depth[i]:g} and width {width[i]:g} need about {blocks[i]:.3g} parameters "
                f"in their blocks, got sizes[{i}] = {N[i]:.3g}. Check the shape, or count all "
                "parameters in N."
            )

    def shape(self, N: ArrayLike) -> tuple[Floats, Floats]:
        """Return depth (layers) and width (residual stream) at N parameters."""
        size = _check.positive("N", N)
        if self.sizes:
            log_sizes = np.log(self.sizes)
            log_n = np.log(size)
            growth = np.exp((log_n - np.clip(log_n, log_sizes[0], log_sizes[-1])) / 3.0)
            depth, width = (
                np.exp(np.interp(log_n, log_sizes, np.log(v))) * growth
                for v in (self.depths, self.widths)
            )
            return np.asarray(depth), np.asarray(width)
        # blocks/aspect·w³ + tables·w = N, the one real root.
        blocks = (10.0 + 2.0 * self.kv_share) / self.aspect
        p, q = self._tables() / blocks, size / blocks
        if p > 0:
            width = 2.0 * np.sqrt(p / 3.0) * np.sinh(np.arcsinh(1.5 * q / p * np.sqrt(3 / p)) / 3.0)
        else:
            width = np.cbrt(q)
        return np.asarray(width / self.aspect), np.asarray(width)

    def table(self, N: ArrayLike) -> Floats:
        """Count the parameters of one vocabulary table at N parameters."""
        return np.asarray(self.vocab * self.shape(N)[1])

    def kv_size(self, N: ArrayLike) -> Floats:
        """Count the numbers per cached token, 2·depth·width·kv_share."""
        depth, width = self.shape(N)
        return np.asarray(2.0 * depth * width * self.kv_share)

    def _tables(self) -> float:
        return self.vocab if self.tied else 2.0 * self.vocab


@dataclass(frozen=True, kw_only=True)
class TransformerCost(Cost):
    """Count a decoder-only transformer's FLOPs, with attention and vocabulary tables.

    A token at position t costs 2·N for the weights and 4·t·depth·width for attention (query-key and
    attention-value products). Summed over a prompt of P and an output of T tokens that is
    2·N·P + 2·depth·width·P², and 2·N·T + 2·depth·width·(2·P·T + T²) for each sample; a training
    token at context S adds 6·depth·width·S to 6·N. The prompt is computed once for all samples of a
    question, or again for each.

    Neutral: no prompt, ``attention=False`` and all parameters counted give :class:`DenseCost`.

    Parameters
    ----------
    prompt_tokens, output_tokens : float
        P ≥ 0 and T > 0, per question and per sample.
    train_context : float
        S, tokens of context in training; 0 leaves attention out of training.
    shape : ShapeLadder
        Depth and width at each N.
    attention : bool
        Whether attention counts.
    embedding, head : bool
        Whether the input table and the output head count towards the 2·N. Looking up a row costs
        nothing, so ``embedding=False`` is the honest count; the paper counts both. A tied table
        counts if either does.
    shared_prompt : bool
        Whether the k samples of a question share the prompt's work.

    Source: Kaplan et al. (arXiv 2001.08361), table 1, for the operations; Sadhukhan et al. (arXiv
    2506.05333), for the sum over prompt and output.
    """

    prompt_tokens: float
    output_tokens: float
    train_context: float = 0.0
    shape: ShapeLadder = field(default_factory=ShapeLadder)
    attention: bool = True
    embedding: bool = True
    head: bool = True
    shared_prompt: bool = True

    def __post_init__(self) -> None:
        for name in ("prompt_tokens", "train_context"):
            value = _check.at_least(name, getattr(self, name), 0.0, "Give a number of tokens.")
            single_number(name, value)
        positive_number("output_tokens", self.output_tokens, "Give the tokens of one sample.")
        if not isinstance(self.shape, ShapeLadder):
            raise TypeError(
                f"shape must be a ShapeLadder, got {type(self.shape).__name__}. Use "
                "t2lib.costs.ShapeLadder(), or its sizes, depths and widths."
            )

    @property
    def tokens_per_sample(self) -> float | None:
        """Return the tokens of one sample's output."""
        return float(self.output_tokens)

    def train_rate(self, N: Floats) -> Floats:
        """Return the cost of one training token."""
        rate = 6.0 * self._counted(N)
        if self.attention and self.train_context:
            depth, width = self.shape.shape(N)
            rate = rate + 6.0 * depth * width * self.train_context
        return np.asarray(rate)

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Return the cost of a served token per question and per sample."""
        P, T = float(self.prompt_tokens), float(self.output_tokens)
        weights = 2.0 * self._counted(N)
        per_question, per_sample = weights * (P / T), weights
        if self.attention:
            depth, width = self.shape.shape(N)
            per_question = per_question + 2.0 * depth * width * (P * P / T)
            per_sample = per_sample + 2.0 * depth * width * (2.0 * P + T)
        if self.shared_prompt:
            return np.asarray(per_question), np.asarray(per_sample)
        return np.zeros_like(per_question), np.asarray(per_question + per_sample)

    def _counted(self, N: Floats) -> Floats:
        """Count the parameters that enter a product for each token."""
        uncounted_tables = (
            float(not (self.embedding or self.head))
            if self.shape.tied
            else float(not self.embedding) + float(not self.head)
        )
        return N - uncounted_tables * self.shape.table(N) if uncounted_tables else N
