"""One direction of the aligner: the probabilities of emissions and jumps, given the source pieces."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.aligner.hmm import CLASSES, Lattice, log_likelihood, normalized_jumps
from nmt.bounds import at_least, fraction, greater_than, positive_int
from nmt.data.symbols import PAD
from nmt.layers.embedding import ScaledEmbedding

# Maximum number of energies in memory when the tables are computed.
_CHUNK = 2**24


@dataclass
class AlignerOptions:
    """The settings model.aligner.*: sizes and constants of either direction.

    embedding, hidden: widths of a source piece; max_jump: longer jumps are as probable as this one; null_probability:
    the probability that a target piece has no link; dropout: of a source piece's embedding; sampled_softmax: training
    normalizes over the target pieces of the batch, not over the vocabulary. max_fertility: the upper bound of the
    learned mean number of target pieces that a source piece emits; null: the number is not modeled. jump_scale: a
    factor of the energies of jumps; with a small factor jumps are learned more slowly than emissions.
    """

    embedding: int = 128
    hidden: int = 192
    max_jump: int = 8
    null_probability: float = 0.3
    dropout: float = 0.1
    sampled_softmax: bool = True
    max_fertility: float | None = None
    jump_scale: float = 1.0

    def __post_init__(self):
        positive_int(model__aligner__embedding=self.embedding, model__aligner__hidden=self.hidden)
        at_least(1, model__aligner__max_jump=self.max_jump)
        fraction(model__aligner__dropout=self.dropout)
        greater_than(1, model__aligner__max_fertility=self.max_fertility)
        greater_than(0, model__aligner__jump_scale=self.jump_scale)
        if not 0 < self.null_probability < 1:
            given = f"model.aligner.null_probability={self.null_probability}"
            raise ValueError(f"{given} is impossible: give a probability between 0 and 1")


class Tables(NamedTuple):
    """The values that depend on one source piece only, for all V pieces; valid until the weights change.

    hidden (V, H); normalizers (V,): the logarithm of the sum of emissions of each piece; jumps (V, C, D): energies;
    null (V_tgt,): log-probabilities of the null position.
    """

    hidden: Tensor
    normalizers: Tensor
    jumps: Tensor
    null: Tensor


class Direction(nn.Module):
    """p(y | x) of target pieces y given source pieces x, summed over alignments.

        g_j         = tanh(W (s E x_j) + w)                   s E x_j has a standard deviation of 0.5 at the start
        p(y_t | j)  = exp(U y_t . g_j + b y_t) / Z_j
        p(y_t | 0)  = exp(n y_t) / Z_0
        p(j | i, c) = exp(v_c,d + R_c,d . g_i) / Z_i,c       d = clip(j - i), c = whether y_t continues a word
        p(null)     = null_probability, a constant

    With options.max_fertility F, x_j emits f_j = F sigmoid(u . g_j + r) pieces on average, where f_j = 1 at the start,
    and their number has a Poisson distribution: the emission is f_j p(y_t | j), and p(y | x) is multiplied by
    exp(-sum_j ((1 - p(null)) f_j + p(null))) S^T / T!. Over all targets of all lengths that sums to one while all jumps
    are equally probable. Without the factor f_j, a source piece that is always translated by the same two pieces would
    have to emit each with a probability of one half.

    The class c of a piece is given: summed over targets of different classes, p(y | x) is not quite 1. unigram
    (V_tgt,): log-probabilities of the target pieces, the initial values of b and n; continues (V_tgt,): whether a piece
    continues a word. All jumps are equally probable at the start, so training begins as IBM model 1.
    """

    unigram: Tensor
    continues: Tensor

    def __init__(self, src_size: int, unigram: Tensor, continues: Tensor, options: AlignerOptions):
        super().__init__()
        self.options = options
        self.register_buffer("unigram", unigram)
        self.register_buffer("continues", continues)
        jumps = CLASSES * (2 * options.max_jump + 1)
        self.embedding = ScaledEmbedding(src_size, options.embedding)
        self.dropout = nn.Dropout(options.dropout)
        self.projection = nn.Linear(options.embedding, options.hidden)
        self.output = nn.Linear(options.hidden, len(unigram))
        self.null = nn.Parameter(unigram.clone())
        self.jump = nn.Linear(options.hidden, jumps)
        self.first = nn.Parameter(torch.zeros(jumps))
        self.fertility = nn.Linear(options.hidden, 1) if options.max_fertility else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initializes the weights."""
        self.embedding.reset_parameters()
        nn.init.xavier_uniform_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)
        nn.init.normal_(self.output.weight, std=0.05)
        nn.init.zeros_(self.jump.weight)
        nn.init.zeros_(self.jump.bias)
        if self.fertility and self.options.max_fertility:
            nn.init.zeros_(self.fertility.weight)
            nn.init.constant_(self.fertility.bias, -math.log(self.options.max_fertility - 1))
        with torch.no_grad():
            self.output.bias.copy_(self.unigram)
            self.null.copy_(self.unigram)
            self.first.zero_()

    def hidden_of(self, pieces: Tensor) -> Tensor:
        """pieces (N,) -> (N, H)."""
        embedded = self.dropout(self.embedding(pieces))
        return torch.tanh(self.projection(embedded))

    def log_likelihood(self, src: Tensor, src_lengths: Tensor, tgt: Tensor, tgt_lengths: Tensor) -> Tensor:
        """src (B, S) and tgt (B, T) pieces, lengths (B,) without the end of sentence -> log p(y) (B,).

        In training with options.sampled_softmax the softmax is over the target pieces of the batch: see
        `sampled_log_probs`.
        """
        in_src = torch.arange(src.shape[1], device=src.device) < src_lengths.unsqueeze(1)
        in_tgt = torch.arange(tgt.shape[1], device=tgt.device) < tgt_lengths.unsqueeze(1)
        src_types, src_place = src.masked_fill(~in_src, PAD).unique(return_inverse=True)
        tgt_types, tgt_place = tgt.masked_fill(~in_tgt, PAD).unique(return_inverse=True)
        hidden = self.hidden_of(src_types)
        if self.training and self.options.sampled_softmax:
            energies = _full(functional.linear(hidden, self.output.weight[tgt_types], self.output.bias[tgt_types]))
            unigram = self.unigram[tgt_types].masked_fill(tgt_types == PAD, -math.inf)
            table = sampled_log_probs(energies, unigram, in_tgt.sum())
        else:
            table = _full(self.output(hidden)).log_softmax(1)[:, tgt_types]
        cells = src_place.unsqueeze(1) * len(tgt_types) + tgt_place.unsqueeze(2)
        emissions = table.flatten().index_select(0, cells.flatten()).view(cells.shape)
        jumps = _full(self.jump(hidden))[src_place]
        null = self.null.log_softmax(0)[tgt]
        lattice = self._lattice(emissions, null, jumps, tgt, src_lengths, tgt_lengths)
        if self.fertility:
            lattice = self._with_fertility(lattice, self.log_fertility(hidden)[src_place])
        return log_likelihood(lattice)

    @torch.no_grad()
    def tables(self) -> Tables:
        """The tables of the source vocabulary, for the alignment of any number of pairs."""
        pieces = torch.arange(self.embedding.num_embeddings, device=self.null.device)
        hidden = self.hidden_of(pieces)
        rows = max(1, _CHUNK // len(self.null))
        normalizers = [_full(self.output(each)).logsumexp(1) for each in hidden.split(rows)]
        null = self.null.log_softmax(0)
        return Tables(_full(hidden), torch.cat(normalizers), _full(self.jump(hidden)), null)

    @torch.no_grad()
    def lattice(self, tables: Tables, src: Tensor, src_lengths: Tensor, tgt: Tensor, tgt_lengths: Tensor) -> Lattice:
        """The exact lattice of pairs; arguments as of log_likelihood. The model is in eval mode."""
        hidden, output = functional.embedding(src, tables.hidden), functional.embedding(tgt, self.output.weight)
        emissions = _full(torch.bmm(output, hidden.transpose(1, 2)))
        emissions += self.output.bias[tgt].unsqueeze(2)
        emissions -= tables.normalizers[src].unsqueeze(1)
        lattice = self._lattice(emissions, tables.null[tgt], tables.jumps[src], tgt, src_lengths, tgt_lengths)
        return self._with_fertility(lattice, self.log_fertility(hidden)) if self.fertility else lattice

    def log_fertility(self, hidden: Tensor) -> Tensor:
        """hidden (..., H) -> (...) the logarithm of the mean number of target pieces that each source piece emits."""
        assert self.fertility, "it is learned with max_fertility"
        most = math.log(self.options.max_fertility or 1)
        return most + functional.logsigmoid(_full(self.fertility(hidden)).squeeze(-1))

    def _with_fertility(self, lattice: Lattice, log_fertility: Tensor) -> Lattice:
        """The lattice with the probability of the numbers of emitted pieces. log_fertility: (B, S)."""
        src_lengths, tgt_lengths = lattice.src_lengths, lattice.tgt_lengths
        in_src = torch.arange(log_fertility.shape[1], device=src_lengths.device) < src_lengths.unsqueeze(1)
        p_null = self.options.null_probability
        expected = ((1 - p_null) * log_fertility.exp() + p_null).masked_fill(~in_src, 0.0).sum(1)
        number = tgt_lengths * src_lengths.clamp_min(1).log() - torch.lgamma(tgt_lengths + 1.0) - expected
        return lattice._replace(emissions=lattice.emissions + log_fertility.unsqueeze(1), shared=number)

    def _lattice(
        self, emissions: Tensor, null: Tensor, jumps: Tensor, tgt: Tensor, src_lengths: Tensor, tgt_lengths: Tensor
    ) -> Lattice:
        """The lattice of emissions (B, T, S) and null (B, T), both without the probability of null, and energies of
        jumps (B, S, C D)."""
        first = self.first.to(jumps.dtype).expand(len(jumps), 1, -1)
        energies = torch.cat((first, jumps), 1).unflatten(2, (CLASSES, -1)).transpose(1, 2)
        energies = self.options.jump_scale * energies
        return Lattice(
            emissions + math.log1p(-self.options.null_probability),
            null + math.log(self.options.null_probability),
            normalized_jumps(energies, src_lengths),
            self.continues[tgt],
            src_lengths,
            tgt_lengths,
        )


def _full(values: Tensor) -> Tensor:
    """The values in float32 or, if they are float64, unchanged."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def sampled_log_probs(energies: Tensor, unigram: Tensor, drawn: Tensor) -> Tensor:
    """energies (N, K) of K target pieces that occur among `drawn` ones -> estimated log-probabilities (N, K).

    unigram (K,): log-probabilities of the pieces, -inf for padding, which is not drawn. A piece is among `drawn` with
    probability q = 1 - (1 - p)^drawn, so the sum of exp(e - log q) over the pieces that occur is an unbiased estimate
    of the sum over the vocabulary.
    # Bengio and Senecal (2008)
    """
    log_q = torch.log(-torch.expm1(drawn * torch.log1p(-unigram.exp().clamp_max(0.5)))).clamp_min(-30.0)
    terms = (energies - log_q).masked_fill(unigram.isneginf(), -math.inf)
    return energies - terms.logsumexp(1, keepdim=True)
