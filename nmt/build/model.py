"""A translation model from a configuration."""

import torch

from nmt.acceleration.fused import FusedLoops
from nmt.attention.composed import compose_attention
from nmt.config.schema import EncoderKind, ModelConfig, TrainConfig
from nmt.data.tokenizer import Tokenizer
from nmt.layers.regularizers import set_dropout
from nmt.model.decoder import Bridge, Decoder, DecoderSizes, build_decoder
from nmt.model.encoder import Encoder
from nmt.model.hard_seq2seq import build_seq2seq
from nmt.model.initialization import initialize
from nmt.model.seq2seq import Seq2Seq, TiedEmbeddings
from nmt.model.transformer_encoder import TransformerEncoder


def build_model(model: ModelConfig, src_size: int, tgt_size: int) -> Seq2Seq:
    """A model for vocabularies of these sizes. Raises ValueError if its parts do not fit together."""
    encoder = _build_encoder(model, src_size)
    decoder = _build_decoder(model, encoder.size, tgt_size)
    for side, options in ((encoder, model.encoder), (decoder, model.decoder)):
        set_dropout(side, word=options.word_dropout, recurrent=options.recurrent_dropout)
    choice, hard, tied = model.attention.choice, model.attention.hard, model.tied_embeddings
    return build_seq2seq(choice, hard, encoder, decoder, tied_embeddings=tied, loops=FusedLoops())


def _build_encoder(model: ModelConfig, src_size: int) -> Encoder | TransformerEncoder:
    enc = model.encoder
    widths = {"embedding": enc.embedding, "layers": enc.layers, "dropout": enc.dropout}
    if enc.kind is EncoderKind.transformer:
        return TransformerEncoder(src_size, **widths, options=model.transformer)
    return Encoder(src_size, **widths, hidden=enc.hidden, cell=enc.cell, bidirectional=enc.bidirectional, stack=enc)


def _build_decoder(model: ModelConfig, memory: int, tgt_size: int) -> Decoder:
    enc, dec = model.encoder, model.decoder
    state_size = dec.hidden * (2 if dec.cell.value == "lstm" else 1)
    width = enc.hidden if enc.kind is EncoderKind.rnn else memory
    sizes = DecoderSizes(
        vocab_size=tgt_size,
        embedding=dec.embedding,
        hidden=dec.hidden,
        memory=memory,
        readout=dec.readout,
        layers=dec.layers,
        cell=dec.cell,
        dropout=dec.dropout,
        stack=dec,
        context_to_layers=dec.context_to_layers,
    )
    return build_decoder(
        dec.kind,
        sizes,
        build_bridge=lambda: Bridge(dec.init_hidden, width, memory // width, [state_size] * dec.layers),
        build_attention=lambda: compose_attention(model.attention, dec.hidden, memory),
        input_feeding=dec.input_feeding,
        transformer=model.transformer,
    )


def new_model(config: TrainConfig, tokenizer: Tokenizer, device: torch.device) -> Seq2Seq:
    """A new model with weights initialized with `seed`. Raises ValueError for one embedding of two vocabularies."""
    if config.model.tied_embeddings is TiedEmbeddings.all and not tokenizer.joint:
        raise ValueError(
            "model.tied_embeddings=all shares one table between the languages, but the source's and the target's "
            "SentencePiece models have different pieces: try one model for both (tokenizer.model=FILE), or "
            "model.tied_embeddings=target"
        )
    model = build_model(config.model, len(tokenizer.src), len(tokenizer.tgt))
    initialize(model, config.model.initialization)
    model.predict_by(config.decode.hard_attention)
    return model.to(device)
