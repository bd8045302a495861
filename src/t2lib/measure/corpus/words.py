"""Define the words of the procedural world and the vocabulary they span."""

from __future__ import annotations

_POOL_WORDS = {
    "first": "Anna Ben Clara David Edith Felix Greta Hugo Iris Jonas Karla Leo Mona Nils Olga "
    "Pavel",
    "stem": "Oak Ash Elm Birch Mill River Hart King Queen Bishop Marsh Hay Lamb Winter Swan Hazel",
    "suffix": "ton ford field wood bridge ham bury stead well gate ley worth wick mouth combe dale",
    "prefix": "Old New East West Upper Lower Great Little High Far Near Royal Saint Inner Outer "
    "Middle",
    "size": "small large tiny huge thin thick round square soft hard heavy light smooth rough "
    "plain fine",
    "colour": "red blue green grey brown black white pink gold silver orange purple yellow pale "
    "dark bright",
    "material": "glass iron wooden stone paper woollen leather brass clay silk tin bone cotton "
    "steel marble wax",
    "thing": "lantern bell ring cup key clock drum flute knife ladder mirror needle plate rope "
    "saddle spoon",
    "animal": "fox wolf owl hare crow toad newt mole bear goat lynx otter heron beetle badger "
    "weasel",
    "role": "prize gift charm toy tool trophy secret wish treasure badge crest banner token reward "
    "pledge relic",  # what somebody owns a thing as
    "verb": "seek guard hide fear bring carry eat need make follow watch love trade build burn "
    "mend",
    "event": "fell broke burned melted sank froze cracked shook rang opened closed vanished rose "
    "spun grew faded",
    "trade": "baker miller smith weaver sailor hunter farmer potter tailor scribe singer doctor "
    "guardian cook teacher painter",
    "room": "cellar kitchen attic hall barn stable shed tower cabin study pantry loft chapel vault "
    "larder parlour",
    "box": "box bag chest drawer basket crate jar sack",
    "gain": "buys finds wins",
    "lose": "sells loses gives",
    "unit": "singles pairs triples fives",
    "number": " ".join(str(i) for i in range(32)),
}
POOLS: dict[str, list[str]] = {name: words.split() for name, words in _POOL_WORDS.items()}
UNIT_SIZE = (1, 2, 3, 5)

# Filler sentences of narratives, nine tokens each: opening × colour × animal × predicate.
FILLER_OPENING = (
    "that day the",
    "in spring the",
    "by night the",
    "for years the",
    "once more the",
    "before long the",
    "after that the",
    "soon after the",
)
FILLER_PLACE = (
    "was near the road",
    "was in the rain",
    "came to the door",
    "went up the hill",
    "slept by the fire",
    "stood on the shore",
    "looked at the moon",
    "waited for the king",
)

EOT = "\n"  # document separator, token 0: one document a line


def vocabulary(function_words: set[str]) -> list[str]:
    """List all tokens in id order.

    Separator, pools, then the words of the templates.
    """
    pooled = [word for pool in POOLS.values() for word in pool]
    template_words = sorted(function_words - set(pooled))
    return [EOT, *dict.fromkeys(pooled), *template_words]
