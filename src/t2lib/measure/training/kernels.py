"""Compute the transformer's float32 CPU kernels as autograd functions.

Each computes what the plain expression in ``model`` computes, with fewer passes over memory, and a
test holds the two together. Matrix products go through oneDNN where this build of PyTorch has it
(``find_onednn``): on AMD processors it is about twice as fast as the default (MKL) in float32, on
Intel equal.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from typing import Any

import t2lib.measure._torch  # noqa: F401

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6
# Below these sizes the conversion costs more than the faster product saves.
_MIN_INNER = 32
_MIN_WORK = 1 << 20
_HEAD_CHUNK = 1 << 22  # logits held at once in ``head_loss``, in elements


Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def find_onednn() -> Product | None:
    """Return oneDNN's ``x @ w.T + b``, or None where it cannot be used.

    The operation is private to PyTorch: where a release has dropped or changed it, plain
    expressions compute the same.
    """
    built: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if platform.machine() not in ("x86_64", "AMD64") or not built:
        return None
    operation = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if operation is None:
        return None

    def product(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """Compute ``x @ w.T + b`` for x (rows, inner) and w (outer, inner)."""
        result: Tensor = operation(x, w, b, "none", [], "")
        return result

    # A trial tells whether the operation still takes these arguments and computes this.
    x, w, b = torch.ones(2, 3), torch.arange(12.0).view(4, 3), torch.arange(4.0)
    try:
        alike = all(torch.equal(product(x, w, add), F.linear(x, w, add)) for add in (b, None))
    except (RuntimeError, TypeError, ValueError):
        return None
    return product if alike else None


_ONEDNN = find_onednn()


def _is_faster(rows: int, inner: int, outer: int) -> bool:
    """Return whether oneDNN is there and worth its conversion at this size."""
    large = min(inner, outer) >= _MIN_INNER and rows * inner * outer >= _MIN_WORK
    return _ONEDNN is not None and large


def _linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Compute ``x @ w.T + b`` by the faster of oneDNN and PyTorch's default."""
    if _ONEDNN is not None and _is_faster(x.shape[0], x.shape[1], w.shape[0]):
        return _ONEDNN(x, w, b)
    return F.linear(x, w, b)


def _apply(function: type[torch.autograd.Function], *args: Any) -> Any:
    return function.apply(*args)  # type: ignore[no-untyped-call]


def matmul_nt(x: Tensor, w: Tensor) -> Tensor:
    """Compute ``x @ w.T`` for x (rows, inner) and w (outer, inner)."""
    return _linear(x, w)


def use_onednn(module: nn.Module) -> None:
    """Send the linear layers of a foreign float32 CPU model through oneDNN.

    It is for inference: these products have no gradient.
    """
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.forward = functools.partial(_layer, layer)  # type: ignore[method-assign]


def _layer(layer: nn.Linear, x: Tensor) -> Tensor:
    """Compute a linear layer of x (..., inner)."""
    rows = x.reshape(-1, x.shape[-1])
    if not _is_faster(rows.shape[0], rows.shape[1], layer.weight.shape[0]):
        return F.linear(x, layer.weight, layer.bias)
    return _linear(rows, layer.weight, layer.bias).view(*x.shape[:-1], -1)


def matmul_tn(g: Tensor, x: Tensor) -> Tensor:
    """Compute ``g.T @ x`` for g (rows, outer) and x (rows, inner)."""
    if not _is_faster(x.shape[0], x.shape[1], g.shape[1]):
        return g.T @ x
    # oneDNN reads transposed operands in place; it is faster with the fewer rows first.
    return matmul_nt(g.T, x.T) if g.shape[1] < x.shape[1] else matmul_nt(x.T, g.T).T


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return matmul_nt(x, w)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        g = g.contiguous()
        return matmul_nt(g, w.T), matmul_tn(g, x)


def linear(x: Tensor, w: Tensor) -> Tensor:
    """Compute ``x @ w.T`` for x (rows, inner) and w (outer, inner), differentiably."""
    if not _is_faster(x.shape[0], x.shape[1], w.shape[0]):
        return F.linear(x, w)
    out: Tensor = _apply(_Linear, x, w)
    return out


def _rstd(x: Tensor) -> Tensor:
    n: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return n.square_().mul_(1.0 / x.shape[-1]).add_(EPS).rsqrt_()


def _norm_backward(g: Tensor, y: Tensor, rstd: Tensor) -> Tensor:
    """Compute the gradient through ``y = x · rstd(x)``, (g − y · mean(g·y)) · rstd."""
    dot = (g * y).sum(-1, keepdim=True).mul_(-1.0 / y.shape[-1])
    return torch.addcmul(g, y, dot).mul_(rstd)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rstd = _rstd(x)
        y = x * rstd
        ctx.save_for_backward(y, rstd)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        y, rstd = ctx.saved_tensors
        return _norm_backward(g, y, rstd)


def norm(x: Tensor) -> Tensor:
    """Normalise the last dimension by its root mean square, without gain."""
    out: Tensor = _apply(_Norm, x)
    return out


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, -1)
        open_ = gate.sigmoid()
        ctx.save_for_backward(gate_up, open_)
        return (gate * open_).mul_(up)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        gate_up, open_ = ctx.saved_tensors
        gate, up = gate_up.chunk(2, -1)
        silu = gate * open_
        out = torch.empty_like(gate_up)
        d_gate, d_up = out.chunk(2, -1)
        torch.mul(g, silu, out=d_up)
        # silu' = σ + silu·(1 − σ)
        slope = torch.addcmul(open_, silu, open_, value=-1).add_(silu)
        torch.mul(slope.mul_(g), up, out=d_gate)
        return out


def swiglu(gate_up: Tensor) -> Tensor:
    """Compute ``silu(gate) · up`` for gate_up (rows, 2·d_ff)."""
    out: Tensor = _apply(_SwiGLU, gate_up)
    return out


def _swap(x: Tensor) -> Tensor:
    """Exchange the halves of the last dimension."""
    a, b = x.chunk(2, -1)
    return torch.cat((b, a), -1)


def _tables(cos: Tensor, sin: Tensor, gain: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Build C and S (T, 2, heads, head_dim) with rotate(x · gain) = x · C + swap(x) · S.

    Spelled out over q, k and heads, so that what they multiply is one long row per position.
    """
    c = torch.cat((cos, cos), -1)[:, None] * gain[:, None]
    s = torch.cat((-sin, sin), -1)[:, None] * _swap(gain)[:, None]
    return (
        c.expand(-1, -1, heads, -1).contiguous(),
        s.expand(-1, -1, heads, -1).contiguous(),
    )


class _QKV(torch.autograd.Function):
    """Split the fused projection, normalise q and k per head, apply gains, rotate."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, gain: Tensor, cos: Tensor, sin: Tensor, heads: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, length, width = qkv.shape
        split = qkv.view(batch, length, 3, heads, width // (3 * heads))
        qk = split[:, :, :2]
        rstd = _rstd(qk)
        y = qk * rstd
        ctx.save_for_backward(y, rstd, gain, cos, sin)
        c, s = _tables(cos, sin, gain, heads)
        q, k = (y * c).addcmul_(_swap(y), s).transpose(1, 3).unbind(2)
        v = split[:, :, 2].clone().transpose(1, 2)
        return q, k, v

    @staticmethod
    def backward(
        ctx: Any, gq: Tensor, gk: Tensor, gv: Tensor
    ) -> tuple[Tensor, Tensor, None, None, None]:
        y, rstd, gain, cos, sin = ctx.saved_tensors
        batch, length, _, heads, dim = y.shape
        g = torch.stack((gq.transpose(1, 2), gk.transpose(1, 2)), 2)
        c, s = _tables(cos, -sin, torch.ones_like(gain), heads)
        grad_qk = (g * c).addcmul_(_swap(g), s)
        d_gain = (grad_qk * y).flatten(0, 1).sum(0).sum(1)
        grad_qk *= gain[:, None].expand(2, heads, dim).contiguous()
        out = torch.empty(batch, length, 3, heads, dim, dtype=y.dtype)
        out[:, :, :2] = _norm_backward(grad_qk, y, rstd)
        out[:, :, 2] = gv.transpose(1, 2)
        return out.flatten(2), d_gain, None, None, None


def split_qkv(
    qkv: Tensor, gain: Tensor, cos: Tensor, sin: Tensor, heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Split qkv (B, T, 3·d) into q, k and v, each (B, heads, T, head_dim).

    q and k are normalised, scaled by ``gain`` (2, head_dim) and rotated.
    """
    out: tuple[Tensor, Tensor, Tensor] = _apply(_QKV, qkv, gain, cos, sin, heads)
    return out


class _HeadLoss(torch.autograd.Function):
    """Compute output head, cross-entropy and z-loss over chunks of rows.

    Gradients are computed with them.
    """

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, w: Tensor, targets: Tensor, z_loss: float
    ) -> tuple[Tensor, Tensor]:
        needs_grad = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        dh = torch.empty_like(h) if needs_grad else None
        dw = torch.zeros_like(w) if needs_grad else None
        correct = targets[:, None].clamp_min(0)
        counts = (targets[:, None] >= 0).to(h.dtype)
        lse, hit = torch.empty_like(counts), torch.empty_like(counts)
        rows = max(1, _HEAD_CHUNK // w.shape[0])
        for start in range(0, h.shape[0], rows):
            part = slice(start, start + rows)
            x, y, counted_rows = h[part], correct[part], counts[part]
            logits = matmul_nt(x, w)
            torch.gather(logits, 1, y, out=hit[part])
            p = torch.softmax(logits, 1)
            # The largest probability is at least 1/V, so its logarithm is safe.
            torch.sub(logits.amax(1, True), p.amax(1, True).log_(), out=lse[part])
            if dh is not None and dw is not None:
                # d/dlogit of nll + z·lse² is p·(1 + 2·z·lse) − onehot
                p.mul_(torch.addcmul(counted_rows, counted_rows, lse[part], value=2.0 * z_loss))
                p.scatter_add_(1, y, -counted_rows)
                dh[part] = matmul_nt(p, w.T)
                dw += matmul_tn(p, x)
        ctx.save_for_backward(dh, dw)
        exact, counted = lse.double(), counts.double()
        nll = ((exact - hit) * counted).sum()
        penalty = (exact.square() * counted).sum()
        rounded = nll.to(h.dtype)
        ctx.mark_non_differentiable(rounded)
        return (nll + z_loss * penalty).to(h.dtype), rounded

    @staticmethod
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None]:
        dh, dw = ctx.saved_tensors
        return dh * g, dw * g, None, None


def head_loss(h: Tensor, w: Tensor, targets: Tensor, z_loss: float) -> tuple[Tensor, Tensor]:
    """Sum the objective and the cross-entropy over tokens, in nats.

    The objective is cross-entropy + z_loss · log²Z.

    h (rows, d), w (V, d), targets (rows,) int64 with −1 for rows that do not count.
    """
    out: tuple[Tensor, Tensor] = _apply(_HeadLoss, h, w, targets, z_loss)
    return out
