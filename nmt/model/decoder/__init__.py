"""Four decoders, one class each: Bahdanau's, Luong's, a fixed vector without attention, and the Transformer's.

All share one interface: ``source`` and ``init_state`` begin a batch, ``step`` advances N = B * K hypotheses by a token
(row n reads source n // K, which is never copied), ``features`` runs a whole target with everything that does not recur
outside the loop. Both return features (., R), the input of the output layer.
"""

from nmt.model.decoder.bahdanau import BahdanauDecoder, BahdanauState
from nmt.model.decoder.bridge import Bridge, InitHidden
from nmt.model.decoder.fixed_vector import FixedVectorDecoder, FixedVectorState
from nmt.model.decoder.interface import Decoder, Features, RecurrentDecoder, State, Step
from nmt.model.decoder.luong import LuongDecoder, LuongState
from nmt.model.decoder.transformer import TransformerDecoder, TransformerState

__all__ = [
    "BahdanauDecoder",
    "BahdanauState",
    "Bridge",
    "Decoder",
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
]
