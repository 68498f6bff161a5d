"""The settings guided_alignment.* and the configuration of training, with all sections."""

from dataclasses import dataclass, field
from typing import Any

from nmt.acceleration.selection import CudaGraphsMode, FusedKernels
from nmt.attention.hard import AttentionChoice
from nmt.bounds import at_least, between, positive_int
from nmt.config.paths import RUN_FILES, Use, check_text, path_key
from nmt.config.schema.data import DataConfig, TokenizerConfig
from nmt.config.schema.decoding import DecodeConfig
from nmt.config.schema.model import ModelConfig, ModelKind
from nmt.data.batches import BatchOptions
from nmt.data.subword_regularization import SubwordRegularizationOptions
from nmt.minimum_risk import MinimumRiskOptions
from nmt.model.decoder import DecoderKind
from nmt.model.seq2seq import TiedEmbeddings
from nmt.runtime.device import DeviceName, Precision
from nmt.training.consistency import Consistency, LossOptions, Objective
from nmt.training.optim import OptimizerOptions
from nmt.training.options import EarlyStoppingMetric, TrainerOptions


@dataclass
class GuidedConfig:
    """The settings guided_alignment.*"""

    links: Any = path_key(Use.input)  # a file or a list; checked below, because OmegaConf has no such union
    reversed: bool = False
    weight: float = 1.0
    decay: float = 1.0

    def __post_init__(self):
        if self.reversed and self.links is None:
            raise ValueError(
                "guided_alignment.reversed=true is about the links of guided_alignment.links: give "
                "guided_alignment.links=FILE as well"
            )
        if self.links is not None:
            files = [self.links] if isinstance(self.links, str) else self.links
            if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
                raise ValueError(f"guided_alignment.links={self.links!r}: give a file of links, i-j, or a list of such")
            self.links = files
        at_least(0, guided_alignment__weight=self.weight)
        if not 0 <= self.decay <= 1:
            raise ValueError(f"guided_alignment.decay={self.decay} is impossible: give 0 to 1")

    def weight_at(self, epoch: int) -> float:
        """The weight of guided alignment in the objective in an epoch, counted from 0."""
        return self.weight * self.decay**epoch if self.links else 0.0


@dataclass
class ValidAlignmentConfig:
    """Gold links for the validations of an aligner; None: those beside the validation set."""

    links: str | None = path_key(Use.input)
    reversed: bool = False


@dataclass
class TrainConfig:
    """The settings of `python -m nmt.train`."""

    name: str = "custom"
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    batch: BatchOptions = field(default_factory=BatchOptions)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossOptions = field(default_factory=LossOptions)
    minimum_risk: MinimumRiskOptions = field(default_factory=MinimumRiskOptions)
    optim: OptimizerOptions = field(default_factory=OptimizerOptions)
    subword_regularization: SubwordRegularizationOptions = field(default_factory=SubwordRegularizationOptions)
    guided_alignment: GuidedConfig = field(default_factory=GuidedConfig)
    valid_alignment: ValidAlignmentConfig = field(default_factory=ValidAlignmentConfig)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    run: str | None = path_key(Use.folder, contents=RUN_FILES)
    resume: str | None = path_key(Use.folder, contents=RUN_FILES, words=("auto",))
    finetune_from: str | None = path_key(Use.run, contents=RUN_FILES)
    seed: int = 1
    device: DeviceName = DeviceName.auto
    precision: Precision = Precision.auto
    fused_kernels: FusedKernels = FusedKernels.auto
    cuda_graphs: CudaGraphsMode = CudaGraphsMode.auto
    threads: int | None = None

    def __post_init__(self):
        check_text(self)
        between(0, 2**32 - 1, {"seed": self.seed})
        positive_int(threads=self.threads)
        if self.resume in (None, "auto"):  # else the settings that are not given here are those of the run
            self._check_combinations()

    def _check_combinations(self) -> None:
        """Raises ValueError for settings that do not go together."""
        limits = (self.trainer.max_updates, self.trainer.max_epochs, self.trainer.max_minutes)
        if limits == (None, None, None) and not self.trainer.patience:
            raise ValueError("nothing would end this run: set trainer.max_updates, max_epochs, max_minutes or patience")
        if (self.tokenizer.src_model is None) != (self.tokenizer.tgt_model is None):
            raise ValueError("tokenizer.src_model and tokenizer.tgt_model go together; one for both is tokenizer.model")
        if self.guided_alignment.links and self.model.decoder.kind is DecoderKind.fixed_vector:
            raise ValueError(
                "guided_alignment.links teach attention, which model.decoder.kind=fixed_vector does not have"
            )
        if self.loss.label_smoothing and self.model.attention.choice is AttentionChoice.hard:
            raise ValueError(
                f"loss.label_smoothing={self.loss.label_smoothing:g} is not defined for model.attention.choice=hard, "
                "which weighs positions by the probability of the word itself: set loss.label_smoothing=0"
            )
        if self.loss.consistency is not Consistency.none and self.model.attention.choice is AttentionChoice.hard:
            raise ValueError(
                f"loss.consistency={self.loss.consistency.value} compares the predictions of two passes from the "
                "context, which model.attention.choice=hard does not predict from: set loss.consistency=none"
            )
        metric = self.trainer.early_stopping_metric
        if metric is EarlyStoppingMetric.bleu and self.model.kind is not ModelKind.translator:
            maker = "an aligner" if self.model.kind is ModelKind.aligner else "the training of an alignment head"
            raise ValueError(
                f"trainer.early_stopping_metric=bleu needs translations, which {maker} does not make: give loss, or "
                "aer where the validation set has gold links"
            )
        if metric is EarlyStoppingMetric.aer and self.model.kind is ModelKind.translator:
            raise ValueError(
                "trainer.early_stopping_metric=aer needs model.kind=aligner or alignment_head: give bleu or loss"
            )
        # Whether the user's models share a vocabulary is checked when they are read.
        own = self.tokenizer.model or self.tokenizer.src_model
        tied = self.model.tied_embeddings is TiedEmbeddings.all and self.model.kind is not ModelKind.aligner
        if tied and not (self.tokenizer.joint or own):
            raise ValueError(
                "model.tied_embeddings=all shares one table between the languages, which needs one vocabulary for "
                "both: "
                "try tokenizer.joint=true, or model.tied_embeddings=target"
            )
        if self.loss.objective is Objective.minimum_risk:
            self._check_minimum_risk()

    def _check_minimum_risk(self) -> None:
        """Raises ValueError for settings that loss.objective=minimum_risk excludes, or for missing ones."""
        if not self.finetune_from:
            raise ValueError(
                "loss.objective=minimum_risk samples translations from a model that is trained already: give "
                "finetune_from=RUN, a run with loss.objective=cross_entropy"
            )
        if self.guided_alignment.links:
            raise ValueError(
                "guided_alignment.links are of the references, and loss.objective=minimum_risk trains on sampled "
                "translations too: leave guided_alignment.links out"
            )
        if self.model.attention.choice is AttentionChoice.hard:
            raise ValueError(
                "loss.objective=minimum_risk is not defined for model.attention.choice=hard, whose words are not "
                "predicted from the context: take a run with model.attention.choice=soft"
            )
