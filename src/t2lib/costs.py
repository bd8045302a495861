"""What training and sampling cost: cost models behind one interface, for every decision.

The paper counts 6·N·D to train and 2·N·k to serve a token. A real bill also has attention, bytes
moved, prices and data that run out. Each model here reduces to the paper's count, digit for digit,
at its neutral setting. All of them charge training in proportion to the tokens processed, and for
serving the sum of two parts: one paid once per question, one for each of its k samples.

    C_train = a(N)·D          C_inf = b(N) + c(N)·k

C_train is in ``unit`` (FLOPs, FLOP equivalents or money); C_inf is the same unit per served token,
that is per question and per token of one sample's output. Where verdicts on samples are paid for, a
single sample needs none: then k = 1 costs less than b + c.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from t2lib import _check
from t2lib._check import Floats

__all__ = [
    "Cost",
    "DenseCost",
    "MemoryCost",
    "MoneyCost",
    "RepeatedData",
    "ShapeLadder",
    "TransformerCost",
    "VerdictCost",
    "price_per_flop",
]

FLOPS, EQUIVALENT, MONEY = "FLOPs", "FLOP equivalents", "money"

# Where sizes are looked for when a budget is turned into the largest N that it affords.
_LOG_N = (np.log(1e-9), np.log(1e45))


class Cost(ABC):
    """A cost model: a(N), b(N), c(N), and what sizes are worth where data run out."""

    @property
    def unit(self) -> str:
        """Unit of C_train and C_inf: "FLOPs", "FLOP equivalents" or "money"."""
        return FLOPS

    @property
    def tokens_per_sample(self) -> float | None:
        """Tokens of one sample's output, if the model depends on them."""
        return None

    @property
    def flop_price(self) -> float:
        """What one more FLOP of serving costs, in ``unit``."""
        return 1.0

    @property
    def max_size(self) -> float:
        """Largest N that can be served, whatever the budget."""
        return np.inf

    @abstractmethod
    def train_rate(self, N: Floats) -> Floats:
        """a(N): cost of one training token."""

    @abstractmethod
    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """b(N) and c(N): per served token, once per question and for each sample."""

    def one_sample(self, N: Floats) -> Floats:
        """Cost per served token where k is 1."""
        once, each = self.serve_rates(N)
        return np.asarray(once + each)

    def effective(self, N: Floats, D: Floats) -> tuple[Floats, Floats]:
        """N and D at which a law is read: those given, unless data repeat."""
        return N, D

    # ------------------------------------------------------------ for callers

    def train(self, N: ArrayLike, D: ArrayLike) -> Floats:
        """C_train of N parameters on D processed tokens; arguments broadcast.

        TypeError or ValueError unless both are finite and positive.
        """
        tokens = _check.positive("D", D)
        return _scalar(self.train_rate(_check.positive("N", N)) * tokens)

    def serve(self, N: ArrayLike, k: ArrayLike) -> Floats:
        """C_inf of k samples from N parameters, per served token; arguments broadcast.

        TypeError or ValueError unless N is positive and can be served, and k at least 1.
        """
        samples = _check.at_least("k", k, 1.0, "k counts samples per question.")
        return _scalar(self.serving(self._sizes(N), samples))

    def tokens(self, C_train: ArrayLike, N: ArrayLike) -> Floats:
        """D that C_train pays for at N parameters; arguments broadcast."""
        budget = _check.budget("C_train", C_train)
        return _scalar(budget / self.train_rate(_check.positive("N", N)))

    def samples(self, C_inf: ArrayLike, N: ArrayLike) -> Floats:
        """Real k ≥ 1 that C_inf pays for at N parameters; arguments broadcast.

        Raises
        ------
        TypeError, ValueError
            If an argument is not a positive number, or C_inf pays for less than one sample.
        """
        budget, size = _check.budget("C_inf", C_inf), self._sizes(N)
        need, have = np.broadcast_arrays(self.one_sample(size), budget)
        short = have < need * (1.0 - 1e-12)
        if short.any():
            raise ValueError(
                f"C_inf must pay for one sample at least, {need[short].flat[0]:g} {self.unit} per "
                f"served token, got {have[short].flat[0]:g}. Raise C_inf or choose a smaller N."
            )
        return _scalar(self.sampling(size, budget))

    def largest_size(
        self, budget: ArrayLike, *, train: float = 0.0, serve: float = 0.0, k: ArrayLike = 1.0
    ) -> Floats:
        """Largest N whose ``train`` tokens and ``serve`` served tokens of k samples fit the budget.

        Costs grow with N, so bisection on log N finds it. Arguments broadcast.
        """
        limit, samples = np.broadcast_arrays(*_fixed(budget, train, serve, k))

        def fits(N: Floats) -> Any:
            bill = train * self.train_rate(N)
            return (bill + serve * self.serving(N, samples) if serve else bill) <= limit

        return np.minimum(_largest(fits, limit.shape), self.max_size if serve else np.inf)

    def affordable_size(self, C_train: float, C_inf: float | None) -> float:
        """Largest N that both budgets pay for with D = 1 and k = 1, and that can be served."""
        trained = float(self.largest_size(C_train, train=1.0))
        served = np.inf if C_inf is None else float(self.largest_size(C_inf, serve=1.0))
        return min(trained, served, self.max_size)

    def serving(self, N: Floats, k: Floats) -> Floats:
        """C_inf of k samples, unchecked."""
        once, each = self.serve_rates(N)
        return np.where(k > 1.0, once + each * k, self.one_sample(N))

    def sampling(self, N: Floats, C_inf: Floats | float) -> Floats:
        """Samples k that C_inf pays for, unchecked; rounding does not push k below 1."""
        once, each = self.serve_rates(N)
        return np.asarray(np.maximum((C_inf - once) / each, 1.0))

    def _sizes(self, N: ArrayLike) -> Floats:
        return _check.positive("N", N)


@dataclass(frozen=True)
class DenseCost(Cost):
    """The paper's count: 6·N·D to train, 2·N·k per served token.

    Source: Roberts et al. (arXiv 2604.01411); Kaplan et al. (arXiv 2001.08361), section 2.1.
    """

    def train_rate(self, N: Floats) -> Floats:
        """Cost of one training token."""
        return 6.0 * N

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Cost per served token: once per question, and per sample."""
        return np.zeros_like(N), 2.0 * N

    def largest_size(
        self, budget: ArrayLike, *, train: float = 0.0, serve: float = 0.0, k: ArrayLike = 1.0
    ) -> Floats:
        """Largest N that the budget affords."""
        limit, samples = _fixed(budget, train, serve, k)
        return np.asarray(limit / (6.0 * train + 2.0 * samples * serve))


def _largest(fits: Callable[[Floats], Any], shape: tuple[int, ...]) -> Floats:
    """Largest N that fits, where every smaller one does too."""
    lo, hi = (np.full(shape, end) for end in _LOG_N)
    for _ in range(110):  # halves an interval of 124 below the spacing of doubles
        mid = 0.5 * (lo + hi)
        ok = fits(np.exp(mid))
        lo, hi = np.where(ok, mid, lo), np.where(ok, hi, mid)
    return np.asarray(np.exp(lo))


EXCESS_DECAY = 5.31  # R* of parameters, published (Muennighoff et al., arXiv 2305.16264)
DENSE = DenseCost()  # what every decision counts by unless told otherwise


@dataclass(frozen=True, kw_only=True)
class ShapeLadder:
    """Depth, width and KV size of a decoder-only transformer of N parameters.

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
        _one("aspect", self.aspect, "Give the width per layer, such as 128.")
        _check.at_least("vocab", self.vocab, 0.0, "Give the number of entries, or 0 for none.")
        share = _one("kv_share", self.kv_share, "Give key-value heads per query head.")
        _check.require(
            "kv_share", np.asarray(share), share <= 1, "in (0, 1]", "1 is multi-head attention."
        )
        given = [len(np.atleast_1d(v)) for v in (self.sizes, self.depths, self.widths)]
        if len(set(given)) > 1:
            raise ValueError(
                f"sizes, depths and widths must be of equal length, got {given}. Give all three, "
                "one entry per model, or none."
            )
        if given[0]:
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
        """Depth (layers) and width (of the residual stream) at N parameters."""
        size = _check.positive("N", N)
        if self.sizes:
            known = np.log(self.sizes)
            log_n = np.log(size)
            beyond = np.exp((log_n - np.clip(log_n, known[0], known[-1])) / 3.0)
            depth, width = (
                np.exp(np.interp(log_n, known, np.log(v))) * beyond
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
        """Parameters of one vocabulary table at N parameters."""
        return np.asarray(self.vocab * self.shape(N)[1])

    def kv_size(self, N: ArrayLike) -> Floats:
        """Numbers that the KV cache holds per token: 2·depth·width·kv_share."""
        depth, width = self.shape(N)
        return np.asarray(2.0 * depth * width * self.kv_share)

    def _tables(self) -> float:
        return self.vocab if self.tied else 2.0 * self.vocab


@dataclass(frozen=True, kw_only=True)
class TransformerCost(Cost):
    """FLOPs of a decoder-only transformer: attention over prompt and output, tables or not.

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
            _one_number(name, value)
        _one("output_tokens", self.output_tokens, "Give the tokens of one sample.")
        if not isinstance(self.shape, ShapeLadder):
            raise TypeError(
                f"shape must be a ShapeLadder, got {type(self.shape).__name__}. Use "
                "t2lib.ShapeLadder(), or its sizes, depths and widths."
            )

    @property
    def tokens_per_sample(self) -> float | None:
        """Tokens of one sample's output, if the model depends on them."""
        return float(self.output_tokens)

    def train_rate(self, N: Floats) -> Floats:
        """Cost of one training token."""
        rate = 6.0 * self._counted(N)
        if self.attention and self.train_context:
            depth, width = self.shape.shape(N)
            rate = rate + 6.0 * depth * width * self.train_context
        return np.asarray(rate)

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Cost per served token: once per question, and per sample."""
        P, T = float(self.prompt_tokens), float(self.output_tokens)
        weights = 2.0 * self._counted(N)
        prompt, each = weights * (P / T), weights
        if self.attention:
            depth, width = self.shape.shape(N)
            prompt = prompt + 2.0 * depth * width * (P * P / T)
            each = each + 2.0 * depth * width * (2.0 * P + T)
        if self.shared_prompt:
            return np.asarray(prompt), np.asarray(each)
        return np.zeros_like(prompt), np.asarray(prompt + each)

    def _counted(self, N: Floats) -> Floats:
        """Parameters that take part in a product for each token."""
        left_out = (
            float(not (self.embedding or self.head))
            if self.shape.tied
            else float(not self.embedding) + float(not self.head)
        )
        return N - left_out * self.shape.table(N) if left_out else N


@dataclass(frozen=True, kw_only=True)
class MemoryCost(TransformerCost):
    """FLOPs plus bytes moved times the hardware's intensity: weights and KV cache are paid for.

    While a sample is written, every step reads the weights, shared by the sequences decoded
    together, and the KV cache of its context. With the prompt shared it is computed and kept once
    for all samples of a question, and with ``shared_reads`` its cache is also read once for all of
    them. Computing the prompt takes a pass over the weights, shared by as many prompts as sequences
    are decoded together, and writes its cache. Training is taken to be bound by compute.

    Neutral: ``intensity=0`` gives :class:`TransformerCost`. With ``batch=inf`` and
    ``prefill_traffic=False`` it is the cost of Sadhukhan et al., who leave the weights' bytes out.

    Parameters
    ----------
    prompt_tokens, output_tokens, train_context, shape, attention, embedding, head, shared_prompt
        As for :class:`TransformerCost`.
    intensity : float
        FLOPs that the hardware does in the time it moves one byte. 295 is an H100's 989 dense
        bfloat16 TFLOP/s over 3.35 TB/s; Sadhukhan et al. take 562.5, for a B200.
    batch : float, optional
        Sequences decoded together, samples of one question or of many; infinity makes reading the
        weights free. Default 64, unless ``device_memory`` is given.
    weight_bytes, kv_bytes : float
        Bytes of one weight and of one number in the KV cache.
    device_memory : float, optional
        Bytes that weights and caches share, of one device or of several that serve one copy. The
        batch is then what fits beside the weights: each question keeps its prompt, each sample room
        for its whole output. A model that leaves no room for one sequence cannot be served. The
        samples of a question are taken to be in memory together.
    shared_reads : bool
        Whether one reading of the shared prompt's cache serves all samples of a question, which
        takes an attention kernel made for it; otherwise each sample reads it.
    prefill_traffic : bool
        Whether the bytes moved to compute the prompt count.

    Source: Sadhukhan et al., "Kinetics" (arXiv 2506.05333), cost model; what limits the batch and
    the traffic of the prompt are ours.
    """

    intensity: float = 295.0
    batch: float | None = None
    weight_bytes: float = 2.0
    kv_bytes: float = 2.0
    device_memory: float | None = None
    shared_reads: bool = True
    prefill_traffic: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_number("intensity", _check.at_least("intensity", self.intensity, 0.0, "0 is neutral."))
        for name in ("weight_bytes", "kv_bytes"):
            _one(name, getattr(self, name), "2 for 16-bit numbers.")
        if self.device_memory is not None:
            held = _check.at_least(
                "device_memory", self.device_memory, 1e3, "Give bytes: 80e9 for a device of 80 GB."
            )
            _one_number("device_memory", held)
            if self.batch is not None:
                raise ValueError(
                    f"batch must be left out with device_memory, from which it follows, got "
                    f"{self.batch!r}. Give one of the two."
                )
            return
        batch = _check.as_floats("batch", 64.0 if self.batch is None else self.batch)
        object.__setattr__(self, "batch", _one_number("batch", batch))
        _check.require(
            "batch", batch, batch >= 1, "at least 1", "Count the sequences decoded together."
        )

    @property
    def unit(self) -> str:
        """Unit of budgets."""
        return EQUIVALENT

    @cached_property
    def max_size(self) -> float:
        """Largest N whose weights leave room for the cache of one sequence."""
        if self.device_memory is None:
            return np.inf
        need = float(self.prompt_tokens) + float(self.output_tokens)
        return float(_largest(lambda N: self._room(N) >= need, ()))

    def sequences(self, N: ArrayLike, k: ArrayLike) -> Floats:
        """Sequences decoded together at N parameters and k samples per question."""
        size = self._sizes(N)
        samples = _check.at_least("k", k, 1.0, "k counts samples per question.")
        once, each = self._passes(size)
        return _scalar(1.0 / (once / samples + each))

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Cost per served token: once per question, and per sample."""
        once, each = super().serve_rates(N)
        P, T = float(self.prompt_tokens), float(self.output_tokens)
        weights = self.intensity * self.weight_bytes * self._counted(N)  # a pass over them
        cache = self.intensity * self.kv_bytes * self.shape.kv_size(N)  # per token of context
        pass_once, pass_each = self._passes(N)
        once, each = once + weights * pass_once, each + weights * pass_each + cache * (0.5 * T)
        prompt, read = np.zeros_like(once), cache * P
        if self.prefill_traffic and P:
            share = pass_each if self.device_memory is None else P / self._room(N, P + T)
            prompt = (weights * share + cache * P) / T
        if not self.shared_prompt:
            each = each + prompt + read
        elif self.shared_reads:
            once = once + prompt + read
        else:
            once, each = once + prompt, each + read
        fits = N <= self.max_size * (1.0 + 1e-9)  # rounding must not refuse the largest
        return np.where(fits, once, np.inf), np.where(fits, each, np.inf)

    def _room(self, N: Floats, least: float = 0.0) -> Floats:
        """Tokens whose cache fits beside the weights, or ``least``."""
        assert self.device_memory is not None
        free = float(self.device_memory) - self.weight_bytes * N
        return np.maximum(free / (self.kv_bytes * self.shape.kv_size(N)), least)

    def _passes(self, N: Floats) -> tuple[Floats, Floats]:
        """Passes over the weights per step: for a question, and for each of its samples.

        In memory a question takes P + k·T tokens, so B = k·room/(P + k·T) sequences are decoded
        together, and a step of its k samples is k/B = P/room + k·T/room of a pass.
        """
        if self.device_memory is None:
            assert self.batch is not None
            return np.zeros_like(N), np.full_like(N, 1.0 / float(self.batch))
        P, T = float(self.prompt_tokens), float(self.output_tokens)
        room = self._room(N, P + T)
        if self.shared_prompt:
            return P / room, T / room
        return np.zeros_like(N), (P + T) / room

    def _sizes(self, N: ArrayLike) -> Floats:
        size = _check.positive("N", N)
        _check.require(
            "N", size, size <= self.max_size * (1.0 + 1e-9),
            f"at most {self.max_size:.4g}, which leaves room for one sequence in device_memory",
            "Give the memory of several devices together, fewer bytes per weight or shorter texts.",
        )  # fmt: skip
        return size


class _Wrapper(Cost):
    """A cost model on top of another one, ``base``: all that it does not change is the base's."""

    base: Cost

    @property
    def unit(self) -> str:
        """Unit of budgets."""
        return self.base.unit

    @property
    def tokens_per_sample(self) -> float | None:
        """Tokens of one sample's output, if the model depends on them."""
        return self.base.tokens_per_sample

    @property
    def flop_price(self) -> float:
        """What one more FLOP of serving costs, in ``unit``."""
        return self.base.flop_price

    @property
    def max_size(self) -> float:
        """Largest N that can be served."""
        return self.base.max_size

    def train_rate(self, N: Floats) -> Floats:
        """Cost of one training token."""
        return self.base.train_rate(N)

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Cost per served token: once per question, and per sample."""
        return self.base.serve_rates(N)

    def one_sample(self, N: Floats) -> Floats:
        """Cost per served token where k is 1."""
        return self.base.one_sample(N)

    def effective(self, N: Floats, D: Floats) -> tuple[Floats, Floats]:
        """N and D at which a law is read."""
        return self.base.effective(N, D)

    def _sizes(self, N: ArrayLike) -> Floats:
        return self.base._sizes(N)


@dataclass(frozen=True, kw_only=True)
class MoneyCost(_Wrapper):
    """Any cost model in money: a price for training and one for serving.

    Prices are per FLOP (or FLOP equivalent) of ``base``, or per token whatever the size. Budgets
    are then in money. Neutral: both prices per FLOP 1 give ``base``.

    Parameters
    ----------
    base : Cost
        What is counted; not itself in money.
    train_flop, train_token : float
        Price of training, one of the two: per FLOP or per token.
    serve_flop, serve_token : float
        Price of serving, one of the two: per FLOP or per output token.
    prompt_token : float, optional
        With ``serve_token``: price of a token of the prompt, which ``base`` must know
        (:class:`TransformerCost`). Left out: prompts are free.

    Raises
    ------
    TypeError, ValueError
        Prices of zero or below, none or two of a kind, or a base that is in money already.
    """

    base: Cost = field(default_factory=DenseCost)
    train_flop: float | None = None
    train_token: float | None = None
    serve_flop: float | None = None
    serve_token: float | None = None
    prompt_token: float | None = None

    def __post_init__(self) -> None:
        check_cost(self.base, "base")
        if self.base.unit == MONEY:
            raise ValueError(
                "base must count FLOPs, got a cost model that is in money already. Mixed units: "
                "put all prices into one MoneyCost."
            )
        if isinstance(self.base, VerdictCost):
            raise ValueError(
                "base must come without verdicts, got a VerdictCost. Put them on top: "
                "VerdictCost(base=MoneyCost(…))."
            )
        for kind in ("train", "serve"):
            pair = {f"{kind}_{per}": getattr(self, f"{kind}_{per}") for per in ("flop", "token")}
            given = [name for name, price in pair.items() if price is not None]
            if len(given) != 1:
                raise ValueError(
                    f"{' or '.join(pair)} must be given, one of the two, got "
                    f"{' and '.join(given) or 'neither'}. Without a price for both training and "
                    "serving, FLOPs and money would mix."
                )
        for name in ("train_flop", "train_token", "serve_flop", "serve_token", "prompt_token"):
            if getattr(self, name) is not None:
                _one(name, getattr(self, name), "Prices are above zero; leave out what is free.")
        if self.prompt_token is not None and (
            self.serve_token is None or not isinstance(self.base, TransformerCost)
        ):
            raise ValueError(
                f"prompt_token must come with serve_token and a base that knows the prompt, got "
                f"base {type(self.base).__name__}. Use base=TransformerCost(prompt_tokens=…, "
                "output_tokens=…), or a price per FLOP."
            )

    @property
    def unit(self) -> str:
        """Unit of budgets."""
        return MONEY

    @property
    def flop_price(self) -> float:
        """What one more FLOP of serving costs, in money."""
        if self.serve_flop is None:
            raise ValueError(
                "serve_flop must be given where a verdict is priced in FLOPs, got a price per "
                "token only. Give serve_flop, or price verdicts in samples."
            )
        return float(self.serve_flop) * self.base.flop_price

    def train_rate(self, N: Floats) -> Floats:
        """Cost of one training token."""
        if self.train_flop is not None:
            return float(self.train_flop) * self.base.train_rate(N)
        assert self.train_token is not None
        return np.full_like(N, float(self.train_token))

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Cost per served token: once per question, and per sample."""
        if self.serve_flop is not None:
            once, each = self.base.serve_rates(N)
            return float(self.serve_flop) * once, float(self.serve_flop) * each
        assert self.serve_token is not None
        once, each = np.zeros_like(N), np.full_like(N, float(self.serve_token))
        if self.prompt_token is not None:
            assert isinstance(self.base, TransformerCost)
            prompt = float(self.prompt_token * self.base.prompt_tokens / self.base.output_tokens)
            return (once + prompt, each) if self.base.shared_prompt else (once, each + prompt)
        return once, each

    def one_sample(self, N: Floats) -> Floats:
        """Cost per served token where k is 1."""
        return Cost.one_sample(self, N)


@dataclass(frozen=True, kw_only=True)
class VerdictCost(_Wrapper):
    """Any cost model with verdicts on the samples: k samples cost k verdicts, one needs none.

    Neutral: both prices 0.

    Parameters
    ----------
    base : Cost
        What training and bare samples cost.
    samples_each : float
        Price of the verdicts on one sample in samples of the same model, prompt not included.
    flops_each : float
        Their price in FLOPs per served token, whatever the model; charged as ``base`` charges a
        FLOP of serving. Added to ``samples_each``.

    Raises
    ------
    TypeError, ValueError
        Prices below zero, or FLOPs under a price per token.
    """

    base: Cost = field(default_factory=DenseCost)
    samples_each: float = 0.0
    flops_each: float = 0.0

    def __post_init__(self) -> None:
        check_cost(self.base, "base")
        for name in ("samples_each", "flops_each"):
            _one_number(name, _check.at_least(name, getattr(self, name), 0.0, "0 is free."))
        if self.flops_each:
            _ = self.base.flop_price  # refuses a price per token

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Cost per served token: once per question, and per sample with its verdicts."""
        once, each = self.base.serve_rates(N)
        each = each * (1.0 + self.samples_each)
        return once, each + self.flops_each * self.base.flop_price if self.flops_each else each


@dataclass(frozen=True, kw_only=True)
class RepeatedData(_Wrapper):
    """Training beyond the unique data: tokens that repeat cost as much and teach less.

    D processed tokens of U unique ones are worth U + U·R*·(1 − exp(−(D/U − 1)/R*)) unique tokens,
    and that is where a law is read. Never worth more than U·(1 + R*). Neutral: D ≤ U.

    With ``excess_decay`` parameters beyond U_N = min(U, D)/``tokens_per_param`` are discounted in
    the same way: a model too large for its unique data is worth fewer parameters, though it costs
    as much. As published, that holds for models above that size where nothing repeats, too.

    Parameters
    ----------
    unique_tokens : float
        U, tokens without repetition; infinity for no limit.
    base : Cost
        What the tokens cost.
    decay : float
        R*, repetitions after which new ones are worth 1/e; infinity for no discount. 15.39 was
        fitted by Muennighoff et al. to models of up to 9B parameters on web text.
    excess_decay : float
        R* of parameters; infinity (the default) for no discount. ``EXCESS_DECAY``, 5.31, was
        published with the above.
    tokens_per_param : float
        Unique tokens that a parameter asks for. 19.6 is the published U_N = 0.051·U.

    Source: Muennighoff et al. (arXiv 2305.16264), section 3.1, equations 5 and 6, and appendix A.
    """

    unique_tokens: float
    base: Cost = field(default_factory=DenseCost)
    decay: float = 15.39
    excess_decay: float = np.inf
    tokens_per_param: float = 19.6

    def __post_init__(self) -> None:
        check_cost(self.base, "base")
        for name in ("unique_tokens", "decay", "excess_decay"):
            value = _check.as_floats(name, getattr(self, name))
            _one_number(name, value)
            _check.require(name, value, value > 0, "positive", "Infinity stands for no limit.")
        _one("tokens_per_param", self.tokens_per_param, "The published value is 19.6.")

    def effective(self, N: Floats, D: Floats) -> tuple[Floats, Floats]:
        """N and D at which a law is read."""
        unique = np.minimum(float(self.unique_tokens), D)
        size = _fading(N, unique / self.tokens_per_param, self.excess_decay)
        return self.base.effective(size, _fading(D, unique, self.decay))


def _fading(amount: Floats, full: Floats, decay: float) -> Floats:
    """What an amount is worth whose multiples beyond ``full`` fade with ``decay``."""
    if np.isinf(decay):
        return amount
    beyond = np.maximum(amount / full - 1.0, 0.0)
    return np.where(amount <= full, amount, full * (1.0 - decay * np.expm1(-beyond / decay)))


def price_per_flop(
    per_hour: float, *, flops_per_second: float = 9.89e14, utilisation: float = 0.4
) -> float:
    """Price of one FLOP from the rent of an accelerator.

    Parameters
    ----------
    per_hour : float
        Rent of one accelerator for one hour.
    flops_per_second : float
        Its peak; 9.89e14 is an H100's in bfloat16.
    utilisation : float
        Share of the peak that is reached, in (0, 1].
    """
    rent = _one("per_hour", per_hour, "Give the rent of one accelerator hour.")
    peak = _one("flops_per_second", flops_per_second, "Give the peak of the accelerator.")
    share = _one("utilisation", utilisation, "Give the share of the peak that is reached.")
    _check.require("utilisation", np.asarray(share), share <= 1, "in (0, 1]", "0.4 is common.")
    with np.errstate(over="ignore", divide="ignore"):
        price = np.float64(rent) / (3600.0 * peak * share)
    return float(_check.positive("the price of a FLOP", price, "Check the units."))


def check_cost(cost: Any, name: str = "cost") -> None:
    """TypeError unless it is a cost model."""
    if not isinstance(cost, Cost):
        raise TypeError(
            f"{name} must be a cost model, got {cost!r} of type {type(cost).__name__}. Use "
            "t2lib.DenseCost(), TransformerCost(…), MemoryCost(…), MoneyCost(…) or RepeatedData(…)."
        )


def _one(name: str, value: ArrayLike, remedy: str) -> float:
    return _one_number(name, _check.positive(name, value, remedy))


def _one_number(name: str, value: Floats) -> float:
    if value.ndim:
        raise ValueError(f"{name} must be one number, got shape {value.shape}.")
    return float(value)


def _fixed(budget: ArrayLike, train: float, serve: float, k: ArrayLike) -> tuple[Floats, Floats]:
    """Budget and k of ``largest_size``, checked together with its tokens."""
    for name, tokens in (("train", train), ("serve", serve)):
        _one_number(name, _check.at_least(name, tokens, 0.0))
    if train == serve == 0:
        raise ValueError("train or serve must be positive, got 0 tokens of both: every N fits.")
    return _check.positive("budget", budget), _check.at_least("k", k, 0.0)


def _scalar(value: Floats) -> Floats:
    out: Floats = np.asarray(value)[()]
    return out
