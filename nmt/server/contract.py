"""The bodies of requests and answers: those of LibreTranslate, with additional fields.

LibreTranslate's clients send a form or JSON, and expect `{"error": ...}` if a request is refused.
"""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from nmt.server.errors import Refusal

Body = TypeVar("Body", bound=BaseModel)

API_VERSION = "1.1.0"  # of paths and fields; a change that breaks clients increases the first number


class Error(BaseModel):
    """Why a request was refused."""

    error: str


class TranslateRequest(BaseModel):
    """Texts to be translated."""

    q: str | list[str] = Field(description="A text, or a list of texts (in JSON)")
    source: str = Field(description="The language of the texts; auto: the one that this server translates from")
    target: str = Field(description="The language to translate to")
    format: Literal["text", "html"] = "text"
    alternatives: Annotated[int, Field(ge=0)] = Field(
        0, description="The most further translations; there may be fewer"
    )
    attention: bool = Field(False, description="Add words, links, attention and log-probabilities (format text only)")
    confidence: bool = Field(False, description="Add how sure each sentence and word is (format text only)")
    api_key: str | None = Field(None, description="Ignored: this server has no keys")


class Sentence(BaseModel):
    """A sentence, its translation, and the links, attention and log-probabilities of its words.

    Words are separated by spaces. weights has a row for each target word and a column for each source word; a row and
    its weight in endWeights, the attention on the end of the sentence, sum to one. links are pairs of a source word and
    a target word, counted from 0. Without attention, and for a very long sentence, weights and endWeights are null, and
    there are no links. logProbs is the natural logarithm of each target word's probability; logProb that of the
    sentence.
    """

    source: str
    translation: str
    sourceWords: list[str]
    targetWords: list[str]
    links: list[tuple[int, int]]
    weights: list[list[float]] | None
    endWeights: list[float] | None
    logProbs: list[float | None]
    logProb: float | None


class Confidence(BaseModel):
    """The confidence of a translation, and its words without a counterpart.

    words is the probability that each target word is right, sentence the expected share of right words; they are null
    if there are no words, and for a very long sentence. omitted lists the source words that receive too little
    attention, unsupported the target words with too little support in the source, counted from 0; both are null without
    attention. Words are separated by spaces. calibrated is false if the run has no calibration: words are then the
    model's probabilities.
    """

    source: str
    translation: str
    sourceWords: list[str]
    targetWords: list[str]
    sentence: float | None
    words: list[float | None]
    omitted: list[int] | None
    unsupported: list[int] | None
    calibrated: bool


class DetectedLanguage(BaseModel):
    """The language of a text. confidence is 0, as the only source language is returned without detection."""

    confidence: float
    language: str


class TranslateAnswer(BaseModel):
    """The translation, or a list of translations if q is a list. The other fields have the same form and are present if
    requested. attention, confidence: the sentences of each text, in order, without the white space between them."""

    translatedText: str | list[str]
    alternatives: list[str] | list[list[str]] | None = None
    detectedLanguage: DetectedLanguage | list[DetectedLanguage] | None = None
    attention: list[Sentence] | list[list[Sentence]] | None = None
    confidence: list[Confidence] | list[list[Confidence]] | None = None


class AlignRequest(BaseModel):
    """Sentences and their translations, for linking their words."""

    pairs: list[tuple[str, str]] = Field(description="Pairs of a source sentence and its translation")
    source: str
    target: str
    api_key: str | None = None


class AlignAnswer(BaseModel):
    """The pairs, in order, with the links, attention and log-probabilities of the given translations."""

    pairs: list[Sentence]


class DetectRequest(BaseModel):
    """A text whose language is requested."""

    q: str
    api_key: str | None = None


class Language(BaseModel):
    """A source language and its target languages."""

    code: str
    name: str
    targets: list[str]


class Health(BaseModel):
    """The status of the server, and the number of sentences that wait or are being translated."""

    status: Literal["ok"]
    waiting: int


def read_body(kind: type[Body], fields: object) -> Body:
    """The validated fields of a request. Raises Refusal, with LibreTranslate's message if it has one."""
    if not isinstance(fields, dict):
        raise Refusal(400, "Invalid JSON format")
    for name, about in kind.model_fields.items():
        if about.is_required() and not fields.get(name):
            raise Refusal(400, f"Invalid request: missing {name} parameter")
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name, value = str(first["loc"][0]), first["input"]
        if name == "format":
            raise Refusal(400, f"{value} format is not supported") from None
        if name == "alternatives" and first["type"].startswith("int"):
            raise Refusal(400, "Invalid request: alternatives parameter is not a number") from None
        raise Refusal(400, f"Invalid request: {name} parameter: {first['msg']}") from None
