"""The settings of training: optim.*, trainer.*, guided_alignment.*, and all of them together."""

from dataclasses import dataclass, field
from typing import Any

from nmt.config.paths import RUN_FILES, Use, check_text, path_key
from nmt.config.schema.bounds import at_least, between, fraction, greater_than, positive_int
from nmt.config.schema.data import BatchConfig, DataConfig, TokenizerConfig
from nmt.config.schema.decoding import DecodeConfig
from nmt.config.schema.model import DecoderKind, ModelConfig
from nmt.model.seq2seq import TiedEmbeddings
from nmt.runtime.device import CudaGraphsMode, DeviceName, FusedKernels, Precision
from nmt.training.optim import Normalization, OptimizerName, ScheduleName
from nmt.training.options import EarlyStoppingMetric


@dataclass
class ScheduleConfig:
    name: ScheduleName = ScheduleName.constant
    warmup: int = 0
    constant_fraction: float = 0.0
    halvings: int = 5
    min_factor: float = 0.0
    factor: float = 0.5
    patience: int = 1

    def __post_init__(self):
        at_least(0, optim__schedule__warmup=self.warmup, optim__schedule__patience=self.patience)
        at_least(1, optim__schedule__halvings=self.halvings)
        fraction(optim__schedule__constant_fraction=self.constant_fraction)
        for name in ("min_factor", "factor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"optim.schedule.{name}={getattr(self, name)} is impossible: give 0 to 1")
        if self.name is ScheduleName.inverse_sqrt and self.warmup == 0:
            raise ValueError(
                "optim.schedule.name=inverse_sqrt falls from the end of its warm-up: try optim.schedule.warmup=1000"
            )


@dataclass
class LossConfig:
    label_smoothing: float = 0.0

    def __post_init__(self):
        fraction(loss__label_smoothing=self.label_smoothing)


@dataclass
class OptimConfig:
    name: OptimizerName = OptimizerName.adam
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    rho: float = 0.95
    momentum: float = 0.0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    normalization: Normalization = Normalization.tokens
    ema_decay: float = 0.0
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self):
        greater_than(0, optim__lr=self.lr)
        at_least(0, optim__eps=self.eps, optim__weight_decay=self.weight_decay, optim__max_grad_norm=self.max_grad_norm)
        fraction(
            optim__beta1=self.beta1,
            optim__beta2=self.beta2,
            optim__rho=self.rho,
            optim__momentum=self.momentum,
            optim__ema_decay=self.ema_decay,
        )


@dataclass
class TrainerConfig:
    max_updates: int | None = None
    max_epochs: float | None = None
    max_minutes: float | None = None
    grad_accumulation: int = 1
    log_every: int = 50
    validate_every: int = 500
    save_every: int = 500
    save_minutes: float = 0.0
    keep_checkpoints: int = 1
    early_stopping_metric: EarlyStoppingMetric = EarlyStoppingMetric.bleu
    patience: int = 0
    max_skipped_updates: int = 20
    valid_beam: int = 5
    valid_sentences: int | None = None
    tensorboard: bool = True

    def __post_init__(self):
        at_least(1, trainer__grad_accumulation=self.grad_accumulation, trainer__max_updates=self.max_updates)
        at_least(1, trainer__max_skipped_updates=self.max_skipped_updates, trainer__valid_beam=self.valid_beam)
        at_least(1, trainer__valid_sentences=self.valid_sentences)
        greater_than(0, trainer__max_epochs=self.max_epochs, trainer__max_minutes=self.max_minutes)
        at_least(
            0,
            trainer__log_every=self.log_every,
            trainer__validate_every=self.validate_every,
            trainer__save_every=self.save_every,
            trainer__save_minutes=self.save_minutes,
            trainer__keep_checkpoints=self.keep_checkpoints,
            trainer__patience=self.patience,
        )


@dataclass
class GuidedConfig:
    links: Any = path_key(Use.input)  # a file or a list of them; checked below, as OmegaConf has no such union
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


@dataclass
class TrainConfig:
    """What `python -m nmt.train` takes."""

    name: str = "custom"
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    guided_alignment: GuidedConfig = field(default_factory=GuidedConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
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
        limits = (self.trainer.max_updates, self.trainer.max_epochs, self.trainer.max_minutes)
        if limits == (None, None, None) and not self.trainer.patience:
            raise ValueError("nothing would end this run: set trainer.max_updates, max_epochs, max_minutes or patience")
        if self.guided_alignment.links and self.model.decoder.kind is DecoderKind.fixed_vector:
            raise ValueError(
                "guided_alignment.links teach attention, which model.decoder.kind=fixed_vector does not have"
            )
        # Whether one's own models share a vocabulary is seen when they are read.
        own = self.tokenizer.model or self.tokenizer.src_model
        if self.model.tied_embeddings is TiedEmbeddings.all and not (self.tokenizer.joint or own):
            raise ValueError(
                "model.tied_embeddings=all shares one table between the languages, which needs one vocabulary for "
                "both: "
                "try tokenizer.joint=true, or model.tied_embeddings=target"
            )
        positive_int(threads=self.threads)
