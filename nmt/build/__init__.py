"""Builds objects from a configuration: the only package that imports both the configuration and everything else."""

from nmt.build.aligner import LoadedAligner, load_aligner
from nmt.build.confidence import (
    calibrate,
    calibrates,
    calibration_cost,
    calibration_of,
    describe_calibration,
    why_uncalibrated,
)
from nmt.build.data import (
    DEMO_SEED,
    TOKENIZER_SEED,
    Languages,
    build_tokenizer,
    encode,
    languages,
    metric_tokenizer,
    read_corpus,
    read_guided_links,
)
from nmt.build.kinds import check_alignment_head, load_of_kind, new_of_kind
from nmt.build.model import (
    build_model,
    new_model,
)
from nmt.build.runs import (
    DeviceSettings,
    Loaded,
    load,
    load_for_finetuning,
    load_translator,
    load_weights,
    open_run,
    start,
)
from nmt.build.search import (
    build_translator,
    decoding_of,
    force_decode,
    translator_of,
)
from nmt.build.training import (
    build_batches,
    build_gradients,
    build_optim,
)
from nmt.build.validation import (
    build_validator,
    read_validation_links,
    validation_settings,
)

__all__ = [
    "DEMO_SEED",
    "TOKENIZER_SEED",
    "DeviceSettings",
    "Languages",
    "Loaded",
    "LoadedAligner",
    "build_batches",
    "build_gradients",
    "build_model",
    "build_optim",
    "build_tokenizer",
    "build_translator",
    "build_validator",
    "calibrate",
    "calibrates",
    "calibration_cost",
    "calibration_of",
    "check_alignment_head",
    "decoding_of",
    "describe_calibration",
    "encode",
    "force_decode",
    "languages",
    "load",
    "load_aligner",
    "load_for_finetuning",
    "load_of_kind",
    "load_translator",
    "load_weights",
    "metric_tokenizer",
    "new_model",
    "new_of_kind",
    "open_run",
    "read_corpus",
    "read_guided_links",
    "read_validation_links",
    "start",
    "translator_of",
    "validation_settings",
    "why_uncalibrated",
]
