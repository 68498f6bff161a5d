"""Five decoders, one class each: Bahdanau's, the conditional GRU, Luong's, a fixed vector without attention, and the
Transformer's.

All share one interface: ``source`` and ``init_state`` start a batch; ``step`` extends N = B * K hypotheses by one token
(row n uses source n // K, which is not copied); ``features`` computes all steps of a target at once, with only
recurrent computations inside the loop. Both return features (., R), the input of the output layer.
"""

from collections.abc import Callable
from enum import Enum

from nmt.attention.scores import Attention
from nmt.layers.transformer import TransformerOptions
from nmt.model.decoder.bahdanau import BahdanauDecoder, BahdanauState
from nmt.model.decoder.bridge import Bridge, InitHidden
from nmt.model.decoder.conditional_gru import ConditionalGRUDecoder
from nmt.model.decoder.fixed_vector import FixedVectorDecoder, FixedVectorState
from nmt.model.decoder.interface import Decoder, DecoderSizes, Features, RecurrentDecoder, State, Step
from nmt.model.decoder.luong import LuongDecoder, LuongState
from nmt.model.decoder.transformer import TransformerDecoder, TransformerState

__all__ = [
    "BahdanauDecoder",
    "BahdanauState",
    "Bridge",
    "ConditionalGRUDecoder",
    "Decoder",
    "DecoderKind",
    "DecoderSizes",
    "Features",
    "FixedVectorDecoder",
    "FixedVectorState",
    "InitHidden",
    "LuongDecoder",
    "LuongState",
    "RecurrentDecoder",
    "State",
    "Step",
    "TransformerDecoder",
    "TransformerState",
    "build_decoder",
]


class DecoderKind(Enum):
    """The decoders: the values of ``model.decoder.kind``."""

    bahdanau = "bahdanau"
    luong = "luong"
    conditional_gru = "conditional_gru"
    fixed_vector = "fixed_vector"
    transformer = "transformer"


def build_decoder(
    kind: DecoderKind,
    sizes: DecoderSizes,
    *,
    build_bridge: Callable[[], Bridge],
    build_attention: Callable[[], Attention],
    input_feeding: bool = True,
    transformer: TransformerOptions | None = None,
) -> Decoder:
    """The decoder for `kind`. build_bridge, build_attention: called for a decoder that has one; input_feeding: Luong's;
    transformer: the Transformer's."""
    match kind:
        case DecoderKind.bahdanau:
            return BahdanauDecoder(sizes, bridge=build_bridge(), attention=build_attention())
        case DecoderKind.luong:
            return LuongDecoder(sizes, bridge=build_bridge(), attention=build_attention(), input_feeding=input_feeding)
        case DecoderKind.conditional_gru:
            return ConditionalGRUDecoder(sizes, bridge=build_bridge(), attention=build_attention())
        case DecoderKind.fixed_vector:
            return FixedVectorDecoder(sizes, bridge=build_bridge())
        case DecoderKind.transformer:
            return TransformerDecoder(sizes, options=transformer or TransformerOptions())
        case _:
            raise ValueError(f"model.decoder.kind={kind}: legal are {', '.join(k.value for k in DecoderKind)}")
