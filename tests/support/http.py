"""A client of the server: what is sent is what is written here, byte for byte."""

import http.client
import json
import re
import time
import urllib.parse
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE = 60.0  # seconds, of a machine that is busy with other things


class Answer(NamedTuple):
    """status: the number of HTTP; content: of JSON, else text."""

    status: int
    content: Any


class Client:
    """Sends requests to one server, each on a connection of its own."""

    def __init__(self, host: str, port: int):
        self.host, self.port = host, port
        self.url = f"http://{host}:{port}"

    @classmethod
    def when_listening(cls, log: Path) -> "Client":
        """Waits for the server that writes this log."""
        end = time.monotonic() + PATIENCE
        while not (log.exists() and (found := re.search(r"listening on http://(\S+):(\d+)", log.read_text()))):
            assert time.monotonic() < end, "it does not listen"
            time.sleep(0.05)
        return cls(found[1], int(found[2]))

    def ask(self, method: str, path: str, body: bytes | str | None = None, kind: str | None = None) -> Answer:
        """kind: the content type of the body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            response = connection.getresponse()
            text = response.read().decode()
            is_json = response.headers.get_content_type() == "application/json"
            return Answer(response.status, json.loads(text) if is_json else text)
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def post(self, path: str, **fields: Any) -> Answer:
        """As JSON."""
        return self.ask("POST", path, json.dumps(fields), "application/json")

    def post_form(self, path: str, **fields: str) -> Answer:
        return self.ask("POST", path, urllib.parse.urlencode(fields), "application/x-www-form-urlencoded")
