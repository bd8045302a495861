"""Define the transformer with RoPE, RMSNorm, QK-norm, SwiGLU, tied or untied embeddings.

One module serves every size. On a CPU in float32 it runs through ``kernels``; elsewhere (GPU,
bfloat16 autocast, ``torch.compile``) through the plain expressions here. A test holds both equal.

References: Vaswani et al. 2017; RoPE, Su et al. 2021; SwiGLU, Shazeer 2020; RMSNorm, Zhang &
Sennrich 2019; QK-norm, Henry et al. 2020; z-loss, Chowdhery et al. 2022 (PaLM, section 5).
"""

from __future__ import annotations

import math

import t2lib.measure._torch  # noqa: F401

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2lib.measure.suites.specs import ModelConfig
from t2lib.measure.training import kernels

IGNORE = -1  # target of a position that does not count towards the loss
MOST_GRAPHS = 1024  # compiled shapes of one process
INIT_STD = 0.02


class Block(nn.Module):
    """Compute pre-norm attention and SwiGLU on the residual stream."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        d, f = cfg.d_model, cfg.d_ff
        self.n_heads = cfg.n_heads
        self.attn_norm = nn.Parameter(torch.ones(d))
        self.qkv = nn.Parameter(torch.empty(3 * d, d))
        self.qk_norm = nn.Parameter(torch.ones(2, d // cfg.n_heads))
        self.attn_out = nn.Parameter(torch.empty(d, d))
        self.mlp_norm = nn.Parameter(torch.ones(d))
        self.gate_up = nn.Parameter(torch.empty(2 * f, d))
        self.down = nn.Parameter(torch.empty(d, f))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return the stream after this block, with cos and sin (T, 1, head_dim/2)."""
        fast = _fast(x)
        norm, linear = (kernels.norm, kernels.linear) if fast else (_norm, F.linear)
        split, swiglu = (kernels.split_qkv, kernels.swiglu) if fast else (_split_qkv, _swiglu)
        batch, length, d = x.shape
        x = x.flatten(0, 1)
        # The gain of a norm is folded into the weight behind it: one pass over d² instead of B·T·d.
        qkv = linear(norm(x), self.qkv * self.attn_norm)
        q, k, v = split(qkv.view(batch, length, 3 * d), self.qk_norm, cos, sin, self.n_heads)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + linear(y.transpose(1, 2).reshape(-1, d), self.attn_out)
        x = x + linear(swiglu(linear(norm(x), self.gate_up * self.mlp_norm)), self.down)
        return x.view(batch, length, d)


class Transformer(nn.Module):
    """Model the next token with decoder blocks over token ids.

    Parameters
    ----------
    cfg
        Shape. The parameter count equals ``cfg.parameter_groups()``, group by group.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.embedding = nn.Parameter(torch.empty(cfg.vocab_size, cfg.d_model))
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.n_layers))
        self.final_norm = nn.Parameter(torch.ones(cfg.d_model))
        self.head = None if cfg.tied else nn.Parameter(torch.empty(cfg.vocab_size, cfg.d_model))
        half_dim = cfg.d_model // cfg.n_heads // 2
        rate = cfg.rope_theta ** (-torch.arange(half_dim, dtype=torch.float64) / half_dim)
        angle = torch.arange(cfg.context, dtype=torch.float64)[:, None, None] * rate
        self._head_loss = _head_loss
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)
        counted = self.count_parameters()
        if counted != cfg.parameter_groups():
            raise RuntimeError(f"model has {counted}, its config says {cfg.parameter_groups()}.")

    def count_parameters(self) -> dict[str, int]:
        """Parameter count of each group, counted from the tensors themselves."""
        groups = dict.fromkeys(("embedding", "attention", "mlp", "norms", "head"), 0)
        for name, p in self.named_parameters():
            groups[_group(name)] += p.numel()
        return groups

    def hidden(self, tokens: Tensor) -> Tensor:
        """Return normalised hidden states (B, T, d) before the final gain."""
        length = tokens.shape[1]
        if length > self.cfg.context:
            raise ValueError(
                f"tokens must be at most context={self.cfg.context} long, got {length}. "
                "Truncate from the left or build a model with a longer context."
            )
        cos, sin = self.cos[:length], self.sin[:length]
        x = F.embedding(tokens, self.embedding)
        for block in self.blocks:
            x = block(x, cos, sin)
        return kernels.norm(x) if _fast(x) else _norm(x)

    def head_weight(self) -> Tensor:
        """Return the output matrix (V, d) with the final gain folded in."""
        return (self.embedding if self.head is None else self.head) * self.final_norm

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, T, V) in float32."""
        return self.logits(self.hidden(tokens))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return float32 logits (..., V) of hidden states (..., d)."""
        return F.linear(hidden, self.head_weight()).float()

    def loss(self, tokens: Tensor, targets: Tensor, z_loss: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return the summed objective and summed cross-entropy in nats, in float32.

        Parameters
        ----------
        tokens, targets
            (B, T) int64; a target of −1 does not count.
        z_loss
            Weight of log²Z, which keeps the logits from drifting.

        Returns
        -------
        objective, nll
            ``objective`` carries the gradient, ``nll`` does not. Divide by the number of counted
            targets for means.
        """
        h = self.hidden(tokens).flatten(0, 1)
        flat = targets.flatten()
        if _fast(h):
            return kernels.head_loss(h, self.head_weight(), flat, z_loss)
        return self._head_loss(h, self.head_weight(), flat, z_loss)

    def compile_parts(self, backend: str = "inductor") -> None:
        """Compile the blocks (one graph serves all) and the head for fixed shapes, for training.

        A worker trains many shapes, each with a graph of its own, beyond PyTorch's limit of 8.
        """
        for name in ("recompile_limit", "cache_size_limit", "accumulated_recompile_limit"):
            if hasattr(torch._dynamo.config, name):  # names of different releases
                setattr(torch._dynamo.config, name, MOST_GRAPHS)
        for block in self.blocks:
            block.compile(dynamic=False, fullgraph=True, backend=backend)
        self._head_loss = torch.compile(_head_loss, dynamic=False, fullgraph=True, backend=backend)


def build_model(cfg: ModelConfig, seed: int) -> Transformer:
    """Return a ``Transformer`` with weights that depend on ``cfg`` and ``seed`` only.

    Matrices are normal with standard deviation 0.02, the two that write to the residual stream
    0.02/√(2·n_layers) (Radford et al. 2019), gains one. The global random state is untouched.
    """
    model = Transformer(cfg)
    gen = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if _group(name) == "norms":
                continue
            std = INIT_STD
            if name.endswith(("attn_out", "down")):
                std /= math.sqrt(2 * cfg.n_layers)
            p.normal_(0.0, std, generator=gen)
    return model


def is_matrix(name: str) -> bool:
    """Return whether a parameter is decayed, as matrices are and gains are not."""
    return _group(name) != "norms"


def _group(name: str) -> str:
    leaf = name.rpartition(".")[2]
    if leaf in ("embedding", "head"):
        return leaf
    if leaf in ("qkv", "attn_out"):
        return "attention"
    return "mlp" if leaf in ("gate_up", "down") else "norms"


def _fast(x: Tensor) -> bool:
    unusual = torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
    return x.device.type == "cpu" and x.dtype == torch.float32 and not unusual


def _head_loss(h: Tensor, w: Tensor, targets: Tensor, z_loss: float) -> tuple[Tensor, Tensor]:
    logits = F.linear(h, w).float()
    lse = logits.logsumexp(-1)
    keep = targets >= 0
    hit = logits.gather(1, targets.clamp_min(0)[:, None])[:, 0]
    nll = ((lse - hit) * keep).sum()
    return nll + z_loss * (lse.square() * keep).sum(), nll.detach()


def _norm(x: Tensor) -> Tensor:
    return F.rms_norm(x.float(), x.shape[-1:], eps=kernels.EPS)


def _swiglu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate) * up


def _split_qkv(
    qkv: Tensor, gain: Tensor, cos: Tensor, sin: Tensor, heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = qkv.view(*qkv.shape[:2], 3, heads, -1).unbind(2)
    out = []
    for x, g in ((q, gain[0]), (k, gain[1])):
        a, b = (_norm(x) * g).chunk(2, -1)
        out.append(torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(v.dtype))
    return out[0].transpose(1, 2), out[1].transpose(1, 2), v.transpose(1, 2)
