"""Three decoders, a short class each: Bahdanau looks, then updates; Luong updates, then looks; one has a fixed vector.

All share one seam: ``source`` and ``start`` open a batch, ``step`` advances N = B * K hypotheses by a token (row n
reads source n // K, which is never copied), ``features`` runs a whole target with everything that does not recur
outside the loop. Both end in features (., R), the input of the vocabulary product.
"""

from nmt.model.decoder.bahdanau import BahdanauDecoder
from nmt.model.decoder.bridge import Bridge, Start
from nmt.model.decoder.fixed_vector import FixedVectorDecoder
from nmt.model.decoder.luong import LuongDecoder
from nmt.model.decoder.seam import Decoder, Features, State, Step

__all__ = [
    "BahdanauDecoder",
    "Bridge",
    "Decoder",
    "Features",
    "FixedVectorDecoder",
    "LuongDecoder",
    "Start",
    "State",
    "Step",
]
