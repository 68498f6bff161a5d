"""The web server: uvicorn, with a time limit on connections that send no complete request."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger("nmt")


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound to the address and does not listen yet. Raises ValueError if it cannot be bound."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except UnicodeError:
        raise ValueError(f"host={host}: not the name or address of a machine") from None
    except OSError as error:
        no_address = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        advice = "give host= a name or address of this machine" if no_address else "try another port"
        raise ValueError(f"host={host} port={port}: {error.strerror}; {advice}") from None
    return bound


def listen(app: Callable, bound: socket.socket, *, idle_seconds: float, grace_seconds: float) -> None:
    """Answers requests until SIGTERM or SIGINT, then finishes those received before, for at most grace_seconds.

    idle_seconds: the time within which a connection must send the head of a request, also after an answer.
    """
    config = uvicorn.Config(
        app,
        http=_impatient(idle_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=max(1, round(idle_seconds)),
        timeout_graceful_shutdown=max(1, round(grace_seconds)),
    )
    _Server(config).run(sockets=[bound])


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or []:
            host, port = each.getsockname()[:2]
            log.info(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")


def _impatient(idle_seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, which also closes connections that send no complete request head within idle_seconds."""

    class Impatient(H11Protocol):
        _patience: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop_watching()

        def _watch(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_watching()
            elif self._patience is None:
                self._patience = self.loop.call_later(idle_seconds, self._drop)

        def _stop_watching(self) -> None:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None

        def _drop(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Impatient
