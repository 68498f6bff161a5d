"""The knobs of search: decode.*"""

from dataclasses import dataclass

from nmt.config.schema.bounds import count
from nmt.decoding.search import Normalisation


@dataclass
class DecodeConfig:
    beam: int = 5
    batch_size: int = 64
    max_length: int | None = None
    normalisation: Normalisation = Normalisation.average
    alpha: float = 0.6
    nbest: int = 1

    def __post_init__(self):
        count(decode__beam=self.beam, decode__batch_size=self.batch_size, decode__max_length=self.max_length)
        count(decode__nbest=self.nbest)
        if self.nbest > self.beam:
            raise ValueError(
                f"decode.nbest={self.nbest} is more than the {self.beam} of decode.beam: try decode.beam={self.nbest}"
            )
