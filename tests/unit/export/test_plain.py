"""A model written out as plain torch code computes what the model computes."""

import pytest
import torch
from torch import nn

from worker.export import kit
from worker.export.errors import CannotWriteOut
from worker.export.plain import Plain, write_out

N_CHANS, N_TIMES = 4, 40


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(N_CHANS, 6, 5), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.ELU())
        self.register_buffer("shift", torch.tensor(0.5))
        self.head = nn.Linear(6, 1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(input + self.shift).mean(-1))


class OneBatchSize(Small):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) * (2.0 if len(input) == 4 else 1.0)


class LooksAtValues(Small):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input if input.sum() > 0 else -input)


def trained(model: nn.Module) -> nn.Module:
    """With running statistics that are not the initial ones."""
    model.train()
    for _ in range(3):
        model(torch.randn(8, N_CHANS, N_TIMES) * 3 + 1)
    return model.eval()


def revived(plain: Plain) -> nn.Module:
    """The text as a module, the way submission.py has it."""
    body = "\n".join(f"        {line}" for line in plain.lines)
    scope = {"Network": kit.Network, "aten": torch.ops.aten, "torch": torch}
    code = f"class Revived(Network):\n    any_batch = {plain.any_batch}\n    def compute(self, x, w):\n{body}"
    exec(code, scope)
    return scope["Revived"](plain.tensors)  # type: ignore[operator]


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_text_computes_what_the_model_computes_for_any_batch(batch):
    model = trained(Small())
    x = torch.randn(batch, N_CHANS, N_TIMES) * 10
    plain = write_out(model, N_CHANS, N_TIMES)
    assert plain.any_batch
    with torch.inference_mode():
        torch.testing.assert_close(revived(plain)(x), model(x))


def test_the_tensors_keep_the_models_names():
    model = trained(Small())
    plain = write_out(model, N_CHANS, N_TIMES)
    unused = {"conv.1.num_batches_tracked"}
    assert set(plain.tensors) == set(model.state_dict()) - unused
    assert set(revived(plain).net.state_dict()) == set(plain.tensors)


def test_a_model_that_depends_on_the_size_of_its_batch_is_computed_window_by_window():
    model = trained(OneBatchSize())
    x = torch.randn(4, N_CHANS, N_TIMES) * 10
    plain = write_out(model, N_CHANS, N_TIMES)
    assert not plain.any_batch
    alone = torch.cat([model(window) for window in x.split(1)])
    torch.testing.assert_close(revived(plain)(x), alone)


def test_a_model_that_decides_by_values_is_refused():
    with pytest.raises(CannotWriteOut, match="LooksAtValues cannot be written out"):
        write_out(trained(LooksAtValues()), N_CHANS, N_TIMES)


def test_values_are_let_go_after_their_last_use():
    lines = write_out(trained(Small()), N_CHANS, N_TIMES).lines
    made = {line.split(" = ")[0] for line in lines if " = " in line}
    gone = {name for line in lines for name in made if f"del {name}" in line}
    assert made - gone == {lines[-1].removeprefix("return ")}
