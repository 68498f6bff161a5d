"""The handlers of the paths."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from nmt.analysis.segmentation import needs_space
from nmt.corpus import Pair
from nmt.documents.html import HtmlDocument
from nmt.server import translation
from nmt.server.bodies import read_fields, wait_for
from nmt.server.contract import AlignRequest, DetectRequest, TranslateRequest, read_body
from nmt.server.errors import Refusal
from nmt.server.languages import Directions
from nmt.server.limits import ServerLimits
from nmt.server.model_thread import Busy, ModelThread, Work
from nmt.server.models import Explained, PairModel


class Handlers:
    """Answers requests with the models of `directions`, which `thread` runs."""

    def __init__(self, directions: Directions, thread: ModelThread, limits: ServerLimits):
        self._directions, self._thread, self._limits = directions, thread, limits

    async def translate(self, request: Request) -> JSONResponse:
        """Translates a text or a list of texts, sentence by sentence; the white space between sentences is kept."""
        body = read_body(TranslateRequest, await self._fields(request))
        texts = [body.q] if isinstance(body.q, str) else body.q
        self._check_characters(texts)
        model = self._directions.find(body.source, body.target)
        answers = await self._translate(request, model, texts, body)
        if body.source == "auto":
            for answer in answers:
                answer["detectedLanguage"] = _language(model.src)
        if isinstance(body.q, str):
            return JSONResponse(answers[0])
        return JSONResponse({name: [each[name] for each in answers] for name in answers[0]})

    async def _translate(
        self, request: Request, model: PairModel, texts: Sequence[str], body: TranslateRequest
    ) -> list[dict[str, Any]]:
        """The fields of the answer, for each text."""
        if body.format == "html":
            return await self._translate_html(request, model, texts, body)
        # In another thread, as some texts take seconds and would block the event loop.
        split = [await asyncio.to_thread(translation.split, text, model.src, model.tgt) for text in texts]
        lines = [translation.sentences(text) for text in split]
        explain = model.explain_with_confidence if body.confidence else model.explain
        work = explain if body.attention or body.confidence else model.translate
        found = await self._work(request, work, [line for each in lines for line in each])
        answers = []
        for text, own, results in zip(split, lines, translation.shared_out(found, lines), strict=True):
            nbest = [each.nbest if isinstance(each, Explained) else each for each in results]
            render = partial(translation.join, text, nbest)
            answer = _rendered(render, nbest, body.alternatives)
            if body.attention:
                answer["attention"] = [translation.describe(*each) for each in zip(own, results, strict=True)]
            if body.confidence:
                pairs = zip(own, results, strict=True)
                answer["confidence"] = [translation.describe_confidence(*each) for each in pairs]
            answers.append(answer)
        return answers

    async def _translate_html(
        self, request: Request, model: PairModel, texts: Sequence[str], body: TranslateRequest
    ) -> list[dict[str, Any]]:
        """As `_translate`, for HTML. Raises Refusal if the model has no attention or the HTML cannot be translated."""
        if not model.has_attention:
            raise Refusal(
                400, "html format is not supported: its tags follow attention, which this model does not have"
            )
        for name in ("attention", "confidence"):
            if getattr(body, name):
                raise Refusal(400, f"Invalid request: {name} parameter: it is for text, and format is html")
        try:
            documents = [await asyncio.to_thread(HtmlDocument, text, model.src) for text in texts]
        except ValueError as error:
            raise Refusal(400, f"Invalid request: {error}") from None
        lines = [document.sentences for document in documents]
        found = await self._work(request, model.translate_with_links, [line for each in lines for line in each])
        spaced = needs_space(model.src, model.tgt)
        answers = []
        for document, nbest in zip(documents, translation.shared_out(found, lines), strict=True):
            render = partial(translation.render_html, document, nbest, spaced=spaced)
            answers.append(await asyncio.to_thread(_rendered, render, nbest, body.alternatives))
        return answers

    async def align(self, request: Request) -> JSONResponse:
        """Links the words of given pairs, and returns the log-probability of each target word."""
        body = read_body(AlignRequest, await self._fields(request))
        self._check_characters([text for pair in body.pairs for text in pair])
        model = self._directions.find(body.source, body.target)
        found = await self._work(request, model.align, [Pair(*pair) for pair in body.pairs])
        described = [translation.describe(src, each) for (src, _), each in zip(body.pairs, found, strict=True)]
        return JSONResponse({"pairs": described})

    async def detect(self, request: Request) -> JSONResponse:
        """The source language of this server, if it has only one; otherwise status 501, as it detects no languages."""
        read_body(DetectRequest, await self._fields(request))
        sources = self._directions.sources()
        if len(sources) > 1:
            raise Refusal(501, "This server does not detect languages; name the source")
        return JSONResponse([_language(sources[0])])

    async def languages(self) -> JSONResponse:
        """The source languages, each with its target languages."""
        return JSONResponse(self._directions.describe())

    async def health(self) -> JSONResponse:
        """The status of the server, and the number of sentences that wait or are being translated."""
        return JSONResponse({"status": "ok", "waiting": self._thread.waiting})

    async def _fields(self, request: Request) -> Any:
        return await read_fields(request, max_bytes=self._limits.body, seconds=self._limits.seconds)

    async def _work(self, request: Request, work: Work, items: Sequence[Any]) -> list[Any]:
        """The results of the model's thread. Raises Refusal if the request or the queue exceeds a limit."""
        if len(items) > self._limits.sentences:
            raise Refusal(400, f"Invalid request: {len(items)} sentences exceed the limit of {self._limits.sentences}")
        longest = max((len(text) for item in items for text in ([item] if isinstance(item, str) else item)), default=0)
        if longest > self._limits.sentence_characters:
            limit = self._limits.sentence_characters
            raise Refusal(400, f"Invalid request: a sentence of {longest} characters exceeds the limit of {limit}")
        try:
            future: Future[list[Any]] = self._thread.submit(work, items)
        except Busy:
            raise Refusal(429, "Too much waits to be translated: try again in a second") from None
        return await wait_for(request, future, seconds=self._limits.seconds)

    def _check_characters(self, texts: Sequence[str]) -> None:
        size = sum(map(len, texts))
        if size > self._limits.characters:
            raise Refusal(400, f"Invalid request: request ({size}) exceeds text limit ({self._limits.characters})")


def _rendered(render: Callable[[int], str], nbest: Sequence[Any], alternatives: int) -> dict[str, Any]:
    """The fields of an answer. render: the text with the translations of a rank, 0 for the best."""
    answer: dict[str, Any] = {"translatedText": render(0)}
    if alternatives:
        answer["alternatives"] = translation.alternatives(render, nbest, alternatives)
    return answer


def _language(code: str) -> dict[str, Any]:
    return {"confidence": 0.0, "language": code}
