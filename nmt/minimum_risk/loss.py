"""The expected cost of candidates under the model, and its gradient."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nmt.data.batches import Batch
from nmt.data.symbols import PAD
from nmt.minimum_risk.candidates import Candidates
from nmt.minimum_risk.options import MinimumRiskOptions
from nmt.model.seq2seq import CHUNK, Seq2Seq


class RiskLoss(NamedTuple):
    """Sums over a batch.

    expected_cost: over its sentences. cross_entropy: over the real target tokens of the references, with label
    smoothing; 0 if cross_entropy_weight is 0. nll: the same without label smoothing, in nats, without a gradient.
    """

    expected_cost: Tensor
    cross_entropy: Tensor
    nll: Tensor


def expected_costs(log_probs: Tensor, costs: Tensor, sharpness: float) -> Tensor:
    """sum_y Q(y) cost(y) of each sentence, with Q(y) = p(y)^sharpness / sum_y' p(y')^sharpness over its candidates.

    log_probs (B, C), -inf for the places of a sentence with fewer than C candidates; costs (B, C) -> (B,).
    # Shen et al. (2016), eq. 7 and 8
    """
    return ((sharpness * log_probs).softmax(1) * costs).sum(1)


def risk_loss(
    model: Seq2Seq, batch: Batch, candidates: Candidates, options: MinimumRiskOptions, smoothing: float = 0.0
) -> RiskLoss:
    """The loss of all candidates of a batch, by teacher forcing. smoothing: label smoothing of the cross-entropy.

    Each source is encoded once. Autograd computes the gradient.  # Shen et al. (2016), eq. 9
    """
    source, state = model.encode(batch.src, batch.src_lengths)
    rows = candidates.sentences
    features = model.decoder.features_without_weights(candidates.tgt_in, state.select(rows), source.select(rows))
    log_probs = sequence_log_probs(model, features, candidates.tgt_out)
    shape = len(batch.src), int(candidates.places.max()) + 1
    where = (candidates.sentences, candidates.places)
    by_sentence = log_probs.new_full(shape, -torch.inf).index_put(where, log_probs)
    costs = log_probs.new_zeros(shape).index_put(where, candidates.costs.to(log_probs.dtype))
    references = candidates.places == 0
    cross_entropy = log_probs.new_zeros(())
    if options.cross_entropy_weight:
        loss = model.loss_from_features(features[references], candidates.tgt_out[references], smoothing)
        cross_entropy = loss.objective
    nll = -log_probs.detach()[references].sum()
    return RiskLoss(expected_costs(by_sentence, costs, options.sharpness).sum(), cross_entropy, nll)


def sequence_log_probs(model: Seq2Seq, features: Tensor, tgt_out: Tensor) -> Tensor:
    """features (N, T, R), tgt_out (N, T) -> log-probabilities (N,), summed over real tokens, at least float32.

    Logits are computed for CHUNK tokens at a time, and recomputed for the gradient.
    """
    is_token = tgt_out != PAD

    def gold_log_probs(rows: Tensor, ids: Tensor) -> Tensor:
        logits = model.logits(rows)
        log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        return log_probs.gather(1, ids.unsqueeze(1)).squeeze(1)

    chunks = zip(features[is_token].split(CHUNK), tgt_out[is_token].split(CHUNK), strict=True)
    gold = torch.cat(
        [checkpoint(gold_log_probs, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
    )
    return gold.new_zeros(tgt_out.shape).masked_scatter(is_token, gold).sum(1)
