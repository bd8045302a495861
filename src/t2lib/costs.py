"""What training and sampling cost: cost models behind one interface, for every decision.

The paper counts 6·N·D to train and 2·N·k to serve a token. A real bill also has attention, bytes
moved, prices and data that run out. Each model here reduces to the paper's count, digit for digit,
at its neutral setting. All of them charge training in proportion to the tokens processed, and for
serving the sum of two parts: one paid once per question, one for each of its k samples.

    C_train = a(N)·D          C_inf = b(N) + c(N)·k

C_train is in ``unit`` (FLOPs, FLOP equivalents or money); C_inf is the same unit per served token,
that is per question and per token of one sample's output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
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
    "price_per_flop",
]

FLOPS, EQUIVALENT, MONEY = "FLOPs", "FLOP equivalents", "money"

# Where sizes are looked for when a budget is turned into the largest N that it affords.
_LOG_N = (np.log(1e-9), np.log(1e45))


class Cost(ABC):
    """A cost model: a(N), b(N), c(N), and how much training tokens are worth."""

    @property
    def unit(self) -> str:
        """Unit of C_train and C_inf: "FLOPs", "FLOP equivalents" or "money"."""
        return FLOPS

    @property
    def tokens_per_sample(self) -> float | None:
        """Tokens of one sample's output, if the model depends on them."""
        return None

    @abstractmethod
    def train_rate(self, N: Floats) -> Floats:
        """a(N): cost of one training token."""

    @abstractmethod
    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """b(N) and c(N): per served token, once per question and for each sample."""

    def effective_tokens(self, D: Floats) -> Floats:
        """Unique tokens that would teach as much as D processed ones: D, unless they repeat."""
        return D

    # ------------------------------------------------------------ for callers

    def train(self, N: ArrayLike, D: ArrayLike) -> Floats:
        """C_train of N parameters on D processed tokens; arguments broadcast.

        TypeError or ValueError unless both are finite and positive.
        """
        tokens = _check.positive("D", D)
        return _scalar(self.train_rate(_check.positive("N", N)) * tokens)

    def serve(self, N: ArrayLike, k: ArrayLike) -> Floats:
        """C_inf of k samples from N parameters, per served token; arguments broadcast.

        TypeError or ValueError unless N is positive and k at least 1.
        """
        once, each = self.serve_rates(_check.positive("N", N))
        return _scalar(once + each * _check.at_least("k", k, 1.0, "k counts samples per question."))

    def tokens(self, C_train: ArrayLike, N: ArrayLike) -> Floats:
        """D that C_train pays for at N parameters; arguments broadcast."""
        budget = _check.positive("C_train", C_train)
        return _scalar(budget / self.train_rate(_check.positive("N", N)))

    def samples(self, C_inf: ArrayLike, N: ArrayLike) -> Floats:
        """Real k ≥ 1 that C_inf pays for at N parameters; arguments broadcast.

        Raises
        ------
        TypeError, ValueError
            If an argument is not a positive number, or C_inf pays for less than one sample.
        """
        budget = _check.positive("C_inf", C_inf)
        once, each = self.serve_rates(_check.positive("N", N))
        k = np.asarray((budget - once) / each)
        short = k < 1.0
        if short.any():
            need, have = np.broadcast_arrays(once + each, budget)
            raise ValueError(
                f"C_inf must pay for one sample at least, {need[short].flat[0]:g} {self.unit} per "
                f"served token, got {have[short].flat[0]:g}. Raise C_inf or choose a smaller N."
            )
        return _scalar(k)

    def largest_size(
        self, budget: ArrayLike, *, train: float = 0.0, serve: float = 0.0, k: ArrayLike = 1.0
    ) -> Floats:
        """Largest N whose ``train`` tokens and ``serve`` served tokens of k samples fit the budget.

        Costs grow with N, so bisection on log N finds it. Arguments broadcast.
        """
        limit, samples = np.broadcast_arrays(*_fixed(budget, train, serve, k))
        lo, hi = (np.full(limit.shape, end) for end in _LOG_N)
        for _ in range(110):  # halves an interval of 124 below the spacing of doubles
            mid = 0.5 * (lo + hi)
            fits = self._bill(np.exp(mid), train, serve, samples) <= limit
            lo, hi = np.where(fits, mid, lo), np.where(fits, hi, mid)
        return np.asarray(np.exp(lo))

    def _bill(self, N: Floats, train: float, serve: float, k: Floats) -> Floats:
        once, each = self.serve_rates(N)
        return train * self.train_rate(N) + serve * (once + each * k)


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
    together, and the KV cache of its context. With the prompt shared, its cache is read once for
    all samples of a question. Prefill is taken to be bound by compute, as training is: their bytes
    are free.

    Neutral: ``intensity=0`` gives :class:`TransformerCost`. With ``batch=inf`` it is the cost of
    Sadhukhan et al., who leave the weights' bytes out.

    Parameters
    ----------
    prompt_tokens, output_tokens, train_context, shape, attention, embedding, head, shared_prompt
        As for :class:`TransformerCost`.
    intensity : float
        FLOPs that the hardware does in the time it moves one byte. 295 is an H100's 989 dense
        bfloat16 TFLOP/s over 3.35 TB/s; Sadhukhan et al. take 562.5, for a B200.
    batch : float
        Sequences decoded together, samples of one question or of many; infinity makes reading the
        weights free.
    weight_bytes, kv_bytes : float
        Bytes of one weight and of one number in the KV cache.

    Source: Sadhukhan et al., "Kinetics" (arXiv 2506.05333), cost model.
    """

    intensity: float = 295.0
    batch: float = 64.0
    weight_bytes: float = 2.0
    kv_bytes: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_number("intensity", _check.at_least("intensity", self.intensity, 0.0, "0 is neutral."))
        batch = _check.as_floats("batch", self.batch)
        _check.require(
            "batch", batch, batch >= 1, "at least 1", "Count the sequences decoded together."
        )
        for name in ("weight_bytes", "kv_bytes"):
            _one(name, getattr(self, name), "2 for 16-bit numbers.")

    @property
    def unit(self) -> str:
        """Unit of budgets."""
        return EQUIVALENT

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Cost per served token: once per question, and per sample."""
        once, each = super().serve_rates(N)
        cache = self.intensity * self.kv_bytes * self.shape.kv_size(N)  # per token of context
        read = cache * float(self.prompt_tokens)
        each = each + self.intensity * self.weight_bytes * self._counted(N) / float(self.batch)
        each = each + cache * (0.5 * float(self.output_tokens))
        if self.shared_prompt:
            return once + read, each
        return once, each + read


@dataclass(frozen=True, kw_only=True)
class MoneyCost(Cost):
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
    def tokens_per_sample(self) -> float | None:
        """Tokens of one sample's output, if the model depends on them."""
        return self.base.tokens_per_sample

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

    def effective_tokens(self, D: Floats) -> Floats:
        """Unique tokens that D are worth."""
        return self.base.effective_tokens(D)


@dataclass(frozen=True, kw_only=True)
class RepeatedData(Cost):
    """Training beyond the unique data: tokens that repeat cost as much and teach less.

    D processed tokens of U unique ones are worth U + U·R*·(1 − exp(−(D/U − 1)/R*)) unique tokens,
    and that is where a law is read. Never worth more than U·(1 + R*). Neutral: D ≤ U.

    Parameters
    ----------
    unique_tokens : float
        U, tokens without repetition; infinity for no limit.
    base : Cost
        What the tokens cost.
    decay : float
        R*, repetitions after which new ones are worth 1/e. 15.39 was fitted by Muennighoff et al.
        to models of up to 9B parameters on web text.

    Source: Muennighoff et al. (arXiv 2305.16264), equation for D′; their discount on parameters
    beyond what U asks for is not included.
    """

    unique_tokens: float
    base: Cost = field(default_factory=DenseCost)
    decay: float = 15.39

    def __post_init__(self) -> None:
        check_cost(self.base, "base")
        unique = _check.as_floats("unique_tokens", self.unique_tokens)
        _one_number("unique_tokens", unique)
        _check.require(
            "unique_tokens", unique, unique > 0, "positive", "Infinity stands for no limit."
        )
        _one("decay", self.decay, "The published value is 15.39.")

    @property
    def unit(self) -> str:
        """Unit of budgets."""
        return self.base.unit

    @property
    def tokens_per_sample(self) -> float | None:
        """Tokens of one sample's output, if the model depends on them."""
        return self.base.tokens_per_sample

    def train_rate(self, N: Floats) -> Floats:
        """Cost of one training token."""
        return self.base.train_rate(N)

    def serve_rates(self, N: Floats) -> tuple[Floats, Floats]:
        """Cost per served token: once per question, and per sample."""
        return self.base.serve_rates(N)

    def largest_size(
        self, budget: ArrayLike, *, train: float = 0.0, serve: float = 0.0, k: ArrayLike = 1.0
    ) -> Floats:
        """Largest N that the budget affords."""
        return self.base.largest_size(budget, train=train, serve=serve, k=k)

    def effective_tokens(self, D: Floats) -> Floats:
        """Unique tokens that D are worth."""
        unique, decay = float(self.unique_tokens), float(self.decay)
        if np.isinf(unique):
            return self.base.effective_tokens(D)
        repeats = np.maximum(D / unique - 1.0, 0.0)
        worth = np.where(D <= unique, D, unique * (1.0 - decay * np.expm1(-repeats / decay)))
        return self.base.effective_tokens(np.asarray(worth))


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
    return rent / (3600.0 * peak * share)


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
