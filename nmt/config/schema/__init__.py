"""Every setting, its type and its default; the YAML files under configs/ hold the values that the program chooses."""

from hydra.core.config_store import ConfigStore

from nmt.config.schema.alignment import AlignConfig, AlignmentDirection, ForcedConfig, LinksFrom, SaliencyConfig
from nmt.config.schema.commands import (
    COMPARISON_FILES,
    EVALUATION_OUTPUTS,
    AverageConfig,
    CalibrateConfig,
    CompareConfig,
    EvaluateConfig,
    HeatmapUnits,
    ServeConfig,
    TestConfig,
    TextFormat,
    TranslateConfig,
)
from nmt.config.schema.data import DataConfig, DataKind, TokenizerConfig
from nmt.config.schema.decoding import DecodeConfig, DecodeOverrides
from nmt.config.schema.export import ExportConfig
from nmt.config.schema.model import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    EncoderKind,
    ModelConfig,
    ModelKind,
)
from nmt.config.schema.training import GuidedConfig, TrainConfig, ValidAlignmentConfig
from nmt.model.decoder import DecoderKind

__all__ = [
    "COMPARISON_FILES",
    "EVALUATION_OUTPUTS",
    "AlignConfig",
    "AlignmentDirection",
    "AttentionConfig",
    "AverageConfig",
    "CalibrateConfig",
    "CompareConfig",
    "DataConfig",
    "DataKind",
    "DecodeConfig",
    "DecodeOverrides",
    "DecoderConfig",
    "DecoderKind",
    "EncoderConfig",
    "EncoderKind",
    "EvaluateConfig",
    "ExportConfig",
    "ForcedConfig",
    "GuidedConfig",
    "HeatmapUnits",
    "LinksFrom",
    "ModelConfig",
    "ModelKind",
    "SaliencyConfig",
    "ServeConfig",
    "TestConfig",
    "TextFormat",
    "TokenizerConfig",
    "TrainConfig",
    "TranslateConfig",
    "ValidAlignmentConfig",
]

_COMMANDS = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "translate": TranslateConfig,
    "align": AlignConfig,
    "compare": CompareConfig,
    "saliency": SaliencyConfig,
    "serve": ServeConfig,
    "average": AverageConfig,
    "calibrate": CalibrateConfig,
    "export": ExportConfig,
}
for _name, _schema in _COMMANDS.items():
    ConfigStore.instance().store(name=f"{_name}_schema", node=_schema)
