"""The settings of search: decode.*"""

from dataclasses import dataclass, fields, replace

from nmt.bounds import positive_int
from nmt.decoding.search import LengthPenalty


@dataclass
class DecodeConfig:
    """How a run's validations decode, but for the beam, which is trainer.valid_beam."""

    beam: int = 5
    batch_size: int = 64
    max_length: int | None = None
    length_penalty: LengthPenalty = LengthPenalty.average
    length_penalty_alpha: float = 0.6
    nbest: int = 1

    def __post_init__(self):
        positive_int(decode__beam=self.beam, decode__batch_size=self.batch_size, decode__max_length=self.max_length)
        positive_int(decode__nbest=self.nbest)
        if self.nbest > self.beam:
            raise ValueError(
                f"decode.nbest={self.nbest} is more than the {self.beam} of decode.beam: try decode.beam={self.nbest}"
            )


@dataclass
class DecodeOverrides:
    """How a command decodes that opens a run. What is null is as the run's validations have it."""

    beam: int = 5
    nbest: int = 1
    batch_size: int | None = None
    max_length: int | None = None
    length_penalty: LengthPenalty | None = None
    alpha: float | None = None

    def __post_init__(self):
        self.over(DecodeConfig())

    def over(self, own: DecodeConfig) -> DecodeConfig:
        """`own`, the run's, with what is given here. Raises ValueError, by name, for what is impossible."""
        all_queries = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(own, **{name: value for name, value in all_queries.items() if value is not None})
