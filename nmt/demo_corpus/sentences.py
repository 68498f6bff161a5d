"""Sentences: statements with a time, questions, "there is", clauses joined by and, but, because, when, that."""

from dataclasses import replace

from nmt.demo_corpus.clauses import (
    SPOTS,
    Clause,
    clause,
    located,
    object_phrase,
    subject_phrase,
    with_relative,
)
from nmt.demo_corpus.inflection import Person
from nmt.demo_corpus.lexicon import NOUNS, NUMBERS
from nmt.demo_corpus.phrases import Choices, Determiner, Phrase, noun_phrase, noun_words
from nmt.demo_corpus.surface import En, Example, Fr, Fragment, gloss, render
from nmt.demo_corpus.usage import TENSES, shown_tense
from nmt.demo_corpus.verbals import Manner, Tense, verbal
from nmt.demo_corpus.verbs import VERBS, Frame, Verb

# English, French, and for each French word the index of its English word ("-": none).
TIMES = {
    Tense.PRESENT: """today=aujourd'hui=0; every day=tous les jours=001; every morning=chaque matin=01;
        every evening=chaque soir=01; in winter=en hiver=01; in summer=en été=01; in spring=au printemps=01;
        in the morning=le matin=12; at night=la nuit=-1; on Mondays=le lundi=01; on Saturdays=le samedi=01;
        on Sundays=le dimanche=01""",
    Tense.PROGRESSIVE: "now=maintenant=0; today=aujourd'hui=0; this morning=ce matin=01; this evening=ce soir=01",
    Tense.PAST: """yesterday=hier=0; last week=la semaine dernière=-10; last year=l'année dernière=10;
        last Monday=lundi dernier=10; last Saturday=samedi dernier=10; this morning=ce matin=01;
        N days ago=il y a N jours=22201; N weeks ago=il y a N semaines=22201; N years ago=il y a N ans=22201""",
    Tense.FUTURE: """tomorrow=demain=0; next week=la semaine prochaine=-10; next year=l'année prochaine=10;
        next Monday=lundi prochain=10; next Sunday=dimanche prochain=10; this evening=ce soir=01; soon=bientôt=0;
        in N days=dans N jours=012""",
}  # fmt: skip
_TIMES = {tense: tuple(tuple(row.strip().split("=")) for row in rows.split(";")) for tense, rows in TIMES.items()}


def time_phrase(english: str, french: str, sources: str) -> Fragment:
    """A time phrase, from a row of TIMES."""
    en = [En(word) for word in english.split()]
    fr = zip(french.split(), sources, strict=True)
    return Fragment(en, [Fr(word, () if place == "-" else (en[int(place)],)) for word, place in fr])


def _time(choices: Choices, tense: Tense) -> Fragment:
    english, french, sources = choices.pick(_TIMES[tense])
    number = choices.pick(tuple(NUMBERS))
    return time_phrase(english.replace("N ", number + " "), french.replace("N ", NUMBERS[number] + " "), sources)


def _timed(choices: Choices, taken: Clause, often: float, *, first: bool = True) -> Fragment:
    """The clause, optionally with a time after it, or before it with a comma."""
    if taken.timeless or not choices.chance(often):
        return taken.pair
    when = _time(choices, taken.tense)
    return when.comma() + taken.pair if first and choices.chance(0.4) else taken.pair + when


def _statement(choices: Choices, rich: float, tense: Tense) -> Clause:
    if choices.chance(0.08):
        subject = with_relative(choices, noun_phrase(choices, "ftcriosl", rich), 0.7 * rich, 1)
        return clause(choices, subject, tense, rich, being=1.0)
    subject = subject_phrase(choices, rich)
    if tense is Tense.PROGRESSIVE or not choices.chance(0.08 + 0.14 * rich):
        return clause(choices, subject, tense, rich)
    # Two verbs with one subject, in one tense if both verbs have it. The first clause is simple: in "sees the dog that
    # the girls will call and will sing" the subject of "sing" would be ambiguous.
    first = clause(choices, subject, tense, 0.0)
    second = clause(choices, replace(subject, pair=Fragment()), tense, 0.5 * rich, being=0.0)
    if second.tense is not first.tense:
        return first
    return Clause(first.pair + gloss("and", "et") + second.pair, first.tense, first.timeless or second.timeless)


def _there_is(choices: Choices, rich: float) -> Fragment:
    determiners = (
        (Determiner.INDEFINITE, 60.0),
        (Determiner.NUMBER, 20.0),
        (Determiner.MANY, 12.0),
        (Determiner.SEVERAL, 8.0),
    )
    thing = noun_phrase(choices, "patcf", rich, determiners)
    there = En("there")
    be = En("are" if thing.plural else "is")
    head = Fragment([there, be], [Fr("il", (there,)), Fr("y", (there,)), Fr("a", (be,))])
    told = with_relative(choices, thing, rich, 0)
    if told is not thing:
        return head + told.pair
    return head + thing.pair + located(choices, choices.weigh(SPOTS), rich)


def _opinion(choices: Choices, rich: float) -> Fragment:
    """Thinks that: in the present and not negated, so that the indicative is correct."""
    subject = subject_phrase(choices, 0.4 * rich, kinds="p")
    verb = choices.pick(tuple(verb for verb in VERBS if verb.frame is Frame.THAT))
    said = _timed(choices, _statement(choices, rich, choices.weigh(TENSES)), 0.2, first=False)
    return verbal(subject, verb, Manner()) + gloss("that", "que") + said


def _joined(choices: Choices, rich: float, clauses: int) -> Fragment:
    tense = choices.weigh(TENSES)
    first = _statement(choices, rich, tense)
    second = _statement(choices, rich, tense if choices.chance(0.6) else choices.weigh(TENSES))
    present = (Tense.PRESENT, Tense.PROGRESSIVE)
    joints = [("and", "et", 30.0), ("but", "mais", 25.0), ("because", "parce que", 20.0)]
    if first.tense in present and second.tense in present:
        joints.append(("while", "pendant que", 15.0))
    if first.tense is second.tense and first.tense in (Tense.PRESENT, Tense.PAST):
        joints.append(("when", "quand", 15.0))
    if first.tense in present and second.tense is Tense.FUTURE:
        joints.append(("if", "si", 60.0))
    english, french = choices.weigh([((en, fr), weight) for en, fr, weight in joints])
    joint = gloss(english, french)
    if english == "if" or (english in ("when", "while") and choices.chance(0.5)):
        pair = joint + first.pair.comma() + _timed(choices, second, 0.2, first=False)
    else:
        # The comma before "and": in "sees the king and the queen and the boy will sing" the subject would be ambiguous.
        left = _timed(choices, first, 0.25)
        pair = (
            (left.comma() if english in ("and", "but") else left) + joint + _timed(choices, second, 0.25, first=False)
        )
    if clauses > 2:
        third = _statement(choices, rich, choices.weigh(TENSES))
        pair = (
            pair.comma()
            + gloss(*choices.pick((("and", "et"), ("but", "mais"))))
            + _timed(choices, third, 0.3, first=False)
        )
    return pair


def _asker(choices: Choices, rich: float) -> Phrase:
    """A subject that can be inverted: "mange-je" is not used."""
    while (subject := subject_phrase(choices, rich)).person is Person.I:
        pass
    return subject


def _things_done(what: str) -> tuple[Verb, ...]:
    verbs = (verb for verb in VERBS if verb.frame is Frame.OBJECT and not verb.tail and verb.base != "have")
    return tuple(verb for verb in verbs if set(what) & set(verb.objects))


def _question(choices: Choices, rich: float) -> Fragment:
    kind = choices.weigh((("yes", 46.0), ("why", 12.0), ("where", 14.0), ("who", 12.0), ("what", 9.0), ("many", 7.0)))
    if kind == "who":
        who = En("who")
        question = clause(choices, Phrase(Fragment([who], [Fr("qui", (who,))])), choices.weigh(TENSES), rich, being=0.1)
        return _timed(choices, question, 0.15, first=False)
    subject = _asker(choices, 0.5 * rich)
    if kind in ("yes", "why"):
        question = clause(choices, subject, choices.weigh(TENSES), rich, question=True)
        pair = _timed(choices, question, 0.2, first=False)
        return gloss("why", "pourquoi") + pair if kind == "why" else pair
    if kind == "where":
        fitting = [
            verb
            for verb in VERBS
            if verb.frame in (Frame.ALONE, Frame.OBJECT) and verb.base not in ("go", "have", "need")
        ]
        verb = choices.pick([verb for verb in fitting if subject.kind in verb.who and not verb.stative])
        tense = shown_tense(choices.weigh(TENSES), verb, subject)
        words = (
            gloss("when", "quand")
            if tense in (Tense.PAST, Tense.FUTURE) and choices.chance(0.4)
            else gloss("where", "où")
        )
        pair = words + verbal(subject, verb, Manner(tense, question=True))
        return (
            pair + object_phrase(choices, verb.objects, 0.5 * rich, depth=1).pair
            if verb.frame is Frame.OBJECT
            else pair
        )
    verb = choices.pick([verb for verb in _things_done("ftcr") if subject.kind in verb.who])
    tense = shown_tense(choices.weigh(TENSES), verb, subject)
    if kind == "what":
        what = gloss("what", "que")
        return what + verbal(subject, verb, Manner(tense, question=True, que=True))
    counted = choices.pick([noun for noun in NOUNS if noun.kind in "ftcr" and noun.kind in verb.objects])
    how, many = En("how"), En("many")
    head = Fragment([how, many], [Fr("combien", (how, many)), Fr("de", (many,))])
    manner = Manner(tense, question=True, agrees=(counted.feminine, True))
    return head + noun_words(counted, True) + verbal(subject, verb, manner)


def sentence(choices: Choices) -> Example:
    """One sentence pair with its links."""
    rich = choices.weigh(((0.0, 23.0), (0.4, 28.0), (1.0, 49.0)))
    if choices.chance(0.17):
        return render(_question(choices, 0.7 * rich), "?")
    kind = choices.weigh(
        (("one", 60.0 - 30.0 * rich), ("there", 6.0), ("opinion", 8.0), ("joined", 10.0 + 32.0 * rich))
    )
    match kind:
        case "one":
            pair = _timed(choices, _statement(choices, rich, choices.weigh(TENSES)), 0.35)
        case "there":
            pair = _there_is(choices, rich)
        case "opinion":
            pair = _opinion(choices, rich)
        case _:
            pair = _joined(choices, rich, 3 if choices.chance(0.3 * rich) else 2)
    return render(pair, ".")
