"""The limits on requests and on the queue."""

from dataclasses import dataclass

from nmt.bounds import greater_than, positive_int


@dataclass
class ServerLimits:
    """The limits of the server: limits.* of the configuration."""

    characters: int = 20_000  # of a request
    sentences: int = 500  # of a request
    sentence_characters: int = 2000  # of a sentence
    seconds: float = 60.0  # for receiving a body, and again for its translation
    waiting: int = 2000  # sentences in the queue, of all requests
    idle_seconds: float = 10.0  # within which a connection must send a complete request head

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
        """The most bytes of a body: a character takes up to 12, with JSON escapes or in a form."""
        return 12 * self.characters + 2**16
