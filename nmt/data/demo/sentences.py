"""Whole sentences: statements with a time, questions, "there is", clauses joined by and, but, because, when, that."""

from dataclasses import replace

from nmt.data.demo.clauses import (
    SPOTS,
    TENSES,
    Clause,
    clause,
    located,
    object_phrase,
    shown_tense,
    subject_phrase,
    with_relative,
)
from nmt.data.demo.inflection import Person
from nmt.data.demo.lexicon import NOUNS, NUMBERS
from nmt.data.demo.phrases import Determiner, Dice, Phrase, noun_phrase, noun_words
from nmt.data.demo.verbals import Manner, Tense, verbal
from nmt.data.demo.verbs import VERBS, Frame, Verb
from nmt.data.demo.weave import En, Example, Fr, Pair, gloss, join

# English, French, and for each French word the place of its English word ("-": none).
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


def time_phrase(english: str, french: str, sources: str) -> Pair:
    """A time, from a row of TIMES."""
    en = [En(word) for word in english.split()]
    fr = zip(french.split(), sources, strict=True)
    return Pair(en, [Fr(word, () if place == "-" else (en[int(place)],)) for word, place in fr])


def _time(dice: Dice, tense: Tense) -> Pair:
    english, french, sources = dice.pick(_TIMES[tense])
    number = dice.pick(tuple(NUMBERS))
    return time_phrase(english.replace("N ", number + " "), french.replace("N ", NUMBERS[number] + " "), sources)


def _timed(dice: Dice, taken: Clause, often: float, *, first: bool = True) -> Pair:
    """The clause, perhaps with a time after it, or before it with a comma."""
    if taken.timeless or not dice.chance(often):
        return taken.pair
    when = _time(dice, taken.tense)
    return when.comma() + taken.pair if first and dice.chance(0.4) else taken.pair + when


def _statement(dice: Dice, rich: float, tense: Tense) -> Clause:
    if dice.chance(0.08):
        subject = with_relative(dice, noun_phrase(dice, "ftcriosl", rich), 0.7 * rich, 1)
        return clause(dice, subject, tense, rich, being=1.0)
    subject = subject_phrase(dice, rich)
    if tense is Tense.PROGRESSIVE or not dice.chance(0.08 + 0.14 * rich):
        return clause(dice, subject, tense, rich)
    # The same subject does two things, in one tense if both verbs have it. The first is plain: in "sees the dog that
    # the girls will call and will sing" it could not be told who sings.
    first = clause(dice, subject, tense, 0.0)
    second = clause(dice, replace(subject, pair=Pair()), tense, 0.5 * rich, being=0.0)
    if second.tense is not first.tense:
        return first
    return Clause(first.pair + gloss("and", "et") + second.pair, first.tense, first.timeless or second.timeless)


def _there_is(dice: Dice, rich: float) -> Pair:
    determiners = (
        (Determiner.INDEFINITE, 60.0),
        (Determiner.NUMBER, 20.0),
        (Determiner.MANY, 12.0),
        (Determiner.SEVERAL, 8.0),
    )
    thing = noun_phrase(dice, "patcf", rich, determiners)
    there = En("there")
    be = En("are" if thing.plural else "is")
    head = Pair([there, be], [Fr("il", (there,)), Fr("y", (there,)), Fr("a", (be,))])
    told = with_relative(dice, thing, rich, 0)
    if told is not thing:
        return head + told.pair
    return head + thing.pair + located(dice, dice.weigh(SPOTS), rich)


def _opinion(dice: Dice, rich: float) -> Pair:
    """Thinks that: in the present and never negated, so that the indicative is right."""
    subject = subject_phrase(dice, 0.4 * rich, kinds="p")
    verb = dice.pick(tuple(verb for verb in VERBS if verb.frame is Frame.THAT))
    said = _timed(dice, _statement(dice, rich, dice.weigh(TENSES)), 0.2, first=False)
    return verbal(subject, verb, Manner()) + gloss("that", "que") + said


def _joined(dice: Dice, rich: float, clauses: int) -> Pair:
    tense = dice.weigh(TENSES)
    first = _statement(dice, rich, tense)
    second = _statement(dice, rich, tense if dice.chance(0.6) else dice.weigh(TENSES))
    present = (Tense.PRESENT, Tense.PROGRESSIVE)
    joints = [("and", "et", 30.0), ("but", "mais", 25.0), ("because", "parce que", 20.0)]
    if first.tense in present and second.tense in present:
        joints.append(("while", "pendant que", 15.0))
    if first.tense is second.tense and first.tense in (Tense.PRESENT, Tense.PAST):
        joints.append(("when", "quand", 15.0))
    if first.tense in present and second.tense is Tense.FUTURE:
        joints.append(("if", "si", 60.0))
    english, french = dice.weigh([((en, fr), weight) for en, fr, weight in joints])
    joint = gloss(english, french)
    if english == "if" or (english in ("when", "while") and dice.chance(0.5)):
        pair = joint + first.pair.comma() + _timed(dice, second, 0.2, first=False)
    else:
        # The comma before and: in "sees the king and the queen and the boy will sing" it could not be told who sings.
        left = _timed(dice, first, 0.25)
        pair = (left.comma() if english in ("and", "but") else left) + joint + _timed(dice, second, 0.25, first=False)
    if clauses > 2:
        third = _statement(dice, rich, dice.weigh(TENSES))
        pair = (
            pair.comma() + gloss(*dice.pick((("and", "et"), ("but", "mais")))) + _timed(dice, third, 0.3, first=False)
        )
    return pair


def _asker(dice: Dice, rich: float) -> Phrase:
    """A subject that can invert: "mange-je" nobody says."""
    while (subject := subject_phrase(dice, rich)).person is Person.I:
        pass
    return subject


def _things_done(what: str) -> tuple[Verb, ...]:
    verbs = (verb for verb in VERBS if verb.frame is Frame.OBJECT and not verb.tail and verb.base != "have")
    return tuple(verb for verb in verbs if set(what) & set(verb.objects))


def _question(dice: Dice, rich: float) -> Pair:
    kind = dice.weigh((("yes", 46.0), ("why", 12.0), ("where", 14.0), ("who", 12.0), ("what", 9.0), ("many", 7.0)))
    if kind == "who":
        who = En("who")
        asked = clause(dice, Phrase(Pair([who], [Fr("qui", (who,))])), dice.weigh(TENSES), rich, being=0.1)
        return _timed(dice, asked, 0.15, first=False)
    subject = _asker(dice, 0.5 * rich)
    if kind in ("yes", "why"):
        asked = clause(dice, subject, dice.weigh(TENSES), rich, question=True)
        pair = _timed(dice, asked, 0.2, first=False)
        return gloss("why", "pourquoi") + pair if kind == "why" else pair
    if kind == "where":
        fitting = [
            verb
            for verb in VERBS
            if verb.frame in (Frame.ALONE, Frame.OBJECT) and verb.base not in ("go", "have", "need")
        ]
        verb = dice.pick([verb for verb in fitting if subject.kind in verb.who and not verb.stative])
        tense = shown_tense(dice.weigh(TENSES), verb, subject)
        words = (
            gloss("when", "quand") if tense in (Tense.PAST, Tense.FUTURE) and dice.chance(0.4) else gloss("where", "où")
        )
        pair = words + verbal(subject, verb, Manner(tense, question=True))
        return (
            pair + object_phrase(dice, verb.objects, 0.5 * rich, depth=1).pair if verb.frame is Frame.OBJECT else pair
        )
    verb = dice.pick([verb for verb in _things_done("ftcr") if subject.kind in verb.who])
    tense = shown_tense(dice.weigh(TENSES), verb, subject)
    if kind == "what":
        what = gloss("what", "que")
        return what + verbal(subject, verb, Manner(tense, question=True, que=True))
    counted = dice.pick([noun for noun in NOUNS if noun.kind in "ftcr" and noun.kind in verb.objects])
    how, many = En("how"), En("many")
    head = Pair([how, many], [Fr("combien", (how, many)), Fr("de", (many,))])
    manner = Manner(tense, question=True, agrees=(counted.feminine, True))
    return head + noun_words(counted, True) + verbal(subject, verb, manner)


def sentence(dice: Dice) -> Example:
    """One sentence pair with its links."""
    rich = dice.weigh(((0.0, 23.0), (0.4, 28.0), (1.0, 49.0)))
    if dice.chance(0.17):
        return join(_question(dice, 0.7 * rich), "?")
    kind = dice.weigh((("one", 60.0 - 30.0 * rich), ("there", 6.0), ("opinion", 8.0), ("joined", 10.0 + 32.0 * rich)))
    match kind:
        case "one":
            pair = _timed(dice, _statement(dice, rich, dice.weigh(TENSES)), 0.35)
        case "there":
            pair = _there_is(dice, rich)
        case "opinion":
            pair = _opinion(dice, rich)
        case _:
            pair = _joined(dice, rich, 3 if dice.chance(0.3 * rich) else 2)
    return join(pair, ".")
