"""What a request is refused with."""


class Refusal(Exception):
    """An HTTP status of 400 or more, and the sentence that the client reads."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message
