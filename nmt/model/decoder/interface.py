"""The interface of all decoders, the target embedding, and the stack of cells of recurrent decoders."""

from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, Self, TypeVar, cast

from torch import Tensor, nn

from nmt.attention.scores import Source
from nmt.layers.cells import Cell, CellKind
from nmt.layers.dropout import Dropout
from nmt.layers.embedding import Embedding
from nmt.layers.loops import ReferenceLoops
from nmt.layers.stack import StackOptions, build_layer, stack_output, step_upper_cells, with_context
from nmt.model.encoder import EncoderOutput


class State(Protocol):
    """The values that change over the steps, for N hypotheses. Each decoder has its own State class."""

    def select(self, rows: Tensor) -> Self:
        """The state of the hypotheses `rows` (R,), in this order."""
        ...

    def for_single_position(self) -> Self:
        """The same state for sources of one position, whose weight is always one."""
        ...


StateT = TypeVar("StateT", bound=State)


def select_rows(layers: tuple[Tensor, ...], rows: Tensor) -> tuple[Tensor, ...]:
    """layers (N, .) each, rows (R,) -> (R, .) each."""
    return tuple(layer.index_select(0, rows) for layer in layers)


class Step(NamedTuple):
    """features (N, R), the next state, weights (N, S).

    For every decoder and score, the weights are those of the word that the step predicts.
    """

    features: Tensor
    state: State
    weights: Tensor


class Features(NamedTuple):
    """features (B, T, R), weights (B, T, S)."""

    features: Tensor
    weights: Tensor


@dataclass(frozen=True)
class DecoderSizes:
    """The target vocabulary V, the embedding E, the state H, the encoder outputs M and the readout R, which Luong's
    decoder does not have; and the stack of `layers` cells. context_to_layers: of BahdanauDecoder and
    ConditionalGRUDecoder."""

    vocab_size: int
    embedding: int
    hidden: int
    memory: int
    readout: int = 0
    layers: int = 1
    cell: CellKind = CellKind.gru
    dropout: float = 0.0
    stack: StackOptions = field(default_factory=StackOptions)
    context_to_layers: bool = False


class Decoder(nn.Module, Generic[StateT]):
    """The target embedding and the interface. loops: compute all steps at once; Seq2Seq sets them.

    hard: `features` do not include the context; `context_part` and `activate` complete them. HardSeq2Seq sets it.
    """

    has_attention = True
    hard = False
    features_size: int

    def __init__(self, vocab_size: int, embedding: int, dropout: float):
        super().__init__()
        self.loops = ReferenceLoops()
        self.embedding = Embedding(vocab_size, embedding)
        self.dropout = Dropout(dropout)

    def source(self, encoded: EncoderOutput) -> Source:
        """The values that are constant over the steps."""
        raise NotImplementedError

    def init_state(self, encoded: EncoderOutput) -> StateT:
        """The state before the first step."""
        raise NotImplementedError

    def step(self, tokens: Tensor, state: StateT, source: Source) -> Step:
        """tokens (N,): the last words -> Step."""
        raise NotImplementedError

    def features(self, tgt_in: Tensor, state: StateT, source: Source) -> Features:
        """tgt_in (B, T), the state of `init_state` -> Features: the same numbers as T calls of `step`, but faster."""
        raise NotImplementedError

    def context_part(self, memory: Tensor) -> Tensor:
        """For hard attention: memory (B, S, M) of the Source -> the part of each position in the features (B, S, P).

        P is the width of features without a context.
        """
        raise NotImplementedError

    def activate(self, parts: Tensor) -> Tensor:
        """For hard attention: features without a context plus a position's part, (..., P) -> features (..., R)."""
        raise NotImplementedError

    def features_without_weights(self, tgt_in: Tensor, state: StateT, source: Source) -> Tensor:
        """The features (B, T, R) only; faster for a decoder that need not compute weights."""
        return self.features(tgt_in, state, source).features

    def features_and_own_weights(self, tgt_in: Tensor, state: StateT, source: Source) -> tuple[Features, Tensor]:
        """`features`, and the weights (B, T, S) of the layer and head of the configuration, whatever `show_attention`
        has set."""
        found = self.features(tgt_in, state, source)
        return found, found.weights

    def show_attention(self, layer: int | None, head: int | None) -> None:
        """Sets the layer and head, both from 1, whose weights are returned; None: unchanged.

        Raises ValueError if there is no such layer or head, or if the decoder has no choice.
        """
        for name, number in (("attention_layer", layer), ("attention_head", head)):
            if number is not None:
                raise ValueError(
                    f"{name}={number} has no effect: it chooses among the layers and heads of "
                    f"model.decoder.kind=transformer, and this model has another decoder; leave {name} out"
                )


class RecurrentDecoder(Decoder[StateT]):
    """A decoder with a stack of cells.

    bottom_depth: the number of transitions of the bottom cell, if it differs from the others. context_width: the width
    of the context that the upper cells read in addition to the layer below; 0: none.
    """

    def __init__(self, sizes: DecoderSizes, *, bottom_depth: int | None = None, context_width: int = 0):
        super().__init__(sizes.vocab_size, sizes.embedding, sizes.dropout)
        self.hidden = sizes.hidden
        self.residual = sizes.stack.residual
        self.context_width = context_width
        self.cell = build_layer(sizes.stack, sizes.cell, sizes.embedding, sizes.hidden, depth=bottom_depth)
        width = sizes.hidden + context_width
        upper = (build_layer(sizes.stack, sizes.cell, width, sizes.hidden) for _ in range(sizes.layers - 1))
        self.upper = nn.ModuleList(upper)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, bottom first."""
        return (self.cell, *cast("list[Cell]", list(self.upper)))

    def _output(self, layers: tuple[Tensor, ...]) -> Tensor:
        """The output of the stack: the cells' states (N, state_size) each -> (N, H)."""
        return stack_output(self.cells, layers, residual=self.residual)

    def _step_upper_layers(
        self, bottom: Tensor, layers: tuple[Tensor, ...], context: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """One step of the upper cells over the bottom cell's new state -> all new states, bottom first.

        context (N, M): read if context_width.
        """
        context = context if self.context_width else None
        return step_upper_cells(self.cells, self.dropout, bottom, layers, residual=self.residual, context=context)

    def _run_upper_layers(self, outputs: Tensor, layers: tuple[Tensor, ...], contexts: Tensor | None = None) -> Tensor:
        """Runs the upper cells over all steps: outputs of the bottom cell (T + 1, B, H) -> of the stack (T + 1, B, H).

        Time-major, the output of the initial state first. contexts (T, B, M): read if context_width.
        """
        contexts = contexts if self.context_width else None
        for cell, start in zip(self.cells[1:], layers[1:], strict=True):
            below = with_context(self.dropout(outputs[1:]), contexts)
            new = self.loops.outputs(cell.drawn(), below, start)
            outputs = outputs + new if self.residual else new
        return outputs
