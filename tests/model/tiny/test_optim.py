import pytest
import torch
from torch import nn

from streamqa.model.tiny.optim import Optimizer, orthogonal


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(32, 64), nn.Linear(64, 32)])
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(torch.relu(self.blocks[1](torch.relu(self.blocks[0](x)))))
        return out


def test_orthogonal_has_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((2, 64, 32), (1, 32, 64)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert float(values.min()) > 0.3
        assert float(values.max()) < 1.6


def train(optimizer: Optimizer, model: Small, steps: int) -> float:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 32, generator=generator).bfloat16()
    y = x[:, :4].float().argmax(1)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x).float(), y)
        loss.backward()
        optimizer.step(optimizer.gradients(), 0.02, 1e-2)
    return float(loss.detach())


def test_it_learns_and_the_average_follows() -> None:
    torch.manual_seed(0)
    model = Small().bfloat16()
    optimizer = Optimizer({"m": model}, average=0.9)
    assert train(optimizer, model, 40) < 0.3
    latest = model.head.weight.detach().clone()
    optimizer.show(means=True)
    assert not torch.equal(model.head.weight, latest)
    optimizer.show(means=False)
    assert torch.equal(model.head.weight, latest)


def test_restored_training_goes_on_exactly() -> None:
    torch.manual_seed(0)
    model = Small().bfloat16()
    optimizer = Optimizer({"m": model})
    train(optimizer, model, 5)
    state = {k: (dict(v) if isinstance(v, dict) else v) for k, v in optimizer.state().items()}
    state = torch.load(_saved(state), weights_only=True)
    expected = train(optimizer, model, 5)
    other = Small().bfloat16()
    again = Optimizer({"m": other})
    again.restore(state)
    assert train(again, other, 5) == pytest.approx(expected, abs=1e-6)


def _saved(state: object) -> object:
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer


def test_other_shapes_are_left_alone() -> None:
    torch.manual_seed(0)
    first = Optimizer({"m": Small().bfloat16()})
    state = first.state()
    state["masters"] = {**state["masters"], "m.head.weight": torch.zeros(9, 32)}
    second = Optimizer({"m": Small().bfloat16()})
    before = second.masters["m.head.weight"].clone()
    second.restore(state, momentum=False)
    assert torch.equal(second.masters["m.head.weight"], before)
    assert torch.equal(second.masters["m.head.bias"], first.masters["m.head.bias"])
