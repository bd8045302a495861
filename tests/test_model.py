from __future__ import annotations

import platform
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import load_model, save_model
from tiny import MODEL

from t2lib.measure.suites.specs import ModelConfig
from t2lib.measure.training import kernels, model
from t2lib.measure.training.checkpoint import (
    read_checkpoint,
    save_checkpoint,
)
from t2lib.measure.training.model import Transformer, build_model

torch.set_num_threads(1)


def tokens(cfg: ModelConfig, batch: int = 3, seed: int = 0) -> torch.Tensor:
    gen = torch.Generator().manual_seed(seed)
    return torch.randint(0, cfg.vocab_size, (batch, cfg.context), generator=gen)


def rough(cfg: ModelConfig) -> Transformer:
    """A model far from its initial state, so that every part matters."""
    net = build_model(cfg, 0)
    gen = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if model.is_matrix(name):
                p.mul_(8)
            else:
                p.uniform_(0.5, 1.5, generator=gen)
    return net


@settings(max_examples=25, deadline=None)
@given(
    heads=st.integers(1, 3),
    half=st.integers(1, 4),
    layers=st.integers(1, 3),
    d_ff=st.integers(1, 40),
    vocab=st.integers(1, 50),
    tied=st.booleans(),
)
def test_parameters_of_every_group_are_those_of_the_config(
    heads: int, half: int, layers: int, d_ff: int, vocab: int, tied: bool
) -> None:
    cfg = ModelConfig(vocab, 2 * half * heads, layers, heads, 8, d_ff, tied)
    net = Transformer(cfg)
    assert net.count_parameters() == cfg.parameter_groups()
    assert sum(p.numel() for p in net.parameters()) == cfg.N_total


def test_a_miscounted_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelConfig, "parameter_groups", lambda self: {"embedding": 1})
    with pytest.raises(RuntimeError, match="its config says"):
        Transformer(MODEL)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("d", [16, 64])  # below and above the size where oneDNN takes over
def test_cpu_kernels_agree_with_plain_expressions(
    monkeypatch: pytest.MonkeyPatch, d: int, tied: bool
) -> None:
    cfg = replace(MODEL, d_model=d, d_ff=96, context=64, vocab_size=300, tied=tied)
    net = rough(cfg)
    x, y = tokens(cfg, 40), tokens(cfg, 40, seed=1)
    y[::3, ::2] = model.IGNORE

    def gradients() -> tuple[list[float], dict[str, torch.Tensor]]:
        net.zero_grad()
        objective, nll = net.loss(x, y, 1e-2)
        objective.backward()
        grads = {name: p.grad.clone() for name, p in net.named_parameters()}
        return [objective.item(), nll.item()], grads

    fast, fast_grads = gradients()
    monkeypatch.setattr(model, "_fast", lambda x: False)
    plain, plain_grads = gradients()
    assert fast == pytest.approx(plain, rel=1e-6)
    assert fast[0] > fast[1]
    for name, grad in plain_grads.items():
        assert torch.linalg.vector_norm(fast_grads[name] - grad) < 1e-5 * grad.norm(), name


def test_products_work_without_oneDNN(monkeypatch: pytest.MonkeyPatch) -> None:
    gen = torch.Generator().manual_seed(0)
    x, w = torch.randn(512, 64, generator=gen), torch.randn(96, 64, generator=gen)
    with_it = kernels.linear(x, w)
    monkeypatch.setattr(kernels, "_ONEDNN", None)
    torch.testing.assert_close(kernels.linear(x, w), with_it, rtol=1e-5, atol=1e-4)
    assert torch.equal(kernels.linear(x, w), x @ w.T)
    layer = torch.nn.Linear(64, 96)
    plain = layer(x)
    kernels.use_onednn(layer)
    assert torch.equal(layer(x), plain)


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available(),
    reason="needs a build of PyTorch with oneDNN on x86",
)
def test_oneDNN_is_found_where_PyTorch_has_it() -> None:
    assert kernels.find_onednn() is not None


def refuse(*_: object) -> torch.Tensor:
    raise TypeError("linear_pointwise() takes 3 arguments")


@pytest.mark.parametrize(
    "operations",
    [
        {},
        {"_linear_pointwise": refuse},
        {"_linear_pointwise": lambda x, w, *_: 2 * x @ w.T},
    ],
    ids=["gone", "other arguments", "other result"],
)
def test_a_private_operation_that_changed_is_not_used(
    monkeypatch: pytest.MonkeyPatch, operations: dict[str, object]
) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**operations))
    assert kernels.find_onednn() is None


def test_oneDNN_is_not_used_where_PyTorch_was_built_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert kernels.find_onednn() is None


def test_foreign_layers_go_through_oneDNN() -> None:
    gen = torch.Generator().manual_seed(0)
    foreign = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.Linear(96, 3, bias=False))
    for shape in ((8, 64, 64), (2, 64)):
        x = torch.randn(shape, generator=gen)
        with torch.no_grad():
            plain = foreign(x)
            kernels.use_onednn(foreign)
            torch.testing.assert_close(foreign(x), plain, rtol=1e-5, atol=1e-5)


def test_oneDNN_products_equal_the_default_ones() -> None:
    gen = torch.Generator().manual_seed(0)
    x, w, g = (torch.randn(s, generator=gen) for s in ((512, 64), (96, 64), (512, 96)))
    assert kernels._is_faster(512, 64, 96) == (kernels._ONEDNN is not None)
    torch.testing.assert_close(kernels.matmul_nt(x, w), x @ w.T, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(kernels.matmul_tn(g, x), g.T @ x, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(kernels.matmul_tn(x, g), x.T @ g, rtol=1e-5, atol=1e-3)


def test_kernels_have_the_gradients_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_HEAD_CHUNK", 21)  # three rows at a time
    gen = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=gen).requires_grad_()

    angle = torch.rand(5, 1, 2, generator=gen, dtype=torch.float64)
    target = torch.tensor([0, 3, -1, 6, 2, 2, -1, 1])
    assert torch.autograd.gradcheck(kernels.norm, draw(4, 6))
    assert torch.autograd.gradcheck(kernels.swiglu, draw(4, 6))
    assert torch.autograd.gradcheck(
        lambda x, w: kernels._apply(kernels._Linear, x, w), (draw(4, 6), draw(3, 6))
    )
    assert torch.autograd.gradcheck(
        lambda a, b: kernels.split_qkv(a, b, angle.cos(), angle.sin(), 2),
        (draw(2, 5, 24), draw(2, 4)),
    )
    assert torch.autograd.gradcheck(
        lambda h, w: kernels.head_loss(h, w, target, 0.1)[0], (draw(8, 3), draw(7, 3))
    )


def test_logits_depend_on_the_past_alone() -> None:
    net = rough(MODEL)
    x = tokens(MODEL, 1)
    other = x.clone()
    other[0, 20:] = (other[0, 20:] + 1) % MODEL.vocab_size
    a, b = net(x), net(other)
    torch.testing.assert_close(a[:, :20], b[:, :20])
    assert not torch.allclose(a[:, 20:], b[:, 20:])


def test_attention_sees_distance_not_position() -> None:
    """Rotary embedding: shifting q and k together leaves their products as they were."""
    gen = torch.Generator().manual_seed(0)
    net = Transformer(replace(MODEL, context=40))
    qkv = torch.randn(1, 1, 48, generator=gen).expand(1, 40, 48)
    gain = torch.ones(2, 8)
    q, k, _ = kernels.split_qkv(qkv, gain, net.cos, net.sin, 2)
    score = q @ k.transpose(-1, -2)
    torch.testing.assert_close(score[..., 3, 1], score[..., 33, 31], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(score[..., 3, 1], score[..., 3, 2])


def test_loss_is_the_cross_entropy_of_the_logits() -> None:
    net = rough(MODEL)
    x, y = tokens(MODEL), tokens(MODEL, seed=1)
    objective, nll = net.loss(x, y)
    expected = torch.nn.functional.cross_entropy(net(x).flatten(0, 1), y.flatten(), reduction="sum")
    assert nll.item() == pytest.approx(expected.item(), rel=1e-6)
    assert objective.item() == pytest.approx(nll.item(), rel=1e-7)


def test_a_new_model_knows_nothing() -> None:
    net = build_model(MODEL, 0)
    x = tokens(MODEL)
    _, nll = net.loss(x, tokens(MODEL, seed=1))
    assert nll.item() / x.numel() == pytest.approx(np.log(MODEL.vocab_size), abs=0.05)


def test_weights_depend_on_the_seed_and_nothing_else() -> None:
    torch.manual_seed(5)
    first = build_model(MODEL, 3).state_dict()
    torch.manual_seed(6)
    again, other = build_model(MODEL, 3).state_dict(), build_model(MODEL, 4).state_dict()
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not torch.equal(first["embedding"], other["embedding"])


def test_weights_that_write_to_the_stream_start_smaller() -> None:
    cfg = replace(MODEL, d_model=64, d_ff=128)
    blocks = dict(build_model(cfg, 0).named_parameters())
    assert blocks["blocks.0.qkv"].std().item() == pytest.approx(0.02, rel=0.05)
    assert blocks["blocks.0.down"].std().item() == pytest.approx(0.01, rel=0.05)


def test_too_long_a_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="at most context=32 long, got 33"):
        build_model(MODEL, 0)(torch.zeros(1, 33, dtype=torch.int64))


def test_bfloat16_autocast_stays_near_float32() -> None:
    net = build_model(MODEL, 0)
    x, y = tokens(MODEL), tokens(MODEL, seed=1)
    _, exact = net.loss(x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, rounded = net.loss(x, y)
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=1e-3)


def test_compiled_parts_are_whole_graphs_with_the_same_gradients() -> None:
    net = rough(MODEL)
    x, y = tokens(MODEL), tokens(MODEL, seed=1)
    net.loss(x, y, 1e-4)[0].backward()
    grads = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    net.compile_parts(backend="aot_eager")  # traces as on a GPU, compiles nothing
    monkey = pytest.MonkeyPatch()
    monkey.setattr(model, "_fast", lambda x: False)
    net.loss(x, y, 1e-4)[0].backward()
    monkey.undo()
    for p, grad in zip(net.parameters(), grads, strict=True):
        torch.testing.assert_close(p.grad, grad, rtol=1e-4, atol=1e-4)


def test_a_saved_model_comes_back_equal(tmp_path) -> None:
    net = rough(replace(MODEL, tied=False))
    save_model(tmp_path / "m.safetensors", net)
    back = load_model(tmp_path / "m.safetensors")
    assert back.cfg == net.cfg
    x = tokens(MODEL)
    assert torch.equal(net(x), back(x))


def test_a_cut_checkpoint_is_named(tmp_path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, build_model(MODEL, 0))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"m\.safetensors cannot be read"):
        load_model(path)


def test_foreign_checkpoints_are_refused(tmp_path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, str(tmp_path / "a.safetensors"))
    with pytest.raises(ValueError, match="was not written by t2lib"):
        read_checkpoint(tmp_path / "a.safetensors")
    save_checkpoint(tmp_path / "b.safetensors", {"a": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match="holds no model description"):
        load_model(tmp_path / "b.safetensors")


def test_a_process_may_compile_more_shapes_than_pytorch_keeps_by_default() -> None:
    # With its limit of 8, the ninth size of a GPU worker fails: the blocks are one full graph.
    build_model(MODEL, 0).compile_parts(backend="eager")
    config = torch._dynamo.config
    names = [name for name in ("recompile_limit", "cache_size_limit") if hasattr(config, name)]
    assert names
    assert all(getattr(config, name) >= 1024 for name in names)
