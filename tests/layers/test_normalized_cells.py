import copy
import math
from enum import Enum

import pytest
import torch

from nmt.layers.cells import CellKind
from nmt.layers.loops import ReferenceLoops
from nmt.layers.normalized_cells import (
    BlockNorm,
    NormalizedGRUCell,
    NormalizedGRUResetAfterCell,
    NormalizedLinear,
    NormalizedLSTMCell,
    build_normalized_cell,
)
from nmt.model.initialization import Initialization, initialize


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def drawn(kind: CellKind):
    torch.manual_seed(0)
    cell = build_normalized_cell(kind, 3, 4).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_()
    return cell


def test_each_block_is_normalized_on_its_own():
    norm = BlockNorm((2, 3))
    assert norm.bias is not None
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 1.0, 1.0, 3.0]))
        norm.bias.copy_(torch.tensor([0.0, 0.5, 0.0, 0.0, 1.0]))
    # (4, 8): mean 6, deviation 2. (1, 2, 6): mean 3, variance (4 + 1 + 9) / 3.
    deviation = math.sqrt(14 / 3)
    expected = [-1.0, 2.5, -2 / deviation, -1 / deviation, 9 / deviation + 1]
    torch.testing.assert_close(norm(torch.tensor([[4.0, 8.0, 1.0, 2.0, 6.0]])), torch.tensor([expected]))
    torch.testing.assert_close(norm.block(1, torch.tensor([[1.0, 2.0, 6.0]])), torch.tensor([expected[2:]]))


def ones(cell) -> None:
    """Each gate's recurrent product of a state is that state; the norm's gains are 1, 2, 3, ..., its biases a tenth."""
    with torch.no_grad():
        cell.weight.copy_(torch.eye(2).repeat(cell.gates, 1))
        width = len(cell.norm.weight)
        cell.norm.weight.copy_(torch.arange(1.0, width + 1))
        cell.norm.bias.copy_(torch.arange(1.0, width + 1) / 10)


def test_a_gru_normalizes_its_recurrent_products():
    cell = NormalizedGRUCell(1, 2)
    ones(cell)
    x = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    # The products of both gates with (1, -1) are (1, -1, 1, -1), which is normalized as it stands.
    z = [sigmoid(0.1 + 1 + 0.1), sigmoid(0.2 - 2 + 0.2)]
    r = [sigmoid(0.3 + 3 + 0.3), sigmoid(0.4 - 4 + 0.4)]
    kept = [r[0], -r[1]]
    mean = sum(kept) / 2
    deviation = math.sqrt(sum((k - mean) ** 2 for k in kept) / 2 + 1e-5)
    candidate = [math.tanh(x[4 + i] + (5 + i) * (kept[i] - mean) / deviation + (5 + i) / 10) for i in range(2)]
    expected = [(1 - z[i]) * s + z[i] * candidate[i] for i, s in enumerate((1.0, -1.0))]
    found = cell(torch.tensor([x]), torch.tensor([[1.0, -1.0]]))
    torch.testing.assert_close(found, torch.tensor([expected]), rtol=1e-4, atol=1e-4)


def test_a_gru_that_resets_after_resets_what_was_normalized():
    cell = NormalizedGRUResetAfterCell(1, 2)
    ones(cell)
    assert "candidate_bias" not in dict(cell.named_parameters())
    x = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    z = [sigmoid(0.1 + 1 + 0.1), sigmoid(0.2 - 2 + 0.2)]
    r = [sigmoid(0.3 + 3 + 0.3), sigmoid(0.4 - 4 + 0.4)]
    candidate = [math.tanh(0.5 + r[0] * (5 + 0.5)), math.tanh(0.6 + r[1] * (-6 + 0.6))]
    expected = [(1 - z[i]) * s + z[i] * candidate[i] for i, s in enumerate((1.0, -1.0))]
    found = cell(torch.tensor([x]), torch.tensor([[1.0, -1.0]]))
    torch.testing.assert_close(found, torch.tensor([expected]), rtol=1e-4, atol=1e-4)


def test_an_lstm_normalizes_its_gates_together_and_the_cell_that_is_read():
    cell = NormalizedLSTMCell(1, 2)
    ones(cell)
    x = [0.1 * n for n in range(8)]
    signs = [1, -1] * 4
    gates = [x[n] + signs[n] * (n + 1) + (n + 1) / 10 for n in range(8)]
    old = (0.5, 2.0)
    new = [sigmoid(gates[2 + i]) * old[i] + sigmoid(gates[i]) * math.tanh(gates[6 + i]) for i in range(2)]
    mean = sum(new) / 2
    deviation = math.sqrt(sum((c - mean) ** 2 for c in new) / 2 + 1e-5)
    read = [(9 + i) * (new[i] - mean) / deviation + (9 + i) / 10 for i in range(2)]
    hidden = [sigmoid(gates[4 + i]) * math.tanh(read[i]) for i in range(2)]
    found = cell(torch.tensor([x]), torch.tensor([[1.0, -1.0, *old]]))
    torch.testing.assert_close(found, torch.tensor([[*hidden, *new]]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", CellKind)
def test_the_scale_of_weights_changes_nothing(kind):
    """What normalization is for: input and recurrent weights ten times as large give the same."""
    cell = drawn(kind)
    scaled = copy.deepcopy(cell)
    assert isinstance(scaled.project, NormalizedLinear)
    with torch.no_grad():
        scaled.weight.mul_(10)
        scaled.project.linear.weight.mul_(10)
    inputs, state = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, cell.state_size, dtype=torch.float64)
    found, expected = (each(each.project(inputs), state) for each in (scaled, cell))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", CellKind)
def test_gradcheck_of_a_normalized_cell(kind):
    cell = drawn(kind)
    inputs = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    start = torch.randn(2, cell.state_size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda inputs, start, *_: ReferenceLoops().run_cell(cell, cell.project(inputs), start),
        (inputs, start, *cell.parameters()),
        fast_mode=True,
    )


@pytest.mark.parametrize("initialization", Initialization)
def test_gains_begin_at_one_and_forget_gates_open(make, initialization):
    model = make(layer_norm=True, cell=CellKind.lstm)
    initialize(model, initialization)
    cell = model.decoder.cell
    for norm in (cell.norm, cell.project.norm, model.decoder.context.norm):
        assert (norm.weight == 1).all()
    assert (cell.norm.bias == 0).all()
    forget = cell.project.bias[8:16]
    assert (forget == (0 if initialization is Initialization.luong else 1)).all()


def test_a_cell_that_cannot_be_normalized_is_refused():
    class Others(Enum):
        other = "other"

    with pytest.raises(ValueError, match="can be normalized, gru, gru_reset_after, lstm, and not cell=other"):
        build_normalized_cell(Others.other, 2, 3)  # type: ignore[arg-type]
