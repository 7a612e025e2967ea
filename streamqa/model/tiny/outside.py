"""Questions about what the scenes do not have or cannot show, sharing the openings of those they can answer."""

from __future__ import annotations

from streamqa.model.tiny.phrases import Clause, Clauses, Split

# fmt: off
_TRAIN_NOUNS = (
    "cat", "horse", "cow", "sheep", "pig", "goat", "duck", "goose", "chicken", "bird", "pigeon", "eagle",
    "owl", "lion", "tiger", "elephant", "giraffe", "zebra", "monkey", "bear", "wolf", "fox", "rabbit",
    "mouse", "rat", "snake", "lizard", "frog", "fish", "shark", "whale", "dolphin", "crab", "spider",
    "bee", "butterfly", "bicycle", "motorcycle", "scooter", "bus", "train", "tram", "plane", "helicopter",
    "boat", "ship", "ferry", "rocket", "tractor", "truck", "trailer", "ambulance", "crane", "ladder",
    "chair", "table", "sofa", "bed", "desk", "shelf", "cupboard", "mirror", "carpet", "curtain", "pillow",
    "clock", "watch", "phone", "laptop", "computer", "keyboard", "screen", "printer", "camera", "radio",
    "television", "bottle", "cup", "glass", "plate", "bowl", "fork", "spoon", "knife", "pan", "kettle",
    "pizza", "cake", "apple", "banana", "orange", "lemon", "tomato", "potato", "carrot", "sandwich",
    "burger", "bread", "cheese", "egg", "flower", "rose", "cactus", "mushroom", "river", "lake", "bridge",
    "tunnel", "castle", "church", "tower", "lighthouse", "windmill", "tent", "flag", "balloon", "kite",
    "ball", "doll", "toy", "guitar", "piano", "violin", "drum", "trumpet", "book", "newspaper", "letter",
    "pen", "pencil", "hat", "helmet", "umbrella", "bag", "suitcase", "shoe", "boot", "glove", "scarf",
    "ring", "necklace", "sword", "gun", "rope", "hammer", "saw", "drill", "shovel", "bucket", "broom",
    "candle", "pumpkin", "snowman", "statue", "fountain", "swing", "slide", "robot", "ghost", "dragon",
    "unicorn", "policeman", "baby", "rainbow", "moon", "star", "volcano", "island", "beach", "bench",
    "barrel",
)
_HELDOUT_NOUNS = (
    "camel", "donkey", "turkey", "parrot", "penguin", "kangaroo", "turtle", "lobster", "ant", "submarine",
    "bulldozer", "wheelchair", "stove", "fridge", "vase", "teapot", "pineapple", "strawberry", "sausage",
    "waterfall", "pyramid", "parachute", "flute", "microphone", "envelope", "bracelet", "axe", "anchor",
    "skateboard", "igloo",
)
NOUNS = Split(_TRAIN_NOUNS, _HELDOUT_NOUNS)

_OWNERS = (
    "person",
    "car",
    "dog",
    "gate",
    "lamp",
    "box",
    "house",
    "driver",
    "camera",
    "street",
    "wall",
    "tree",
    "man",
    "woman",
    "shop",
    "city",
)
_TRAIN_TRAITS = (
    "name", "age", "price", "brand", "weight", "owner", "address", "speed", "height", "origin", "job",
    "mood", "language", "size", "maker", "history", "value", "length", "width", "smell", "sound", "taste",
    "material", "number", "plan", "phone", "model", "year", "serial", "secret", "reason", "story",
    "birthday",
)
_HELDOUT_TRAITS = ("temperature", "destination", "purpose", "salary", "nationality", "hobby", "opinion")
TRAITS = Split(_TRAIN_TRAITS, _HELDOUT_TRAITS)
OWNERS = _OWNERS
COLOURLESS = (
    "gate",
    "lamp",
    "wall",
    "tree",
    "dog",
    "house",
    "door",
    "roof",
    "street",
    "sky",
    "hair",
    "grass",
)

OPEN = Clauses(
    train=(
        ("what is the person's name", "what the person's name is"),
        ("who is the person", "who the person is"), ("who is this", "who this is"),
        ("how old is the person", "how old the person is"), ("where was this taken", "where this was taken"),
        ("what time is it", "what time it is"),
        ("who owns the car", "who owns the car"), ("how fast is the car", "how fast the car is"),
        ("what brand is the car", "what brand the car is"),
        ("why is the gate open", "why the gate is open"), ("who lit the fire", "who lit the fire"),
        ("what is the capital of France", "what the capital of France is"),
        ("what is the dog's name", "what the dog's name is"), ("what is in the box", "what is in the box"),
        ("how much does the car cost", "how much the car costs"),
        ("where is the person going", "where the person is going"),
        ("what is the person thinking", "what the person is thinking"),
        ("who won the match", "who won the match"), ("how tall is the person", "how tall the person is"),
        ("who lives here", "who lives here"),
        ("when was the gate built", "when the gate was built"),
        ("what happened yesterday", "what happened yesterday"), ("how do I cook rice", "how to cook rice"),
        ("what does the sign say", "what the sign says"), ("how heavy is the box", "how heavy the box is"),
        ("what song is playing", "what song is playing"),
        ("what day of the week is it", "what day of the week it is"), ("what year is it", "what year it is"),
        ("what is two plus three", "what two plus three is"),
        ("who made the lamp", "who made the lamp"), ("why is it dark", "why it is dark"),
        ("where is the owner", "where the owner is"), ("when will it rain", "when it will rain"),
        ("how many years ago was this", "how many years ago this was"),
        ("how many books did you read", "how many books you read"),
        ("what did the man say", "what the man said"),
        ("why has someone fallen", "why someone has fallen"), ("who opened the gate", "who opened the gate"),
        ("who switched the light on", "who switched the light on"),
        ("what is your name", "what your name is"), ("how are you", "how you are"),
        ("how far away is the car", "how far away the car is"),
        ("which team is the best", "which team is the best"),
        ("what is the meaning of life", "what the meaning of life is"),
        ("which country is this", "which country this is"),
        ("what is the licence number", "what the licence number is"),
        ("how hot is the fire", "how hot the fire is"), ("what will happen next", "what will happen next"),
        ("where does the road go", "where the road goes"),
    ),
    heldout=(
        ("who is the president", "who the president is"), ("what did the person eat", "what the person ate"),
        ("where does the person live", "where the person lives"),
        ("who took this picture", "who took this picture"),
        ("why is the person here", "why the person is here"), ("how old is the tree", "how old the tree is"),
        ("who built the wall", "who built the wall"),
        ("what is the weather in London", "what the weather in London is"),
        ("how much is the dog worth", "how much the dog is worth"),
        ("when does the shop open", "when the shop opens"), ("what is the password", "what the password is"),
        ("which film is this", "which film this is"),
    ),
)
YES_NO = Clauses(
    train=(
        ("is the person happy", "the person is happy"), ("is the car expensive", "the car is expensive"),
        ("is the dog friendly", "the dog is friendly"),
        ("is the driver drunk", "the driver is drunk"), ("is the man married", "the man is married"),
        ("will it rain tomorrow", "it will rain tomorrow"),
        ("is the box empty", "the box is empty"), ("is the person rich", "the person is rich"),
        ("is the gate new", "the gate is new"), ("is the owner at home", "the owner is at home"),
        ("is the person hungry", "the person is hungry"), ("is the car stolen", "the car is stolen"),
        ("does the person speak French", "the person speaks French"),
        ("is this Paris", "this is Paris"), ("is the music loud", "the music is loud"),
        ("do you like me", "you like me"), ("is the box heavy", "the box is heavy"),
        ("is the person tired", "the person is tired"),
        ("has the car been washed", "the car has been washed"), ("is the dog old", "the dog is old"),
        ("is today Monday", "today is Monday"),
    ),
    heldout=(
        ("is the person angry", "the person is angry"), ("is the car insured", "the car is insured"),
        ("is the dog hungry", "the dog is hungry"), ("is the man a doctor", "the man is a doctor"),
        ("will the bus be late", "the bus will be late"), ("is the lamp expensive", "the lamp is expensive"),
    ),
)
BARE: tuple[str, ...] = (
    "Tell me a joke.", "Write a poem.", "Sing a song.", "Tell me a story.", "Hello.", "Hi.", "Thank you.",
    "Translate this.", "Give me a recipe.", "Name a river.", "Name a city.",
    "Name the president.", "Give me an address.", "Help me.", "Stop.", "Write some code.", "Solve this.",
    "Open the gate.", "Turn the light on.", "Call the police.",
)


def traits(heldout: bool) -> list[Clause]:
    """All "what is the … of the …" questions as (question, noun)."""
    names = TRAITS.heldout if heldout else TRAITS.train
    pairs = [(trait, owner) for trait in names for owner in _OWNERS]
    if not heldout:
        pairs += [("colour", thing) for thing in COLOURLESS]
    return [(f"what is the {trait} of the {owner}", f"the {trait} of the {owner}") for trait, owner in pairs]
