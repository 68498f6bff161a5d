"""An alignment head, which links the words of given translations, on top of a translator with frozen weights."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.attention.energies import dot_energies
from nmt.bounds import fraction, positive_int
from nmt.data.batches import Batch
from nmt.data.binarized import WEIGHT_ONE
from nmt.data.symbols import PAD
from nmt.layers.embedding import ScaledEmbedding
from nmt.layers.loss import Loss
from nmt.model.seq2seq import Seq2Seq

_MIN_ATTENTION = 1e-4  # lower bound of an attention weight before its logarithm is taken


@dataclass
class AlignmentHeadOptions:
    """The settings model.alignment_head.*: size, the width of queries and keys; embedding, the width of the head's own
    embeddings of source and target pieces; dropout, of the inputs of both."""

    size: int = 256
    embedding: int = 128
    dropout: float = 0.1

    def __post_init__(self):
        positive_int(model__alignment_head__size=self.size, model__alignment_head__embedding=self.embedding)
        fraction(model__alignment_head__dropout=self.dropout)


class Aligned(NamedTuple):
    """attention (B, T, S): the weights of the translator that are shown. log_weights (B, T, S): those of the head."""

    attention: Tensor
    log_weights: Tensor


def following(states: Tensor, real: Tensor) -> Tensor:
    """states (B, T, .), real (B, T) -> the states of the next step (B, T, .), zeros if no real step follows."""
    return functional.pad(states[:, 1:] * real[:, 1:].unsqueeze(2), (0, 0, 0, 1))


def alignment_log_weights(query: Tensor, keys: Tensor, null: Tensor, attention: Tensor, mask: Tensor) -> Tensor:
    """query (B, T, A), keys (B, S, A), null (A,), attention (B, T, S), mask (B, S) -> log-weights (B, T, S).

    e_tj = q_t . k_j / sqrt(A) + attention_tj, where the key of the last source position is `null`.
    """
    last = mask.sum(1, keepdim=True) - 1 == torch.arange(mask.shape[1], device=mask.device)
    keys = torch.where(last.unsqueeze(2), null.to(keys.dtype), keys)
    energies = dot_energies(query, keys) / query.shape[2] ** 0.5 + attention
    return energies.masked_fill(~mask.unsqueeze(1), -torch.inf).log_softmax(-1)


def alignment_cross_entropy(log_weights: Tensor, links: Tensor, real: Tensor, null: Tensor) -> Tensor:
    """The cross-entropy of log_weights (B, T, S) with given links, in nats, summed over the real target pieces.

    links (L, 3): sentence, target piece, source piece, without duplicates. real (B, T): False on padding; null (B,):
    the source position that stands for no source piece. The target distribution of a piece with n links gives each
    1 / n; that of a piece without links gives null 1.  # Garg et al. (2019), eq. 8
    With links (L, 4), as in Batch, it gives each link its weight, and null the rest.
    """
    row, tgt, src = links[:, :3].unbind(1)
    none = log_weights.gather(2, null.view(-1, 1, 1).expand(-1, real.shape[1], 1)).squeeze(2)
    given = links[:, 3] / WEIGHT_ONE if links.shape[1] == 4 else torch.ones_like(row, dtype=log_weights.dtype)
    total = log_weights.new_zeros(real.shape).index_put_((row, tgt), given.to(log_weights.dtype), accumulate=True)
    # Links without weights share all of a piece's probability; with weights that sum to less than 1, null has the rest.
    shares = given / (total.clamp_min(1.0) if links.shape[1] == 4 else total)[row, tgt]
    left = (1 - total).clamp_min(0.0)[real]
    return -(shares * log_weights[row, tgt, src]).sum() - (left * none[real]).sum()


class AlignmentHead(nn.Module):
    """p(j | t): the probability that target piece y_t translates source position j, given the target up to y_t.

        q_t  = tanh(W [f_t; f_t+1; F y_t] + w)     f_t: the decoder's features that predict y_t; f_t+1: after reading it
        k_j  = tanh(V [h_j; E x_j] + v)            h_j: the annotation of x_j; the key of EOS is a parameter, null
        e_tj = q_t . k_j / sqrt(A) + u log a_tj + u' log a_t+1,j       a: the weights of the decoder's attention
        p(j | t) = softmax_j e_tj

    # After Zenkel et al. (2019), section 4: an attention layer on a frozen translator, with the target word as input
    """

    def __init__(self, features: int, tgt_size: int, memory: int, src_size: int, options: AlignmentHeadOptions):
        super().__init__()
        self.dropout = nn.Dropout(options.dropout)
        self.src_embedding = ScaledEmbedding(src_size, options.embedding)
        self.tgt_embedding = ScaledEmbedding(tgt_size, options.embedding)
        self.query = nn.Linear(2 * features + options.embedding, options.size)
        self.key = nn.Linear(memory + options.embedding, options.size)
        self.null = nn.Parameter(torch.empty(options.size))
        self.attention = nn.Parameter(torch.empty(2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initializes the weights."""
        for layer in (self.query, self.key):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        for embedding in (self.src_embedding, self.tgt_embedding):
            embedding.reset_parameters()
        nn.init.normal_(self.null, std=0.5)
        nn.init.constant_(self.attention, 0.5)

    def forward(
        self, features: Tensor, tgt: Tensor, memory: Tensor, src: Tensor, attention: Tensor, mask: Tensor, real: Tensor
    ) -> Tensor:
        """features (B, T, R), pieces tgt (B, T) and src (B, S), memory (B, S, M), attention (B, T, S), mask (B, S) and
        real (B, T), False on padding -> log_weights (B, T, S), -inf on padding of the source."""
        query = torch.cat((features, following(features, real), self.tgt_embedding(tgt)), 2)
        keys = torch.cat((memory, self.src_embedding(src)), 2)
        query, keys = torch.tanh(self.query(self.dropout(query))), torch.tanh(self.key(self.dropout(keys)))
        logs = [each.float().clamp_min(_MIN_ATTENTION).log() for each in (attention, following(attention, real))]
        weighted = self.attention[0] * logs[0] + self.attention[1] * logs[1]
        return alignment_log_weights(query, keys, self.null, weighted, mask)


class TranslatorWithHead(nn.Module):
    """A frozen translator, always in eval mode, and an alignment head, which is trained."""

    can_be_captured = False  # in a CUDA graph

    def __init__(self, translator: Seq2Seq, options: AlignmentHeadOptions):
        super().__init__()
        encoder, decoder = translator.encoder, translator.decoder
        self.translator = translator.requires_grad_(False)
        vocabulary = decoder.embedding.num_embeddings, encoder.embedding.num_embeddings
        self.head = AlignmentHead(decoder.features_size, vocabulary[0], encoder.size, vocabulary[1], options)

    @property
    def device(self):
        return self.translator.device

    def train(self, mode: bool = True) -> "TranslatorWithHead":
        super().train(mode)
        self.translator.eval()
        return self

    def align(self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor, tgt_out: Tensor) -> Aligned:
        """src (B, S), src_lengths (B,), tgt_in and tgt_out (B, T), as in Batch -> Aligned.

        Uses teacher forcing and does not compute the output layer.
        """
        translator = self.translator
        with torch.no_grad():
            encoded = translator.encoder(src, src_lengths)
            source, state = translator.decoder.source(encoded), translator.decoder.init_state(encoded)
            (features, shown), attention = translator.decoder.features_and_own_weights(tgt_in, state, source)
        log_weights = self.head(features, tgt_out, encoded.memory, src, attention, encoded.mask, tgt_out != PAD)
        return Aligned(shown, log_weights)

    def loss(self, batch: Batch, _smoothing: float = 0.0, _guidance: float = 0.0) -> Loss:
        """The cross-entropy with given links, summed over target pieces; see `alignment_cross_entropy`."""
        log_weights = self.align(batch.src, batch.src_lengths, batch.tgt_in, batch.tgt_out).log_weights
        real = batch.tgt_out != PAD
        objective = alignment_cross_entropy(log_weights, batch.links, real, batch.src_lengths - 1)
        return Loss(objective, objective.detach(), len(batch.token_positions))

    def after_update(self, nll: float) -> None:
        """Does nothing: there is no state besides the weights."""
