"""Say what ``t2 plan`` found, as lines, warnings and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2lib.laws.base import Law
    from t2lib.planning.optimum import Allocation


def predicts(law: Law) -> str:
    """Name what the law predicts."""
    return law.metric


def warnings_of(law: Law, best: Allocation) -> list[str]:
    """List what a reader must know before acting on the numbers."""
    from t2lib.planning.optimum import extrapolation

    notes = []
    factors = extrapolation(law, N=best.N, D=best.D, k=best.k if law.uses_k else None)
    if not law.uses_k and best.C_inf is not None and best.C_total is None:
        notes.append("this law knows one sample only: --c-inf limits N and buys nothing else")
    for name, factor in factors.items():
        side = f"{factor:.3g} times the largest" if factor > 1 else f"{factor:.3g} of the smallest"
        notes.append(f"{name} is {side} value that the law was fitted to: a forecast")
    if best.at_bound == "k=1" and best.C_total is not None:
        notes.append("one sample per question: at this traffic a second is not worth its price")
    elif best.at_bound == "k=1":
        notes.append("--c-inf pays for one sample at this N: a larger one would allow a larger N")
    elif best.at_bound == "memory":
        notes.append("the largest model that fits in --device-memory: more memory would allow more")
    elif best.at_bound == "flat":
        notes.append("the law is flat around this optimum: N is the middle of a range")
    elif best.at_bound:
        notes.append(f"the optimum sits at the {best.at_bound} end of the search range for N")
    if law.status_.code != "converged":
        notes.append(f"the fit is {law.status_.code}: {law.status_.message}")
    if law.bootstrap_ is None:
        notes.append("no intervals: the law was saved without bootstrap")
    return notes


def lines_of(law: Law, best: Allocation) -> list[str]:
    """Lay out the answer, one quantity a line."""
    from t2lib.units import size

    def line(label: str, value: str, ends: tuple[float, float] | None, show: Any) -> str:
        text = f"{label:21} {value:>10}"
        return text if ends is None else f"{text}   [{show(ends[0])}, {show(ends[1])}]"

    def plain(value: float) -> str:
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    def fine(value: float) -> str:
        return f"{value:.4g}"

    # Always N, D, k and the value; the rest where it is defined.
    lines = [
        f"{'':21} {'best':>10}   {best.level:.0%} interval",
        line("N (parameters)", size(best.N), best.N_interval, size),
        line("D (tokens)", size(best.D), best.D_interval, size),
        line("k (samples)", plain(best.k), best.k_interval, plain),
        line(
            "tokens per parameter",
            plain(best.tokens_per_param),
            best.tokens_per_param_interval,
            plain,
        ),
        line(f"predicted {predicts(law)}", fine(best.value), best.value_interval, fine),
    ]
    if best.train_fraction is not None:
        share = best.train_fraction_interval
        lines.append(line("training share", fine(best.train_fraction), share, fine))
    if best.N_effective is not None:
        lines.append(line("N worth", size(best.N_effective), None, size))
    if best.D_effective is not None:
        lines.append(line("D worth, unique", size(best.D_effective), None, size))
    if best.cost_per_query is not None and best.unit != "FLOPs":
        lines.append(line("cost of a question", fine(best.cost_per_query), None, fine))
    if best.cost_of_pass is not None:
        lines.append(line("cost of a pass", fine(best.cost_of_pass), None, fine))
    return lines
