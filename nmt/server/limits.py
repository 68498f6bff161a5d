"""What a request may ask for, and how much may wait."""

from dataclasses import dataclass

from nmt.bounds import greater_than, positive_int


@dataclass
class ServerLimits:
    """The limits of the server: limits.* of the configuration."""

    characters: int = 20_000  # of a request
    sentences: int = 500  # of a request
    sentence_characters: int = 2000  # of each of them
    seconds: float = 60.0  # until a request is answered, its arrival included
    waiting: int = 2000  # sentences of all requests that wait for the model
    idle_seconds: float = 10.0  # in which a connection must have sent a whole request head

    def __post_init__(self):
        positive_int(
            limits__characters=self.characters,
            limits__sentences=self.sentences,
            limits__sentence_characters=self.sentence_characters,
            limits__waiting=self.waiting,
        )
        greater_than(0, limits__seconds=self.seconds, limits__idle_seconds=self.idle_seconds)
        if self.waiting < self.sentences:
            raise ValueError(
                f"limits.waiting={self.waiting} holds no request of limits.sentences={self.sentences}: give at least "
                "as many"
            )

    @property
    def body(self) -> int:
        """Bytes of a body: a character takes up to 12, as JSON escapes or in a form."""
        return 12 * self.characters + 2**16
