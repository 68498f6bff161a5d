"""every setting and its type; the numbers are in the YAML files under configs/."""

from hydra.core.config_store import ConfigStore

from nmt.config.schema.commands import (
    COMPARISON_FILES,
    EVALUATION_OUTPUTS,
    AlignConfig,
    AverageConfig,
    CompareConfig,
    EvaluateConfig,
    ForcedConfig,
    HeatmapUnits,
    SaliencyConfig,
    TestConfig,
    TranslateConfig,
)
from nmt.config.schema.data import DataConfig, DataKind, TokenizerConfig
from nmt.config.schema.decoding import DecodeConfig, DecodeOverrides
from nmt.config.schema.model import AttentionConfig, DecoderConfig, DecoderKind, EncoderConfig, ModelConfig
from nmt.config.schema.training import GuidedConfig, TrainConfig

__all__ = [
    "COMPARISON_FILES",
    "EVALUATION_OUTPUTS",
    "AlignConfig",
    "AttentionConfig",
    "AverageConfig",
    "CompareConfig",
    "DataConfig",
    "DataKind",
    "DecodeConfig",
    "DecodeOverrides",
    "DecoderConfig",
    "DecoderKind",
    "EncoderConfig",
    "EvaluateConfig",
    "ForcedConfig",
    "GuidedConfig",
    "HeatmapUnits",
    "ModelConfig",
    "SaliencyConfig",
    "TestConfig",
    "TokenizerConfig",
    "TrainConfig",
    "TranslateConfig",
]

_COMMANDS = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "translate": TranslateConfig,
    "align": AlignConfig,
    "compare": CompareConfig,
    "saliency": SaliencyConfig,
    "average": AverageConfig,
}
for _name, _schema in _COMMANDS.items():
    ConfigStore.instance().store(name=f"{_name}_schema", node=_schema)
