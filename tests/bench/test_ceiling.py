import pytest
import torch

from streamqa.bench.ceiling import Best, Ceiling
from streamqa.bench.products import Product, Shape

CPU = torch.device("cpu")
LINEAR, PAIR = Shape("linear", 8, 6, 4), Shape("attention", 5, 3, 2, batch=300)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_shape_has_its_best(dtype: torch.dtype) -> None:
    ceiling = Ceiling(CPU, dtype)
    ceiling.measure([LINEAR, PAIR])
    first = dict(ceiling.best)
    ceiling.measure([LINEAR, PAIR])
    for shape in (LINEAR, PAIR):
        assert 0 < ceiling.best[shape].seconds <= first[shape].seconds
    assert ceiling.best[PAIR].how == "bmm"
    assert ceiling.best[LINEAR].how in ("linear", "prepacked")


def test_the_ways_to_multiply_agree() -> None:
    ceiling = Ceiling(CPU, torch.float32)
    results = [once() for once in ceiling._ways(LINEAR, 1).values()]
    for result in results:
        assert isinstance(result, torch.Tensor)
        assert isinstance(results[0], torch.Tensor)
        assert torch.allclose(result, results[0], atol=1e-5)
        assert result.shape == (8, 6)


def test_a_pass_takes_the_sum_of_its_products() -> None:
    ceiling = Ceiling(CPU, torch.float32, {LINEAR: Best(2.0, "linear"), PAIR: Best(0.5, "bmm")})
    assert ceiling.seconds([Product("a", LINEAR, 3), Product("b", PAIR, 2), Product("c", LINEAR, 1)]) == 9.0
    shown = ceiling.as_json(LINEAR)
    assert shown["shapes"][1]["best_ms"] == 500.0
    assert shown["gemm_size"] == 8


def test_copying_is_measured() -> None:
    ceiling = Ceiling(CPU, torch.float32, quick=True)
    ceiling.measure_copy()
    assert ceiling.copy_bytes_per_s > 0
