"""The exception for a request that is refused."""


class Refusal(Exception):
    """A request is refused. status: the HTTP status, 400 or more; message: the text for the client."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message
