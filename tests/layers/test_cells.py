import math

import pytest
import torch

from nmt.acceleration.fused import FusedLoops
from nmt.layers.cells import CellKind, GRUCell, GRUResetAfterCell, LSTMCell, build_cell
from nmt.layers.loops import ReferenceLoops


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def set_weights(cell, value: float) -> None:
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.fill_(value)


def test_gru_resets_before_the_recurrent_product():
    cell = GRUCell(1, 2)
    with torch.no_grad():
        cell.weight.copy_(torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8], [0.9, 1.0], [1.1, 1.2]]))
    x, s = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [1.0, -2.0]
    z = [sigmoid(x[i] + (w.detach() @ torch.tensor(s)).item()) for i, w in enumerate(cell.weight[:2])]
    r = [sigmoid(x[2 + i] + (w.detach() @ torch.tensor(s)).item()) for i, w in enumerate(cell.weight[2:4])]
    kept = torch.tensor([r[0] * s[0], r[1] * s[1]])
    candidate = [math.tanh(x[4 + i] + (w.detach() @ kept).item()) for i, w in enumerate(cell.weight[4:])]
    by_hand = [(1 - z[i]) * s[i] + z[i] * candidate[i] for i in range(2)]
    torch.testing.assert_close(cell(torch.tensor([x]), torch.tensor([s])), torch.tensor([by_hand]))


def test_gru_after_is_the_gru_of_torch():
    ours, theirs = GRUResetAfterCell(3, 4).double(), torch.nn.GRU(3, 4).double()
    assert isinstance(ours.project, torch.nn.Linear)
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        # torch's gates are r, z, candidate, and its z keeps the old state where ours takes the new one.
        for parameter, w, u in ((0, 1, -1), (1, 0, 1), (2, 2, 1)):
            rows, torch_rows = slice(4 * parameter, 4 * parameter + 4), slice(4 * w, 4 * w + 4)
            weights["weight_ih_l0"][torch_rows] = u * ours.project.weight[rows]
            weights["weight_hh_l0"][torch_rows] = u * ours.weight[rows]
            weights["bias_ih_l0"][torch_rows] = u * ours.project.bias[rows]
        weights["bias_hh_l0"].zero_()
        ours.candidate_bias.normal_()
        weights["bias_hh_l0"][8:] = ours.candidate_bias
    inputs, start = torch.randn(5, 2, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    torch.testing.assert_close(
        ReferenceLoops().run_cell(ours, ours.project(inputs), start)[1:], theirs(inputs, start[None])[0]
    )


def test_lstm_is_the_lstm_of_torch():
    ours, theirs = LSTMCell(3, 4).double(), torch.nn.LSTM(3, 4).double()
    assert isinstance(ours.project, torch.nn.Linear)
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        for parameter, w in ((0, 0), (1, 1), (2, 3), (3, 2)):  # torch's gates are i, f, candidate, o
            rows, torch_rows = slice(4 * parameter, 4 * parameter + 4), slice(4 * w, 4 * w + 4)
            weights["weight_ih_l0"][torch_rows] = ours.project.weight[rows]
            weights["weight_hh_l0"][torch_rows] = ours.weight[rows]
            weights["bias_ih_l0"][torch_rows] = ours.project.bias[rows]
        weights["bias_hh_l0"].zero_()
    inputs, start = torch.randn(5, 2, 3, dtype=torch.float64), torch.randn(2, 8, dtype=torch.float64)
    hidden, memory = start.chunk(2, 1)
    states = ReferenceLoops().run_cell(ours, ours.project(inputs), start)
    expected, (_, last) = theirs(inputs, (hidden[None].contiguous(), memory[None].contiguous()))
    torch.testing.assert_close(ours.output(states)[1:], expected)
    torch.testing.assert_close(states[-1, :, 4:], last[0])


def test_an_lstm_starts_with_its_forget_gate_open():
    assert (LSTMCell(3, 4).project.bias[4:8] == 1).all()


@pytest.mark.parametrize("kind", CellKind)
def test_a_closed_update_keeps_the_state(kind):
    cell = build_cell(kind, 2, 3).double()
    set_weights(cell, 0.0)
    gates = torch.full((1, cell.gates * 3), -50.0, dtype=torch.float64)
    if kind is CellKind.lstm:
        gates[:, 3:6] = 50.0  # forget nothing
    state = torch.randn(1, cell.state_size, dtype=torch.float64)
    torch.testing.assert_close(cell(gates, state)[:, -3:], state[:, -3:])


@pytest.mark.parametrize("kind", CellKind)
def test_running_fast_is_running_step_by_step(kind):
    cell = build_cell(kind, 2, 3).double()
    projected = torch.randn(4, 5, cell.gates * 3, dtype=torch.float64)
    start = torch.randn(5, cell.state_size, dtype=torch.float64)
    fused, reference = (loops.run_cell(cell, projected, start) for loops in (FusedLoops(), ReferenceLoops()))
    torch.testing.assert_close(fused, reference)


def test_an_unknown_cell_lists_the_legal_ones():
    with pytest.raises(ValueError, match="gru, gru_reset_after, lstm"):
        build_cell("gruu", 2, 3)  # type: ignore[arg-type]
