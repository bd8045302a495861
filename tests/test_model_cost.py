"""What one given model costs, in FLOPs, device hours and rent, and in memory."""

from __future__ import annotations

import pytest

from t2lib.costs import (
    MemoryCost,
    MoneyCost,
    Rental,
    ServedModel,
    Traffic,
    TransformerCost,
    model_cost,
)


def test_a_dense_model_costs_6nd_and_2nk_a_token():
    rental = Rental(gpu="h100", mfu=0.4, serve_mfu=0.2, price_per_hour="$2")
    traffic = Traffic(500, queries_per_month="1M", months=6)
    report = model_cost(ServedModel("7B", "2T"), 16, traffic=traffic, rental=rental)
    assert report.training.flops == 6 * 7e9 * 2e12
    assert report.question.flops == 2 * 7e9 * 16 * 500
    assert report.month.flops == pytest.approx(1e6 * report.question.flops)
    assert report.serving.flops == pytest.approx(6e6 * report.question.flops)
    assert report.training.gpu_hours == pytest.approx(8.4e22 / (989e12 * 0.4 * 3600))
    assert report.question.gpu_hours == pytest.approx(1.12e14 / (989e12 * 0.2 * 3600))
    assert report.serving.money == pytest.approx(2 * report.serving.gpu_hours)
    assert (report.weight_bytes, report.devices) == (14e9, 1)
    rows = report.table().set_index("cost")
    assert list(rows.index) == ["training", "one question", "one month", "all questions"]


def test_experts_compute_little_and_fill_memory():
    dense = model_cost(ServedModel("47B", "2T"), rental=Rental(gpu="h100"))
    sparse = model_cost(ServedModel("47B", "2T", active="13B"), rental=Rental(gpu="h100"))
    assert sparse.training.flops == pytest.approx(dense.training.flops * 13 / 47)
    assert (sparse.weight_bytes, sparse.devices) == (dense.weight_bytes, 2)


def test_quantised_weights_are_read_and_stored_in_fewer_bytes():
    memory = MemoryCost(prompt_tokens=0, output_tokens=600, batch=1)
    models = [ServedModel("8B", "15T", weight_bits=bits) for bits in (16, 4)]
    whole, quantised = (model_cost(model, 4, cost=memory) for model in models)
    assert quantised.weight_bytes == whole.weight_bytes / 4
    assert quantised.training == whole.training
    assert quantised.question.flops < 0.3 * whole.question.flops
    # FLOPs do not change with the bits.
    assert model_cost(models[0]).question == model_cost(models[1]).question


def test_experts_are_read_whole_under_a_memory_model():
    memory = MemoryCost(prompt_tokens=0, output_tokens=600, batch=1)
    shape = {"traffic": Traffic(600), "cost": memory}
    dense, sparse = (
        model_cost(ServedModel("47B", "2T", active=active), **shape).question.flops
        for active in (None, "13B")
    )
    assert 0.5 * dense < sparse < dense


def test_prices_per_flop_and_a_rent_say_the_same():
    rental = Rental(gpu="h100", price_per_hour=2.5)
    train, serve = rental.flop_prices()
    money = MoneyCost(train_flop=train, serve_flop=serve)
    flops = model_cost(ServedModel("7B", "2T"), 4, rental=rental)
    priced = model_cost(ServedModel("7B", "2T"), 4, cost=money, rental=rental)
    for name in ("training", "question"):
        for part in ("flops", "gpu_hours", "money"):
            values = [getattr(getattr(report, name), part) for report in (flops, priced)]
            assert values[0] == pytest.approx(values[1])
    alone = model_cost(ServedModel("7B", "2T"), 4, cost=money)
    assert alone.training.flops is None
    assert alone.training.money == pytest.approx(flops.training.money)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ServedModel("7B", "2T", active="8B"), "active must be at most N = 7e"),
        (lambda: ServedModel("7B tokens", "2T"), "N must be in parameters"),
        (lambda: ServedModel(0, 1), "N must be positive"),
        (lambda: Traffic(600, months=3), "must be given with months"),
        (lambda: Traffic(600, queries=1, queries_per_month=1, months=3), "got both"),
        (lambda: Rental(gpu="h101"), "Did you mean h100"),
        (lambda: Rental(gpu="h100", mfu=40), r"mfu must be in \(0, 1\]"),
        (lambda: Rental(gpu="h100").flop_prices(), "price_per_hour must be given"),
        (lambda: model_cost(ServedModel(1, 1), 0.5), "k must be"),
        (
            lambda: model_cost(
                ServedModel(1e9, 1e9),
                traffic=Traffic(9),
                cost=TransformerCost(prompt_tokens=0, output_tokens=5),
            ),
            "tokens_per_sample must equal",
        ),
    ],
)
def test_a_model_that_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
