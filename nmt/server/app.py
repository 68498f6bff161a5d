"""The web application: paths, their documentation, and errors in the format of LibreTranslate."""

import logging
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from nmt.server import contract
from nmt.server.errors import Refusal
from nmt.server.handlers import Handlers
from nmt.server.page import add_page

log = logging.getLogger("nmt")

_ABOUT = """Translates text with trained models of this program.

`/translate`, `/languages`, `/detect` and `/health` are those of LibreTranslate, so its clients work; bodies are forms
or JSON. `/align` and `attention` show which words belong together. Every error is `{"error": "..."}`: 400 for a request
that cannot be answered, 408 for one that took too long, 413 for a body that is too large, 429 where too much waits."""
_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": contract.Error} for status in (400, 408, 413, 429)}


def create_app(handlers: Handlers) -> FastAPI:
    """The application. The models' thread is not part of it and must run as long as the application is used."""
    # FastAPI's pages of documentation would load scripts from other hosts; /openapi.json is the documentation.
    app = FastAPI(
        title="nmt", description=_ABOUT, version=contract.API_VERSION, docs_url=None, redoc_url=None, responses=_ERRORS
    )
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "POST"], allow_headers=["*"])
    posts = [
        ("/translate", handlers.translate, contract.TranslateRequest, contract.TranslateAnswer),
        ("/align", handlers.align, contract.AlignRequest, contract.AlignAnswer),
        ("/detect", handlers.detect, contract.DetectRequest, list[contract.DetectedLanguage]),
    ]
    for path, handler, body, answer in posts:
        about = {"responses": {200: {"model": answer}}, "openapi_extra": _body_of(body)}
        app.add_api_route(path, handler, methods=["POST"], response_class=JSONResponse, **about)
    app.add_api_route("/languages", handlers.languages, responses={200: {"model": list[contract.Language]}})
    app.add_api_route("/health", handlers.health, responses={200: {"model": contract.Health}})
    add_page(app)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _failed)
    return app


def _body_of(body: type[BaseModel]) -> dict[str, Any]:
    """The description of a request body for OpenAPI. Handlers parse the body, as it may be JSON or a form."""
    schema = {"schema": body.model_json_schema()}
    content = {"application/json": schema, "application/x-www-form-urlencoded": schema}
    return {"requestBody": {"required": True, "content": content}}


def _error(status: int, message: str) -> JSONResponse:
    headers = {"Retry-After": "1"} if status == 429 else None
    return JSONResponse({"error": message}, status, headers)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _error(error.status, error.message)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, f"{request.method} {request.url.path}: {error.detail}")


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)  # not sent, as the client has disconnected


async def _failed(request: Request, error: Exception) -> Response:
    log.error(f"{request.method} {request.url.path} failed: {error!r}")
    return _error(500, "The translation failed; the server's log says why")
