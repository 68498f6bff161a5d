"""What all decoders share: what goes in and out of them, the target embedding and a stack of cells."""

from typing import Generic, NamedTuple, Protocol, Self, TypeVar, cast

from torch import Tensor, nn

from nmt.model.attention import Source
from nmt.model.cells import Cell, CellKind, build_cell, step_upper_cells
from nmt.model.dropout import Dropout
from nmt.model.embedding import Embedding
from nmt.model.encoder import EncoderOutput
from nmt.model.loops import ReferenceLoops


class State(Protocol):
    """What changes over the steps, for N hypotheses. Each decoder has its own, with the fields that it needs.

    layers: the cells' states, (N, state_size) each, bottom first.
    """

    @property
    def layers(self) -> tuple[Tensor, ...]: ...

    def select(self, rows: Tensor) -> Self:
        """The state of the hypotheses `rows` (R,) alone, in that order."""
        ...

    def for_single_position(self) -> Self:
        """The same for sources of one position, whose weight is one whatever was attended to before."""
        ...


StateT = TypeVar("StateT", bound=State)


def select_rows(layers: tuple[Tensor, ...], rows: Tensor) -> tuple[Tensor, ...]:
    """layers (N, .) each, rows (R,) -> (R, .) each."""
    return tuple(layer.index_select(0, rows) for layer in layers)


class Step(NamedTuple):
    """features (N, R), the next state, weights (N, S).

    The weights belong to the word that the step predicts, for every decoder and score.
    """

    features: Tensor
    state: State
    weights: Tensor


class Features(NamedTuple):
    """features (B, T, R), weights (B, T, S)."""

    features: Tensor
    weights: Tensor


class Decoder(nn.Module, Generic[StateT]):
    """The target embedding, a stack of `layers` cells, and the interface. loops: what runs over all steps; Seq2Seq sets
    it."""

    has_attention = True
    features_size: int

    def __init__(self, vocab_size: int, embedding: int, hidden: int, layers: int, cell: CellKind, dropout: float):
        super().__init__()
        self.loops = ReferenceLoops()
        self.hidden = hidden
        self.embedding = Embedding(vocab_size, embedding)
        self.dropout = Dropout(dropout)
        self.cell = build_cell(cell, embedding, hidden)
        self.upper = nn.ModuleList(build_cell(cell, hidden, hidden) for _ in range(layers - 1))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, bottom first."""
        return (self.cell, *cast("list[Cell]", list(self.upper)))

    def source(self, encoded: EncoderOutput) -> Source:
        """What stays the same over the steps."""
        raise NotImplementedError

    def init_state(self, encoded: EncoderOutput) -> StateT:
        """The state before the first step."""
        raise NotImplementedError

    def step(self, tokens: Tensor, state: StateT, source: Source) -> Step:
        """tokens (N,): the last words -> Step."""
        raise NotImplementedError

    def features(self, tgt_in: Tensor, state: StateT, source: Source) -> Features:
        """tgt_in (B, T), the state of `init_state` -> Features: the numbers of T calls of `step`, faster."""
        raise NotImplementedError

    def _step_upper_layers(self, bottom: Tensor, layers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """One step of the upper cells over the bottom cell's new state -> all new states, bottom first."""
        return step_upper_cells(self.cells, self.dropout, bottom, layers)

    def _run_upper_layers(self, outputs: Tensor, layers: tuple[Tensor, ...]) -> Tensor:
        """The upper cells over all steps of the bottom one: its outputs (T + 1, B, H) -> the top's (T + 1, B, H).

        Time-major; what was there before the first step is the first.
        """
        for cell, start in zip(self.cells[1:], layers[1:], strict=True):
            outputs = self.loops.outputs(cell.drawn(), self.dropout(outputs[1:]), start)
        return outputs
