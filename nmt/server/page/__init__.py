"""The web page of the server. Words and attention are displayed by the scripts of the report page."""

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

_HERE = Path(__file__).parent
_REPORT = _HERE.parents[1] / "analysis" / "report"
_FILES = {
    "/": (_HERE / "page.html", "text/html"),
    "/page/translate.css": (_HERE / "translate.css", "text/css"),
    "/page/translate.js": (_HERE / "translate.js", "text/javascript"),
    "/page/report.css": (_REPORT / "page.css", "text/css"),
    "/page/matrix.js": (_REPORT / "matrix.js", "text/javascript"),
    "/page/attention.js": (_REPORT / "attention.js", "text/javascript"),
}
# The browser loads nothing from other hosts, whatever a text contains.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_page(app: FastAPI) -> None:
    """Adds the page at / and its files. The files are read once, in this call."""
    contents = {path: (file.read_bytes(), kind) for path, (file, kind) in _FILES.items()}

    async def read(request: Request) -> Response:
        content, kind = contents[request.url.path]
        return Response(content, media_type=kind, headers=_HEADERS)

    for path in contents:
        app.add_api_route(path, read, include_in_schema=False)
