"""The verbs of the demo corpus, with their complements in both languages."""

from enum import Enum
from typing import Any, NamedTuple

from nmt.demo_corpus.inflection import Conjugation, conjugate, english_ing, english_past, english_s


class Frame(Enum):
    """The complements of a verb."""

    ALONE = "sleeps"
    OBJECT = "eats the apple"
    PLACE = "goes to the market"
    GIVE = "gives the book to the girl"
    TO_PERSON = "talks to the man"
    MASS = "drinks water"  # partitive: boit de l'eau
    GENERIC = "likes music"  # with the article: aime la musique
    THAT = "thinks that it rains"
    VERB = "wants to sleep"


class Place(NamedTuple):
    """A preposition of place: English ("" if the verb includes it), French, the kinds of its noun (or "city")."""

    en: str
    fr: str
    kinds: str


class Verb(NamedTuple):
    """A verb and its use.

    `particle`: an English word that belongs to the verb ("look at"); `objects`, `who`: kinds of its object and subject;
    `tail`: French words after the verb ("avoir besoin de"); `joint`: the word before a French infinitive; `past` "-":
    none, because the English form is ambiguous; `stative`: no progressive and no past; `manner`: takes an adverb of
    manner; `etre`: past with être.
    """

    base: str
    third: str
    past: str
    ing: str
    particle: str
    fr: Conjugation
    frame: Frame
    objects: str
    who: str = "p"
    tail: str = ""
    joint: str = ""
    places: tuple[Place, ...] = ()
    stative: bool = False
    manner: bool = False
    etre: bool = False
    reflexive: bool = False


def _verb(
    english: str, french: str, frame: Frame, objects: str = "", *, past: str = "", irregular: str = "", **usage: Any
) -> Verb:
    """past, irregular: irregular forms. usage: the fields of Verb from `who` on."""
    base, _, particle = english.partition(" ")
    third = "has" if base == "have" else english_s(base)
    fr = conjugate(french, irregular)
    usage["etre"] = usage.get("etre", False) or usage.get("reflexive", False)
    return Verb(base, third, past or english_past(base), english_ing(base), particle, fr, frame, objects, **usage)


AVOIR = conjugate("avoir", "ai avons avez a ont eu aur")
ETRE = conjugate("être", "suis sommes êtes est sont été ser")
IMPERFECT_ETRE = ("étais", "étions", "étiez", "était", "étaient")

_TO = (Place("to", "à", "o"), Place("to", "à", "city"))
_ALONE = (
    _verb(
        "sleep",
        "dormir",
        Frame.ALONE,
        past="slept",
        who="pa",
        irregular="dors dormons dormez dort dorment dormi dormir",
    ),
    _verb("sing", "chanter", Frame.ALONE, past="sang"),
    _verb("work", "travailler", Frame.ALONE, manner=True),
    _verb(
        "run", "courir", Frame.ALONE, past="ran", who="pa", irregular="cours courons courez court courent couru courr"
    ),
    _verb("swim", "nager", Frame.ALONE, past="swam", who="pa"),
    _verb("walk", "marcher", Frame.ALONE, who="pa", manner=True),
    _verb("laugh", "rire", Frame.ALONE, irregular="ris rions riez rit rient ri rir"),
    _verb("smile", "sourire", Frame.ALONE, irregular="souris sourions souriez sourit sourient souri sourir"),
    _verb("cry", "pleurer", Frame.ALONE),
    _verb("dance", "danser", Frame.ALONE, manner=True),
    _verb("rest", "reposer", Frame.ALONE, who="pa", reflexive=True),
    _verb("wake up", "réveiller", Frame.ALONE, past="woke", who="pa", reflexive=True),
    _verb("hurry", "dépêcher", Frame.ALONE, reflexive=True),
    _verb(
        "go out",
        "sortir",
        Frame.ALONE,
        past="went",
        who="pa",
        etre=True,
        irregular="sors sortons sortez sort sortent sorti sortir",
    ),
)
_PLACE = (
    _verb(
        "go", "aller", Frame.PLACE, past="went", places=_TO, etre=True, irregular="vais allons allez va vont allé ir"
    ),
    _verb(
        "come",
        "venir",
        Frame.PLACE,
        past="came",
        etre=True,
        places=(Place("from", "de", "o"), Place("from", "de", "city")),
        irregular="viens venons venez vient viennent venu viendr",
    ),
    _verb("arrive", "arriver", Frame.PLACE, etre=True, places=(Place("at", "à", "o"), Place("in", "à", "city"))),
    _verb("return", "retourner", Frame.PLACE, etre=True, places=_TO),
    _verb("stay", "rester", Frame.PLACE, who="pa", etre=True, places=(Place("in", "dans", "i"), Place("at", "à", "o"))),
    _verb("enter", "entrer", Frame.PLACE, who="pa", etre=True, places=(Place("", "dans", "i"),)),
    _verb("live", "habiter", Frame.PLACE, stative=True, places=(Place("in", "dans", "i"), Place("in", "à", "city"))),
)
_OBJECT = (
    _verb("eat", "manger", Frame.OBJECT, "f", past="ate", who="pa", manner=True),
    _verb(
        "buy",
        "acheter",
        Frame.OBJECT,
        "ftcr",
        past="bought",
        irregular="achète achetons achetez achète achètent acheté achèter",
    ),
    _verb("find", "trouver", Frame.OBJECT, "aftcr", past="found", who="pa"),
    _verb("lose", "perdre", Frame.OBJECT, "tcr", past="lost"),
    _verb("wash", "laver", Frame.OBJECT, "ftcas", manner=True),
    _verb("hide", "cacher", Frame.OBJECT, "ftcr", past="hid"),
    _verb(
        "take",
        "prendre",
        Frame.OBJECT,
        "ftcr",
        past="took",
        irregular="prends prenons prenez prend prennent pris prendr",
    ),
    _verb("draw", "dessiner", Frame.OBJECT, "paftisol", past="drew", manner=True),
    _verb("choose", "choisir", Frame.OBJECT, "ftcr", past="chose"),
    _verb("keep", "garder", Frame.OBJECT, "tcr", past="kept"),
    _verb(
        "clean",
        "nettoyer",
        Frame.OBJECT,
        "tcis",
        manner=True,
        irregular="nettoie nettoyons nettoyez nettoie nettoient nettoyé nettoier",
    ),
    _verb("read", "lire", Frame.OBJECT, "r", past="-", manner=True, irregular="lis lisons lisez lit lisent lu lir"),
    _verb(
        "write",
        "écrire",
        Frame.OBJECT,
        "r",
        past="wrote",
        manner=True,
        irregular="écris écrivons écrivez écrit écrivent écrit écrir",
    ),
    _verb("wear", "porter", Frame.OBJECT, "c", past="wore"),
    _verb("share", "partager", Frame.OBJECT, "f"),
    _verb("prepare", "préparer", Frame.OBJECT, "f", manner=True),
    _verb(
        "see",
        "voir",
        Frame.OBJECT,
        "paftcrisol",
        past="saw",
        who="pa",
        irregular="vois voyons voyez voit voient vu verr",
    ),
    _verb("love", "adorer", Frame.OBJECT, "pafr", stative=True),
    _verb("help", "aider", Frame.OBJECT, "p"),
    _verb("follow", "suivre", Frame.OBJECT, "pa", who="pa", irregular="suis suivons suivez suit suivent suivi suivr"),
    _verb(
        "chase",
        "poursuivre",
        Frame.OBJECT,
        "a",
        who="pa",
        irregular="poursuis poursuivons poursuivez poursuit poursuivent poursuivi poursuivr",
    ),
    _verb(
        "call", "appeler", Frame.OBJECT, "pa", irregular="appelle appelons appelez appelle appellent appelé appeller"
    ),
    _verb(
        "know",
        "connaître",
        Frame.OBJECT,
        "prio",
        stative=True,
        irregular="connais connaissons connaissez connaît connaissent connu connaîtr",
    ),
    _verb("look for", "chercher", Frame.OBJECT, "paftcr", who="pa"),
    _verb("wait for", "attendre", Frame.OBJECT, "p"),
    _verb("listen to", "écouter", Frame.OBJECT, "pa", who="pa"),
    _verb("look at", "regarder", Frame.OBJECT, "paftcisol", who="pa"),
    _verb("meet", "rencontrer", Frame.OBJECT, "p", past="met"),
    _verb("thank", "remercier", Frame.OBJECT, "p"),
    _verb("invite", "inviter", Frame.OBJECT, "p"),
    _verb("admire", "admirer", Frame.OBJECT, "patcisolr"),
    _verb("have", "avoir", Frame.OBJECT, "atcri", past="had", stative=True, irregular="ai avons avez a ont eu aur"),
    _verb(
        "need", "avoir", Frame.OBJECT, "pftcr", stative=True, tail="besoin de", irregular="ai avons avez a ont eu aur"
    ),
)
_PERSON = (
    _verb("give", "donner", Frame.GIVE, "ftcra", past="gave"),
    _verb("show", "montrer", Frame.GIVE, "ftcrai"),
    _verb(
        "send",
        "envoyer",
        Frame.GIVE,
        "tcr",
        past="sent",
        irregular="envoie envoyons envoyez envoie envoient envoyé enverr",
    ),
    _verb("lend", "prêter", Frame.GIVE, "tcr", past="lent"),
    _verb("offer", "offrir", Frame.GIVE, "ftcr", irregular="offre offrons offrez offre offrent offert offrir"),
    _verb("talk to", "parler", Frame.TO_PERSON, "pa"),
    _verb("answer", "répondre", Frame.TO_PERSON, "p"),
    _verb("phone", "téléphoner", Frame.TO_PERSON, "p"),
    _verb("obey", "obéir", Frame.TO_PERSON, "p"),
)
_BARE_NOUN = (
    _verb("eat", "manger", Frame.MASS, "e", past="ate"),
    _verb("drink", "boire", Frame.MASS, "d", past="drank", irregular="bois buvons buvez boit boivent bu boir"),
    _verb(
        "buy",
        "acheter",
        Frame.MASS,
        "de",
        past="bought",
        irregular="achète achetons achetez achète achètent acheté achèter",
    ),
    _verb("sell", "vendre", Frame.MASS, "de", past="sold"),
    _verb("bring", "apporter", Frame.MASS, "de", past="brought"),
    _verb("like", "aimer", Frame.GENERIC, "dels", stative=True),
    _verb("hate", "détester", Frame.GENERIC, "dels", stative=True),
    _verb(
        "prefer",
        "préférer",
        Frame.GENERIC,
        "dels",
        stative=True,
        irregular="préfère préférons préférez préfère préfèrent préféré préférer",
    ),
    _verb("study", "étudier", Frame.GENERIC, "s"),
    _verb("teach", "enseigner", Frame.GENERIC, "s", past="taught"),
)
_CLAUSE = (
    _verb("think", "penser", Frame.THAT),
    _verb("know", "savoir", Frame.THAT, irregular="sais savons savez sait savent su saur"),
    _verb("say", "dire", Frame.THAT, irregular="dis disons dites dit disent dit dir"),
    _verb("believe", "croire", Frame.THAT, irregular="crois croyons croyez croit croient cru croir"),
)
_VERB = (
    _verb(
        "want", "vouloir", Frame.VERB, stative=True, who="pa", irregular="veux voulons voulez veut veulent voulu voudr"
    ),
    _verb(
        "try",
        "essayer",
        Frame.VERB,
        joint="de",
        who="pa",
        irregular="essaie essayons essayez essaie essaient essayé essaier",
    ),
    _verb("begin", "commencer", Frame.VERB, joint="à", past="began", who="pa"),
    _verb("forget", "oublier", Frame.VERB, joint="de", past="forgot"),
    _verb("decide", "décider", Frame.VERB, joint="de"),
)
VERBS = _ALONE + _PLACE + _OBJECT + _PERSON + _BARE_NOUN + _CLAUSE + _VERB

# English modals: without "do" and "to", and only in the present.
MODALS = {
    "can": conjugate("pouvoir", "peux pouvons pouvez peut peuvent pu pourr"),
    "must": conjugate("devoir", "dois devons devez doit doivent dû devr"),
}
