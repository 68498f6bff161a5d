"""Nouns, adjectives and function words of the demo corpus: each word has one sense and one translation.

Nouns have a kind, adjectives the kinds they describe, one letter for each kind, so that sentences are plausible: p
person, a animal, f food, t thing, c clothes, r reading, i inside place, o public place, s surface, l landmark. The
lexicon excludes English words with ambiguous number or tense (sheep, fish, cut), and words of two senses.
"""

from typing import NamedTuple

from nmt.demo_corpus.inflection import english_s, feminine, french_plural


class Noun(NamedTuple):
    """`en`, `fr`: singular and plural; `sources`: for each French word, the indices of its English words."""

    en: tuple[str, str]
    fr: tuple[str, str]
    feminine: bool
    kind: str
    sources: tuple[tuple[int, ...], ...]


class Adjective(NamedTuple):
    """`fr`: masculine, feminine, masculine plural, feminine plural; `liaison`: masculine singular before a vowel."""

    en: str
    comparative: str
    fr: tuple[str, str, str, str]
    liaison: str
    before: bool
    kinds: str


def _noun(row: str, kind: str) -> Noun:
    english, french, gender, *sources = row.split()
    en, _, en_plural = english.replace("_", " ").partition("/")
    fr, _, fr_plural = french.replace("_", " ").partition("/")
    # "dining_room salle_à_manger f 1,0,0": salle is linked to room, à manger to dining; without it each is linked to
    # all.
    everything = tuple(range(len(en.split())))
    places = [(int(k),) for k in sources[0].split(",")] if sources else [everything] * len(fr.split())
    *front, last = en.split()
    plural = en_plural or " ".join([*front, english_s(last)])
    return Noun((en, plural), (fr, fr_plural or french_plural(fr)), gender == "f", kind, tuple(places))


_NOUNS = {
    "p": """man/men homme m; woman/women femme f; boy garçon m; girl fille f; child/children enfant m; friend ami m;
        teacher professeur m; doctor médecin m; baker boulanger m; farmer fermier m; king roi m; queen reine f;
        princess princesse f; brother frère m; sister sœur f; father père m; mother mère f; aunt tante f;
        grandmother grand-mère/grands-mères f; grandfather grand-père/grands-pères m; student étudiant m;
        actress actrice f; waitress serveuse f; nurse infirmière f; soldier soldat m; engineer ingénieur m;
        dancer danseuse f; fisherman/fishermen pêcheur m""",
    "a": """cat chat m; dog chien m; horse cheval m; bird oiseau m; cow vache f; mouse/mice souris f; rabbit lapin m;
        wolf/wolves loup m; bear ours m; elephant éléphant m; donkey âne m; owl hibou/hiboux m; hen poule f;
        frog grenouille f; monkey singe m; spider araignée f; squirrel écureuil m""",
    "f": """apple pomme f; banana banane f; cake gâteau m; egg œuf m; potato pomme_de_terre/pommes_de_terre f;
        tomato tomate f; carrot carotte f; cherry cerise f; sandwich sandwich m; strawberry fraise f; peach pêche f;
        onion oignon m; lemon citron m""",
    "t": """key clé f; bag sac m; bottle bouteille f; knife/knives couteau m; umbrella parapluie m; box boîte f;
        clock horloge f; painting tableau m; toy jouet m; doll poupée f; bicycle vélo m; car voiture f;
        guitar guitare f; computer ordinateur m; mirror miroir m; basket panier m; blanket couverture f;
        watch montre f; gift cadeau m; flower fleur f; washing_machine machine_à_laver/machines_à_laver f 1,0,0;
        alarm_clock réveil m; toothbrush brosse_à_dents/brosses_à_dents f""",
    "c": """hat chapeau m; shirt chemise f; dress robe f; coat manteau m; shoe chaussure f; scarf/scarves écharpe f""",
    "r": "book livre m; letter lettre f; newspaper journal m; story histoire f",
    "i": """garden jardin m; kitchen cuisine f; house maison f; bedroom chambre f; street rue f; forest forêt f;
        city ville f; living_room salon m; dining_room salle_à_manger/salles_à_manger f 1,0,0; garage garage m;
        bathroom salle_de_bains/salles_de_bains f; classroom salle_de_classe/salles_de_classe f; castle château m""",
    "o": """market marché m; school école f; beach plage f; train_station gare f; hospital hôpital m;
        library bibliothèque f; restaurant restaurant m; cinema cinéma m; church église f; bakery boulangerie f;
        airport aéroport m; university université f; hotel hôtel m; post_office poste f; village village m;
        park parc m; swimming_pool piscine f""",
    "s": """table table f; chair chaise f; bed lit m; bench banc m; wall mur m; bridge pont m;
        shelf/shelves étagère f""",
    "l": """tree arbre m; river rivière f; mountain montagne f; door porte f; window fenêtre f; fountain fontaine f;
        tower tour f; apple_tree pommier m""",
}
NOUNS = tuple(_noun(row, kind) for kind, rows in _NOUNS.items() for row in rows.split(";"))


def _adjective(row: str) -> Adjective:
    english, french, kinds, *rest = row.split()
    en, _, comparative = english.partition("/")
    forms = french.replace("_", " ").split("/")
    masculine = forms[0]
    if " " in masculine:  # a phrase such as "en bois" does not agree
        fr = (masculine, masculine, masculine, masculine)
    else:
        woman = forms[1] if len(forms) > 1 else feminine(masculine)
        fr = (masculine, woman, french_plural(masculine), woman + "s")
    liaison = forms[2] if len(forms) > 2 else ""
    return Adjective(en, comparative, fr, liaison, "before" in rest, kinds)


# English/comparative ("more": more X; none: not compared), French masculine/feminine/before a vowel, kinds, position.
_ADJECTIVES = """small/smaller petit paftcrisol before; big/bigger grand aticsol before;
    old/older vieux/vieille/vieil patcisol before; beautiful/more beau/belle/bel patcrisol before;
    new nouveau/nouvelle/nouvel tcriol before; young/younger jeune pa before; good bon/bonne fr before;
    bad mauvais fr before; pretty/prettier joli patcil before; red rouge ftcs; black noir atcs;
    white blanc/blanche atcsi; green vert ftcs; blue bleu tcs; yellow jaune ftcs; grey gris atcs;
    heavy/heavier lourd ts; empty vide ios; clean/cleaner propre tcis; dirty/dirtier sale tcis;
    strange/stranger étrange patcriol; useful/more utile tr; wooden en_bois st; expensive/more cher ftc;
    dangerous/more dangereux al; happy/happier heureux pa; sad/sadder triste pr; tired/more fatigué pa;
    rich/richer riche p; famous/more célèbre pol; intelligent/more intelligent pa; lazy/lazier paresseux pa;
    shy/more timide p; curious/more curieux pa; strong/stronger fort pa; patient/more patient p;
    brave/braver courageux p; jealous/more jaloux/jalouse p; fresh/fresher frais/fraîche f;
    interesting/more intéressant r"""
ADJECTIVES = tuple(_adjective(row) for row in _ADJECTIVES.split(";"))

MEN = ("Paul", "Pierre", "Julien", "Marc", "Louis", "Antoine", "Thomas")
WOMEN = ("Marie", "Anne", "Sophie", "Lucie", "Claire", "Alice", "Julie")
CITIES = {
    "Paris": "Paris",
    "London": "Londres",
    "Lyon": "Lyon",
    "Geneva": "Genève",
    "Brussels": "Bruxelles",
    "Athens": "Athènes",
}

NUMBERS = {
    "two": "deux", "three": "trois", "four": "quatre", "five": "cinq", "six": "six", "seven": "sept",
    "eight": "huit", "nine": "neuf", "ten": "dix", "eleven": "onze", "twelve": "douze",
}  # fmt: skip
# Masculine, feminine, plural. Before a vowel the masculine replaces the feminine: mon école.
POSSESSIVES = {
    "my": ("mon", "ma", "mes"),
    "his": ("son", "sa", "ses"),
    "her": ("son", "sa", "ses"),
    "our": ("notre", "notre", "nos"),
    "your": ("votre", "votre", "vos"),
    "their": ("leur", "leur", "leurs"),
}

# Words without plural: English, French, gender ("fp": feminine plural), sources, and their use: d drunk, e eaten, s
# studied, l only liked or hated.
_MASS = """music musique f sl; history histoire f s; mathematics mathématiques fp s;
    computer_science informatique f s; physics physique f s; football football m l; snow neige f l;
    chocolate chocolat m e; cheese fromage m e; bread pain m e; rice riz m e; meat viande f e; soup soupe f e;
    butter beurre m e; honey miel m e; water eau f d; coffee café m d; tea thé m d; milk lait m d; wine vin m d;
    orange_juice jus_de_orange m d 1,0,0; apple_juice jus_de_pomme m d 1,0,0"""


class Mass(NamedTuple):
    """A noun without plural; `noun.kind` is its use. "fp" nouns are plural only in French."""

    noun: Noun
    plural: bool


def _mass(row: str) -> Mass:
    en, fr, gender, uses, *sources = row.split()
    noun = _noun(" ".join([f"{en}/-", f"{fr}/-", gender[0], *sources]), uses)
    return Mass(noun, gender == "fp")


MASS = tuple(_mass(row) for row in _MASS.split(";"))

# In English before the verb, in French after the finite verb.
FREQUENCY = {"often": "souvent", "always": "toujours", "rarely": "rarement", "sometimes": "parfois"}
# In English after the objects, in French before them.
MANNER = {
    "quickly": "rapidement",
    "slowly": "lentement",
    "calmly": "calmement",
    "carefully": "soigneusement",
    "patiently": "patiemment",
}
# Predicates with "avoir" in French.
FEELINGS = {"hungry": "faim", "thirsty": "soif", "sleepy": "sommeil", "right": "raison", "wrong": "tort"}
