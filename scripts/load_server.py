"""Load test of a running server: wrong answers, latency and memory with many clients, compared with a single one.

    python -m nmt.serve checkpoint=RUN &
    python scripts/load_server.py http://127.0.0.1:5000 --src test.de --pid PID
    python scripts/load_server.py http://127.0.0.1:5000 --src test.de --clients 8 --requests 20000

Each client keeps its connection and sends a line when the previous one is answered. Every answer is compared with that
of a single client. --pid: the process id of the server, to print its memory. --idle: the number of additional
connections that send nothing.
"""

import argparse
import http.client
import json
import socket
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from nmt.runtime.text_files import read_lines


class Asked(NamedTuple):
    """The answers to one client, in order. seconds: the latency of each."""

    texts: list[str]
    seconds: list[float]


class Direction(NamedTuple):
    source: str
    target: str


def ask(url: str, direction: Direction, lines: Sequence[str]) -> Asked:
    """Translates lines one after the other. Raises RuntimeError if a request fails."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)
    texts, seconds = [], []
    for line in lines:
        body = json.dumps({"q": line, "source": direction.source, "target": direction.target})
        begun = time.perf_counter()
        connection.request("POST", "/translate", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        seconds.append(time.perf_counter() - begun)
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {answer}")
        texts.append(answer["translatedText"])
    connection.close()
    return Asked(texts, seconds)


def ask_together(url: str, direction: Direction, lines: Sequence[str], clients: int) -> list[Asked]:
    """Translates lines with several clients at once: client k sends lines k, k + clients, ..."""
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(lambda k: ask(url, direction, lines[k::clients]), range(clients)))


def first_direction(url: str) -> Direction:
    """The first pair of languages that the server translates."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    connection.request("GET", "/languages")
    languages = json.loads(connection.getresponse().read())
    return Direction(languages[0]["code"], languages[0]["targets"][0])


def percentile(values: Sequence[float], percent: int) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def memory_mb(pid: int | None) -> str:
    """A text with the resident memory of a process; "" without a pid."""
    if pid is None:
        return ""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return f", memory {kilobytes / 1024:.0f} MB"


def report(name: str, asked: Sequence[Asked], seconds: float, memory: str) -> float:
    """Prints a line of results -> requests per second."""
    each = [second for one in asked for second in one.seconds]
    rate = len(each) / seconds
    median, last = (1000 * percentile(each, percent) for percent in (50, 99))
    print(f"{name}: {len(each):,} requests, {rate:.1f} a second, p50 {median:.0f} ms, p99 {last:.0f} ms{memory}")
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--src", type=Path, required=True, help="lines to translate")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--pid", type=int)
    options = parser.parse_args()
    lines = [line for line in read_lines(options.src) if line.strip()]
    direction = first_direction(options.url)
    place = urlsplit(options.url)
    idle = [socket.create_connection((place.hostname or "", place.port or 80)) for _ in range(options.idle)]

    few = lines[: max(2, min(len(lines), options.requests // 10))]
    ask(options.url, direction, few[:5])  # warm-up: the first requests prepare the model
    begun = time.perf_counter()
    alone = ask(options.url, direction, few)
    rate_alone = report("one client", [alone], time.perf_counter() - begun, memory_mb(options.pid))

    many = [few[k % len(few)] for k in range(options.requests)]
    begun = time.perf_counter()
    asked = ask_together(options.url, direction, many, options.clients)
    rate = report(f"{options.clients} clients", asked, time.perf_counter() - begun, memory_mb(options.pid))
    expected = dict(zip(few, alone.texts, strict=True))
    wrong = sum(
        text != expected[line]
        for k, one in enumerate(asked)
        for line, text in zip(many[k :: options.clients], one.texts, strict=True)
    )
    print(f"{rate / rate_alone:.1f} times the rate of one client; {wrong} answers differ from those of a client alone")
    for connection in idle:
        connection.close()


if __name__ == "__main__":
    main()
