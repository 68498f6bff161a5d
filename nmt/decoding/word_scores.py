"""The log-probability of each word of a translation, by forced decoding of its pieces."""

from collections.abc import Sequence

import numpy as np
import torch

from nmt.data.symbols import BOS
from nmt.decoding.batching import WINDOW_WEIGHTS, batches, pad
from nmt.decoding.translator import Translation


@torch.inference_mode()
def word_log_probs(
    model, tokenizer, translations: Sequence[Translation], *, batch_size: int = 64, temperature: float = 1.0
) -> list[np.ndarray]:
    """The natural logarithm of the probability of each word, the sum over its pieces: float64 (Tw,) per translation.

    temperature: divides the logits. `model` is in eval mode.

    EOS belongs to no word, so the sum over the words may exceed log_prob. The pieces are those of the translation;
    search may have found another segmentation than the tokenizer's. A pair whose product of piece counts exceeds
    WINDOW_WEIGHTS has NaN.
    """
    assert not model.training, "dropout would change what is found: call model.eval() first"
    ids = {
        side: {piece: id_ for id_, piece in enumerate(getattr(tokenizer, side).vocabulary)} for side in ("src", "tgt")
    }
    src = [[ids["src"][piece] for piece in each.src_pieces] for each in translations]
    tgt = [[ids["tgt"][piece] for piece in each.tgt_pieces] for each in translations]
    fits = [0 < len(one) * len(other) <= WINDOW_WEIGHTS for one, other in zip(src, tgt, strict=True)]
    found = [
        np.full(len(each.tgt_words), 0.0 if fit or not each.tgt_pieces else np.nan)
        for each, fit in zip(translations, fits, strict=True)
    ]
    order = sorted((row for row, fit in enumerate(fits) if fit), key=lambda row: (-len(tgt[row]), -len(src[row])))
    longer = [max(len(one), len(other)) for one, other in zip(src, tgt, strict=True)]
    for rows in batches(order, longer, batch_size):
        sides = [[src[row] for row in rows], [[BOS, *tgt[row][:-1]] for row in rows], [tgt[row] for row in rows]]
        (src_ids, lengths), (tgt_in, _), (tgt_out, _) = (
            [each.to(model.device) for each in pad(side)] for side in sides
        )
        scores = model.log_probs(src_ids, lengths, tgt_in, tgt_out, temperature).log_probs.double().cpu().numpy()
        for row, of_pieces in zip(rows, scores, strict=True):
            word_of = np.array(translations[row].tgt_word_of)
            is_word = word_of >= 0
            np.add.at(found[row], word_of[is_word], of_pieces[: len(word_of)][is_word])
    return [np.minimum(each, 0.0) for each in found]  # a sum of rounded probabilities may exceed 1
