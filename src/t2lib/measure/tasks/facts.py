"""Define everyday facts for the English knowledge task.

key=value pairs and how to ask for the value.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Category:
    """Hold facts of one kind and the questions about them.

    Every ask holds ``{}`` for the key and ends where the value follows.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    asks: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_UNITS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = _words("zero ten twenty thirty forty fifty sixty seventy eighty ninety")


def number_word(n: int) -> str:
    """Return the English word of 0 … 99."""
    if n < 20:
        return _UNITS[n]
    return _TENS[n // 10] + (f"-{_UNITS[n % 10]}" if n % 10 else "")


_DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
_MONTHS = _words(
    "January February March April May June July August September October November December"
)
_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NUMBERS = tuple(number_word(i) for i in range(1, 100))

_CAPITALS = """
France=Paris, Italy=Rome, Spain=Madrid, Germany=Berlin, England=London, Scotland=Edinburgh,
Ireland=Dublin, Portugal=Lisbon, Greece=Athens, Austria=Vienna, Hungary=Budapest, Poland=Warsaw,
Russia=Moscow, Sweden=Stockholm, Norway=Oslo, Denmark=Copenhagen, Finland=Helsinki,
Iceland=Reykjavik, Belgium=Brussels, Switzerland=Bern, Romania=Bucharest, Bulgaria=Sofia,
Serbia=Belgrade, Croatia=Zagreb, Ukraine=Kiev, Turkey=Ankara, Egypt=Cairo, Kenya=Nairobi,
Ethiopia=Addis Ababa, Ghana=Accra, Nigeria=Abuja, Morocco=Rabat, Tunisia=Tunis, Algeria=Algiers,
Libya=Tripoli, Senegal=Dakar, Uganda=Kampala, Zimbabwe=Harare, Zambia=Lusaka, Angola=Luanda,
Israel=Jerusalem, Lebanon=Beirut, Syria=Damascus, Iraq=Baghdad, Iran=Tehran, Jordan=Amman,
India=New Delhi, Pakistan=Islamabad, Nepal=Kathmandu, Bangladesh=Dhaka, Thailand=Bangkok,
Vietnam=Hanoi, China=Beijing, Japan=Tokyo, Indonesia=Jakarta, Afghanistan=Kabul,
Australia=Canberra, Canada=Ottawa, Cuba=Havana, Jamaica=Kingston, Brazil=Brasilia, Argentina=Buenos
Aires, Chile=Santiago, Peru=Lima, Colombia=Bogota, Venezuela=Caracas, Ecuador=Quito,
Uruguay=Montevideo, Estonia=Tallinn, Latvia=Riga, Lithuania=Vilnius, Cyprus=Nicosia,
Albania=Tirana, Mongolia=Ulan Bator, Laos=Vientiane, Malta=Valletta, Sudan=Khartoum,
Somalia=Mogadishu, Rwanda=Kigali, Mali=Bamako
"""
_OPPOSITES = """
hot=cold, big=small, up=down, left=right, day=night, black=white, good=bad, old=young, fast=slow,
high=low, long=short, wet=dry, hard=soft, happy=sad, rich=poor, strong=weak, light=dark,
early=late, open=closed, full=empty, near=far, thick=thin, loud=quiet, clean=dirty, true=false,
first=last, inside=outside, above=below, before=after, front=back, top=bottom, win=lose, buy=sell,
push=pull, begin=end, love=hate, give=take, laugh=cry, rise=fall, north=south, east=west,
summer=winter, man=woman, boy=girl, king=queen, husband=wife, brother=sister, son=daughter,
father=mother, uncle=aunt, teacher=student, friend=enemy, war=peace, life=death, heaven=hell,
question=answer, success=failure, truth=lie, wide=narrow, deep=shallow, heavy=light, rough=smooth,
sharp=dull, sweet=bitter, tall=short, cheap=expensive, easy=difficult, simple=complex,
brave=cowardly, polite=rude, safe=dangerous, ancient=modern, public=private, major=minor,
maximum=minimum, positive=negative, present=absent, arrive=depart, increase=decrease,
expand=contract, accept=refuse, remember=forget, float=sink, freeze=melt, attack=defend,
victory=defeat, guilty=innocent, noisy=silent, alive=dead
"""
_PLURALS = """
child=children, man=men, woman=women, foot=feet, tooth=teeth, goose=geese, mouse=mice, ox=oxen,
leaf=leaves, knife=knives, wife=wives, life=lives, wolf=wolves, half=halves, shelf=shelves,
loaf=loaves, thief=thieves, calf=calves, city=cities, baby=babies, lady=ladies, story=stories,
country=countries, army=armies, body=bodies, family=families, party=parties, penny=pennies,
box=boxes, fox=foxes, church=churches, watch=watches, dish=dishes, bush=bushes, class=classes,
glass=glasses, bus=buses, kiss=kisses, hero=heroes, potato=potatoes, tomato=tomatoes, cat=cats,
dog=dogs, house=houses, tree=trees, book=books, river=rivers, mountain=mountains, flower=flowers,
bird=birds, window=windows, door=doors, table=tables, chair=chairs, ship=ships, car=cars,
road=roads, king=kings, queen=queens, star=stars, cloud=clouds, stone=stones, apple=apples,
horse=horses, cow=cows, girl=girls, boy=boys, school=schools, hand=hands, eye=eyes, lion=lions,
garden=gardens, bridge=bridges, letter=letters, picture=pictures, farmer=farmers, doctor=doctors,
island=islands
"""
_PAST = """
go=went, come=came, see=saw, eat=ate, drink=drank, run=ran, sing=sang, swim=swam, fly=flew,
write=wrote, read=read, speak=spoke, break=broke, take=took, give=gave, make=made, know=knew,
grow=grew, throw=threw, blow=blew, draw=drew, drive=drove, ride=rode, rise=rose, begin=began,
ring=rang, sink=sank, sit=sat, stand=stood, find=found, bring=brought, buy=bought, think=thought,
teach=taught, catch=caught, fight=fought, sell=sold, tell=told, hold=held, lead=led, feed=fed,
meet=met, feel=felt, keep=kept, sleep=slept, leave=left, lose=lost, build=built, send=sent,
spend=spent, bend=bent, win=won, hear=heard, say=said, pay=paid, wear=wore, tear=tore,
choose=chose, freeze=froze, steal=stole, forget=forgot, fall=fell, hide=hid, bite=bit, dig=dug,
hang=hung, shake=shook, wake=woke, become=became, walk=walked, talk=talked, play=played,
work=worked, call=called, look=looked, live=lived, open=opened, close=closed, jump=jumped,
laugh=laughed, climb=climbed, cook=cooked, paint=painted, carry=carried, study=studied,
stop=stopped, plan=planned, wash=washed, help=helped
"""
_KINDS = """
robin=bird, sparrow=bird, eagle=bird, owl=bird, crow=bird, swan=bird, duck=bird, hawk=bird,
parrot=bird, penguin=bird, salmon=fish, trout=fish, herring=fish, shark=fish, cod=fish, tuna=fish,
eel=fish, snake=reptile, lizard=reptile, crocodile=reptile, turtle=reptile, frog=amphibian,
toad=amphibian, newt=amphibian, dog=mammal, cat=mammal, horse=mammal, whale=mammal, bat=mammal,
elephant=mammal, mouse=mammal, tiger=mammal, ant=insect, bee=insect, wasp=insect, beetle=insect,
butterfly=insect, fly=insect, mosquito=insect, moth=insect, rose=flower, tulip=flower,
daisy=flower, lily=flower, violet=flower, orchid=flower, daffodil=flower, oak=tree, pine=tree,
elm=tree, birch=tree, maple=tree, willow=tree, beech=tree, apple=fruit, banana=fruit, orange=fruit,
pear=fruit, grape=fruit, cherry=fruit, peach=fruit, plum=fruit, lemon=fruit, carrot=vegetable,
potato=vegetable, onion=vegetable, cabbage=vegetable, spinach=vegetable, turnip=vegetable,
iron=metal, gold=metal, silver=metal, copper=metal, lead=metal, tin=metal, zinc=metal,
aluminium=metal, oxygen=gas, hydrogen=gas, nitrogen=gas, helium=gas, piano=instrument,
violin=instrument, guitar=instrument, flute=instrument, trumpet=instrument, drum=instrument,
hammer=tool, saw=tool, chisel=tool, screwdriver=tool, shirt=garment, coat=garment, sock=garment,
hat=garment, dress=garment, chair=furniture, table=furniture, wardrobe=furniture, sword=weapon,
spear=weapon, rifle=weapon, dagger=weapon, diamond=gem, ruby=gem, emerald=gem, football=sport,
tennis=sport, cricket=sport, chess=game, red=colour, blue=colour, green=colour, yellow=colour,
triangle=shape, circle=shape, square=shape, Mars=planet, Venus=planet, Jupiter=planet,
Saturn=planet, French=language, English=language, Latin=language, Greek=language, Africa=continent,
Asia=continent, Europe=continent, wheat=grain, barley=grain, rice=grain, tea=drink, coffee=drink,
milk=drink, wine=drink
"""
_YOUNG = """
dog=puppy, cat=kitten, cow=calf, horse=foal, sheep=lamb, goat=kid, pig=piglet, lion=cub, bear=cub,
hen=chick, duck=duckling, goose=gosling, swan=cygnet, deer=fawn, kangaroo=joey, frog=tadpole,
owl=owlet, eagle=eaglet, butterfly=caterpillar, fox=cub, wolf=cub, elephant=calf, whale=calf,
hare=leveret
"""
_SOUNDS = """
dog=bark, cat=meow, cow=moo, horse=neigh, sheep=bleat, pig=grunt, lion=roar, wolf=howl, duck=quack,
hen=cluck, owl=hoot, crow=caw, snake=hiss, bee=buzz, frog=croak, mouse=squeak, donkey=bray,
elephant=trumpet, pigeon=coo, bear=growl
"""
_COLOURS = """
grass=green, snow=white, blood=red, coal=black, milk=white, gold=yellow, butter=yellow, ink=black,
chocolate=brown, ivory=white, soot=black, chalk=white, ruby=red, emerald=green, sapphire=blue,
cherry=red, lemon=yellow, carrot=orange, tomato=red, lime=green, strawberry=red, raven=black,
swan=white, canary=yellow, salt=white, sugar=white, flour=white, cotton=white, ash=grey, lead=grey,
mud=brown, rust=red, lavender=purple, spinach=green, sunflower=yellow
"""
_USES = """
hammer=nails, axe=wood, pen=writing, needle=sewing, oven=baking, broom=sweeping, brush=painting,
spade=digging, knife=cutting, bed=sleeping, boat=sailing, gun=shooting, key=locks,
thermometer=temperature, clock=time, ruler=length, scale=weight, telescope=stars, microscope=cells,
compass=direction, lamp=light, stove=cooking, kettle=water, umbrella=rain, rope=tying, net=fishing,
plough=farming, bucket=carrying
"""
_JOBS = """
bread=baker, fish=fisherman, meat=butcher, horseshoes=blacksmith, shoes=cobbler, suits=tailor,
paintings=painter, novels=novelist, poems=poet, statues=sculptor, crops=farmer, ships=shipbuilder,
furniture=carpenter, pots=potter, cloth=weaver, hats=hatter, beer=brewer, flour=miller,
songs=composer, films=director, maps=cartographer, barrels=cooper, wine=winemaker,
clocks=clockmaker, plays=playwright
"""


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    split = [entry.strip().split("=") for entry in text.replace("\n", " ").split(",")]
    return tuple((key, value) for key, value in split)


def _next(words: tuple[str, ...], wrap: bool) -> tuple[tuple[str, str], ...]:
    following = words[1:] + words[:1] if wrap else words[1:]
    return tuple(zip(words, following, strict=False))


def _back(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((b, a) for a, b in pairs)


_DAY_AFTER = (
    "The day after {} is",
    "{} comes just before",
    "Yesterday was {}, so today is",
    "If today is {}, then tomorrow is",
    "{} is followed by",
)
_DAY_BEFORE = (
    "The day before {} is",
    "{} comes right after",
    "Tomorrow is {}, so today is",
    "If today is {}, then yesterday was",
    "{} follows",
)
_AFTER = (
    "The {kind} after {{}} is",
    "{{}} is followed by the {kind}",
    "The next {kind} after {{}} is",
    "Right after the {kind} {{}} comes",
    "The {kind} that follows {{}} is",
)
_BEFORE = (
    "The {kind} before {{}} is",
    "{{}} comes right after the {kind}",
    "The last {kind} before {{}} is",
    "Just before the {kind} {{}} comes",
    "The {kind} that precedes {{}} is",
)


def _order(asks: tuple[str, ...], kind: str) -> tuple[str, ...]:
    return tuple(ask.format(kind=kind) for ask in asks)


CATEGORIES: tuple[Category, ...] = (
    Category(
        "capital",
        _pairs(_CAPITALS),
        (
            "The capital of {} is",
            "The capital city of {} is",
            "The government of {} sits in",
            "We flew to {} and landed in its capital,",
            "The name of the capital of {} is",
        ),
    ),
    Category(
        "country",
        _back(_pairs(_CAPITALS)),
        (
            "{} is the capital of",
            "{} is the capital city of",
            "The city of {} is in",
            "The country whose capital is {} is",
            "People who live in {} live in the country of",
        ),
    ),
    Category(
        "opposite",
        _pairs(_OPPOSITES),
        (
            "The opposite of {} is",
            "It is not {}. It is",
            "The word that means the opposite of {} is",
            "One was {}, and the other was",
            "{} and its opposite,",
        ),
    ),
    Category(
        "opposite_back",
        _back(_pairs(_OPPOSITES)),
        (
            "The opposite of {} is",
            "It is not {}. It is",
            "The word that means the opposite of {} is",
            "One was {}, and the other was",
            "{} and its opposite,",
        ),
    ),
    Category(
        "plural",
        _pairs(_PLURALS),
        (
            "One {}, two",
            "The plural of {} is",
            "First I saw one {}, then I saw many",
            "The word for more than one {} is",
            "He had a {}, and she had three",
        ),
    ),
    Category(
        "past",
        _pairs(_PAST),
        (
            "Today I {}, yesterday I",
            "The past tense of {} is",
            "Now they {}. Last year they",
            "We often {}, and yesterday we",
            "The past tense of the verb to {} is",
        ),
    ),
    Category(
        "kind",
        _pairs(_KINDS),
        (
            "The word {} is the name of a kind of",
            "{}: a kind of",
            "In the dictionary, {} is described as a type of",
            "Question: What is meant by {}? Answer: It is a kind of",
            "What sort of thing is {}? It is a",
        ),
    ),
    Category(
        "young",
        _pairs(_YOUNG),
        (
            "A young {} is called a",
            "The baby of a {} is a",
            "The mother {} looked after her",
            "The name for a baby {} is",
            "The young of the {} is the",
        ),
    ),
    Category(
        "sound",
        _pairs(_SOUNDS),
        (
            "The sound that a {} makes is a",
            "We heard the {} begin to",
            "Like every {}, it could",
            "The {} opened its mouth and gave a loud",
            "At night the {} would",
        ),
    ),
    Category(
        "colour",
        _pairs(_COLOURS),
        (
            "The colour of {} is",
            "It was the same colour as {}, that is,",
            "As everybody knows, the colour of {} is",
            "What is the colour of {}? It is",
            "She painted it the colour of {}, which is",
        ),
    ),
    Category(
        "use",
        _pairs(_USES),
        (
            "A {} is used for",
            "People use a {} for",
            "The {} is a thing made for",
            "What is a {} good for? It is good for",
            "He bought a {}, because he needed it for",
        ),
    ),
    Category(
        "job",
        _pairs(_JOBS),
        (
            "A person who makes {} is called a",
            "The man who makes {} for a living is a",
            "She works with {}. She is a",
            "If you want {}, you go to the",
            "The name of the job of making {} is",
        ),
    ),
    Category("day_after", _next(_DAYS, wrap=True), _DAY_AFTER),
    Category("day_before", _back(_next(_DAYS, wrap=True)), _DAY_BEFORE),
    Category("month_after", _next(_MONTHS, wrap=True), _order(_AFTER, "month")),
    Category("month_before", _back(_next(_MONTHS, wrap=True)), _order(_BEFORE, "month")),
    Category("letter_after", _next(_LETTERS, wrap=False), _order(_AFTER, "letter")),
    Category("letter_before", _back(_next(_LETTERS, wrap=False)), _order(_BEFORE, "letter")),
    Category("number_after", _next(_NUMBERS, wrap=False), _order(_AFTER, "number")),
    Category("number_before", _back(_next(_NUMBERS, wrap=False)), _order(_BEFORE, "number")),
)
