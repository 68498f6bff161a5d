"""The objects that training needs besides the model: batches and gradients."""

import torch

from nmt.analysis.metrics import sentence_bleu, sentence_chrf
from nmt.build.data import metric_tokenizer
from nmt.config.schema import TrainConfig
from nmt.data.batches import Batches
from nmt.data.binarized import BinarizedCorpus
from nmt.data.subword_regularization import SampledCorpus
from nmt.data.tokenizer import Tokenizer
from nmt.minimum_risk import CandidateSampler, Cost
from nmt.runtime.device import Device
from nmt.runtime.distributed import Distributed
from nmt.training.consistency import Objective
from nmt.training.gradients import Gradients
from nmt.training.optim import Schedule, build_optimizer


def build_optim(config: TrainConfig, model: torch.nn.Module) -> tuple[torch.optim.Optimizer, Schedule]:
    """The optimizer and the learning rate schedule of a configuration."""
    return build_optimizer(model, config.optim), Schedule(config.optim.schedule)


def build_batches(
    config: TrainConfig, encoded: BinarizedCorpus, *, training: bool, tokenizer: Tokenizer | None = None
) -> Batches:
    """tokenizer: that of `encoded`; samples its segmentations if configured, only in training."""
    options, sampled = config.subword_regularization, None
    if training and tokenizer is not None and options.is_on:
        sampled = SampledCorpus(encoded, tokenizer, options, config.seed)
    return Batches(encoded, config.batch, seed=config.seed, shuffle=training, sort=True, sampled=sampled)


def build_gradients(
    config: TrainConfig,
    model: torch.nn.Module,
    batches: Batches,
    tokenizer: Tokenizer,
    device: Device,
    distributed: Distributed,
) -> Gradients:
    """Raises ValueError if BLEU's tokenizer is needed and not available."""
    return Gradients(
        model,
        batches,
        loss=config.loss,
        optimizer=config.optim,
        device=device,
        distributed=distributed,
        guidance=config.guided_alignment,
        candidates=_candidate_sampler(config, tokenizer),
    )


def _candidate_sampler(config: TrainConfig, tokenizer: Tokenizer) -> CandidateSampler | None:
    match config.loss.objective:
        case Objective.cross_entropy:
            return None
        case Objective.minimum_risk:
            options = config.minimum_risk
        case _:
            legal = ", ".join(each.value for each in Objective)
            raise ValueError(f"loss.objective={config.loss.objective}: legal are {legal}")
    match options.cost:
        case Cost.bleu:
            metric = sentence_bleu(metric_tokenizer(config.data))
        case Cost.chrf:
            metric = sentence_chrf
        case _:
            raise ValueError(f"minimum_risk.cost={options.cost}: legal are {', '.join(each.value for each in Cost)}")
    return CandidateSampler(options, tokenizer.tgt, metric, config.seed)
