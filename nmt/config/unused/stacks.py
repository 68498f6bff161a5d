"""Rules for the settings of recurrent stacks: layer normalization, residual connections, transitions."""

from collections.abc import Callable

from nmt.config.schema import DecoderKind, EncoderKind, TrainConfig

_CONTEXT_FIRST = (DecoderKind.bahdanau, DecoderKind.conditional_gru)

# Settings, separated by spaces; whether they have an effect in a configuration; what they need.
STACKS: tuple[tuple[str, Callable[[TrainConfig], bool], str], ...] = (
    (
        "model.encoder.layer_norm model.encoder.residual model.encoder.transition_depth",
        lambda c: c.model.encoder.kind is EncoderKind.rnn,
        "model.encoder.kind=rnn (a Transformer has normalization and residual connections of its own)",
    ),
    (
        "model.decoder.layer_norm model.decoder.residual model.decoder.transition_depth",
        lambda c: c.model.decoder.kind is not DecoderKind.transformer,
        "a recurrent decoder, such as model.decoder.kind=bahdanau (a Transformer has normalization and residual "
        "connections of its own)",
    ),
    (
        "model.encoder.residual",
        lambda c: c.model.encoder.layers > 1,
        "layers to connect: model.encoder.layers=2 or more",
    ),
    (
        "model.decoder.context_to_layers",
        lambda c: c.model.decoder.kind in _CONTEXT_FIRST,
        "model.decoder.kind=bahdanau or conditional_gru, whose bottom layer attends (luong's top layer does)",
    ),
    (
        "model.decoder.residual model.decoder.context_to_layers",
        lambda c: c.model.decoder.layers > 1,
        "upper layers: model.decoder.layers=2 or more",
    ),
)
