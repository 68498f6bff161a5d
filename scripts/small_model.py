"""The settings of a small model that the stress tests train on the demo corpus."""

SMALL_MODEL = [
    "+experiment=bahdanau",
    "model.encoder.embedding=32",
    "model.encoder.hidden=32",
    "model.decoder.embedding=32",
    "model.decoder.hidden=64",
    "model.decoder.readout=32",
    "model.attention.size=32",
    "trainer.max_epochs=null",
    "trainer.valid_beam=1",
    "trainer.valid_sentences=20",
    "trainer.tensorboard=false",
    "threads=1",
]
