"""Numbers as people write them: 410M parameters, 1e21 FLOPs."""

from __future__ import annotations


def size(value: float) -> str:
    """A parameter or token count as text: 4.1e8 becomes 410M.

    Examples
    --------
    >>> size(4.1e8)
    '410M'
    """
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit * 0.9995:
            scaled = value / unit
            return f"{scaled:,.0f}{name}" if scaled >= 1000 else f"{scaled:.3g}{name}"
    return f"{value:.3g}"


def flops(value: float) -> str:
    """A budget as text: 1e+21 becomes 1e21.

    Examples
    --------
    >>> flops(1e21)
    '1e21'
    """
    mantissa, _, exponent = f"{value:.2g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else f"{value:g}"


def number(value: float) -> str:
    """Three digits without an exponent: 1093.2 becomes 1,090 and 0.30123 becomes 0.301.

    Examples
    --------
    >>> number(1093.2)
    '1,090'
    """
    digits = float(f"{value:.3g}")
    return f"{digits:,.0f}" if digits >= 100 else f"{digits:g}"
