"""Reads the body of a request within limits, as JSON or a form, and waits for an answer while the client does."""

import asyncio
import json
import re
from concurrent.futures import Future
from typing import Any
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from nmt.server.errors import Refusal

# The most bytes that are read and discarded of a body that is too large, so that the client gets to read the answer.
_MAX_DISCARDED = 2**26
_MAX_FIELDS = 64  # of a form


async def read_fields(request: Request, *, max_bytes: int, seconds: float) -> Any:
    """The fields of a JSON body or of a form. Raises Refusal if the body is too large, too slow or damaged."""
    try:
        async with asyncio.timeout(seconds):
            body = await _read(request, max_bytes)
    except TimeoutError:
        raise Refusal(408, f"The body did not arrive within {seconds:g} seconds") from None
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return _urlencoded(body)
    if kind == "multipart/form-data":
        return await _multipart(request, body)
    try:
        fields = json.loads(body)
        json.dumps(fields, ensure_ascii=False).encode("utf-8")  # raises for half of a surrogate pair, such as \ud800
    except (ValueError, RecursionError):
        raise Refusal(400, "Invalid JSON format") from None
    return fields


async def _read(request: Request, max_bytes: int) -> bytes:
    body, length = [], 0
    async for chunk in request.stream():
        length += len(chunk)
        if length <= max_bytes:
            body.append(chunk)
        elif length > _MAX_DISCARDED:
            break
    if length > max_bytes:
        raise Refusal(413, f"Invalid request: the body is larger than the limit of {max_bytes} bytes")
    return b"".join(body)


def _urlencoded(body: bytes) -> dict[str, str]:
    """The fields of a form, the first of each name.

    Text that is not percent-encoded, as `curl -d` sends it, is UTF-8; Starlette would read it as Latin-1.
    """
    options = {"keep_blank_values": True, "errors": "strict", "max_num_fields": _MAX_FIELDS}
    try:
        return dict(reversed(parse_qsl(body.decode(), **options)))
    except UnicodeDecodeError:
        raise Refusal(400, "Invalid request: the form is not UTF-8") from None
    except ValueError:
        raise Refusal(400, "Invalid request: the form is damaged") from None


async def _multipart(request: Request, body: bytes) -> dict[str, str]:
    """The text fields of a form in parts, the first of each name; files are ignored.

    Text is UTF-8, whatever character set the request names: Starlette would read bytes that are not in it as Latin-1.
    """
    kind = re.sub(r";\s*charset=[^;]*", "", request.headers["content-type"], flags=re.IGNORECASE)
    headers = [(b"content-type", f"{kind}; charset=latin-1".encode("latin-1"))]  # one character for each byte

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        limits = {"max_files": 8, "max_fields": _MAX_FIELDS, "max_part_size": len(body)}
        async with Request({**request.scope, "headers": headers}, receive).form(**limits) as form:
            texts = [(name, text) for name, text in reversed(form.multi_items()) if isinstance(text, str)]
            return {name: text.encode("latin-1").decode() for name, text in texts}
    except UnicodeDecodeError:
        raise Refusal(400, "Invalid request: the form is not UTF-8") from None
    except (HTTPException, ValueError):
        raise Refusal(400, "Invalid request: the form is damaged") from None


async def wait_for(request: Request, future: "Future[list[Any]]", *, seconds: float) -> list[Any]:
    """The result of a future. Cancels the future if the client disconnects or after `seconds`.

    request: its body must have been read. Raises Refusal after `seconds`, ClientDisconnect if the client disconnects,
    and the exception of the future.
    """
    answer = asyncio.wrap_future(future)
    gone = asyncio.ensure_future(request.receive())  # after the body, returns only when the client disconnects
    try:
        await asyncio.wait({answer, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        if gone.done():
            raise ClientDisconnect
        raise Refusal(408, f"The translation took longer than {seconds:g} seconds: send less text, or try later")
    finally:
        answer.cancel()
        gone.cancel()
