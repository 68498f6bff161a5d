"""Rules for the settings of the commands that open a run."""

from dataclasses import fields

from nmt.config.schema import (
    AlignConfig,
    AlignmentDirection,
    DataKind,
    DecodeOverrides,
    EvaluateConfig,
    LinksFrom,
    SaliencyConfig,
    ServeConfig,
    TextFormat,
    TranslateConfig,
)
from nmt.config.unused.rule import Rule, needs

_SAMPLED = Rule(
    "decode.beam",
    lambda c: not c.decode.sampling,
    "decode.sampling=true draws each translation, without a beam; leave {key} out",
)
_EVALUATE = (
    _SAMPLED,
    Rule(
        "decode.nbest",
        lambda c: c.decode.nbest == 1,
        "the best translation alone is scored; leave {key} out, nmt.translate writes the others",
    ),
    needs("ter_max_tokens ter_max_seconds", lambda c: c.metrics is None or "ter" in c.metrics, "metrics= with ter"),
    needs("data.name data.config", lambda c: c.data.kind in (None, DataKind.hub), "data.kind=hub"),
)
_TRANSLATE = (_SAMPLED, needs("heatmap_units", lambda c: c.heatmaps, "heatmaps=FOLDER"))
TRANSLATE_WITHOUT_PENALTY = (
    needs(
        "attention_layer attention_head",
        lambda c: c.alignments or c.confidence or c.heatmaps or c.format is TextFormat.html,
        "alignments=FILE, confidence=FILE, heatmaps=FOLDER or format=html",
    ),
)
TRANSLATE_WITH_HEAD = (
    needs(
        "attention_layer attention_head",
        lambda c: c.confidence or c.heatmaps,
        "confidence=FILE or heatmaps=FOLDER, as the links of this run come from its alignment head",
    ),
)
_ALIGN = (
    Rule(
        "device precision threads decode.batch_size direction",
        lambda c: not c.links,
        "the links of links= are scored as they are, without a model; leave {key} out",
    ),
    needs("score confidence", lambda c: c.out or not c.gold, "out=FILE, as with gold= links are written nowhere else"),
)
ALIGN_BY_ALIGNER = (
    Rule("reverse", lambda c: False, "an aligner has both directions; leave {key} out"),
    Rule(
        "attention_layer attention_head",
        lambda c: False,
        "an aligner's links come from its posteriors, not from attention; leave {key} out",
    ),
    Rule("links_from", lambda c: False, "an aligner's links always come from its posteriors; leave {key} out"),
    needs("symmetrize", lambda c: c.direction is AlignmentDirection.both, "direction=both"),
)
ALIGN_BY_TRANSLATOR = (
    needs("direction", lambda c: False, "an aligner (+experiment=aligner); a translator has one direction"),
    needs("symmetrize", lambda c: c.reverse, "reverse=RUN, a model of the other direction"),
)
ALIGN_BY_HEAD = (
    Rule(
        "attention_layer attention_head",
        lambda c: c.links_from not in (None, LinksFrom.head),
        "the links come from the alignment head of this run; give links_from=attention, or leave {key} out",
    ),
)
_SALIENCY = (
    _SAMPLED,
    Rule(
        " ".join(f"decode.{each.name}" for each in fields(DecodeOverrides) if each.name != "hard_attention"),
        lambda c: not c.tgt,
        "tgt= gives the translations, so nothing is searched; leave {key} out",
    ),
    Rule("decode.nbest", lambda c: c.decode.nbest == 1, "only the best translation is explained; leave {key} out"),
)
_SERVE = (
    Rule(
        "decode.nbest",
        lambda c: c.decode.nbest == 1,
        "each request says how many alternatives it wants; leave {key} out",
    ),
)
COMMAND_RULES = {
    EvaluateConfig: _EVALUATE,
    TranslateConfig: _TRANSLATE,
    AlignConfig: _ALIGN,
    SaliencyConfig: _SALIENCY,
    ServeConfig: _SERVE,
}
