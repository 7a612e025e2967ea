"""How questions are worded, in two parts each: what training sees, and what is held out to measure by.

A clause is a pair (as a question, as a statement after "if"); a frame puts a clause into a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass

Clause = tuple[str, str]
# fmt: off


@dataclass(frozen=True, slots=True)
class Split:
    """Wordings seen in training, and others never seen in training."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clauses:
    """Like `Split`, for clauses."""

    train: tuple[Clause, ...]
    heldout: tuple[Clause, ...]


# {q} the question "is there a car", {s} the statement "there is a car".
YES_NO = Split(
    train=(
        "Tell me if {s}.", "Tell me whether {s}.", "Please say whether {s}.", "Say if {s}.", "Say whether {s}.",
        "Can you see if {s}?", "Can you tell whether {s}?", "Can you tell if {s}?", "Could you check if {s}?",
        "Please check whether {s}.", "Check if {s}.", "I want to know if {s}.", "I need to know whether {s}.",
        "Do you think {s}?", "Would you say that {s}?", "Would you say {s}?", "Is it true that {s}?",
        "Is it the case that {s}?",
        "Yes or no: {q}?", "{q}, yes or no?", "Quick question: {q}?", "Answer yes or no: {q}?",
        "{q} right now?",
        "{q} at the moment?", "Right now, {q}?", "Looking at the picture, {q}?", "In this picture, {q}?",
        "Please answer: {q}?",
        "Let me know if {s}.", "Let me know whether {s}.", "Find out if {s}.", "Report whether {s}.",
        "Am I right that {s}?",
        "So {q}?", "Please, {q}?", "Look at the picture and tell me if {s}.", "Do you know if {s}?",
        "Verify that {s}.",
        "Please verify whether {s}.", "Could you say whether {s}?", "Give me a yes or no: {q}?", "Now, {q}?",
        "{q}, please?",
        "I am asking whether {s}.", "Would you know if {s}?", "Can I be sure that {s}?", "See if {s}.",
        "Please find out whether {s}.",
        "{q} in this picture?", "{q} now?", "Would you agree that {s}?", "Tell me, {q}?", "I wonder if {s}.",
    ),
    heldout=(
        "Can you confirm that {s}?", "Could you tell me if {s}?", "Have a look and say whether {s}.",
        "I would like to know if {s}.",
        "Would you check whether {s}?", "From what you see, {q}?", "Is it correct that {s}?",
        "Please let me know if {s}.",
        "Please tell me whether {s}.", "Just say yes or no: {q}?", "Could you please check if {s}?",
        "Do you see whether {s}?",
    ),
)

# {q} "how many cars are there", {s} "how many cars there are", {n} "the number of cars".
OPEN = Split(
    train=(
        "Tell me {s}.", "Please tell me {s}.", "Can you tell me {s}?", "Say {s}.", "I want to know {s}.",
        "Do you know {s}?", "Please say {s}.", "Could you say {s}?", "Find out {s}.", "Let me know {s}.",
        "Report {s}.", "Check {s}.",
        "In this picture, {q}?", "Right now, {q}?", "{q} right now?", "Quick question: {q}?",
        "Looking at the picture, {q}?",
        "So {q}?", "Please, {q}?", "{q} at the moment?", "Look at the picture and say {s}.",
        "Can you say {s}?", "I wonder {s}.",
        "Tell me, {q}?", "Please find out {s}.", "Would you know {s}?", "Please answer: {q}?", "{q}, please?",
        "Now, {q}?",
        "What is {n}?", "Tell me {n}.", "Give {n}.", "Give me {n}.", "Report {n}.", "Name {n}.", "State {n}.",
        "Please give {n}.",
        "I want to know {n}.", "Can you tell me {n}?", "Please tell me {n}.", "Say {n}.", "Check {n}.",
        "Find out {n}.",
        "Do you know {n}?", "Let me know {n}.", "Please name {n}.", "Please state {n}.", "What about {n}?",
        "Could you give me {n}?",
    ),
    heldout=(
        "Could you tell me {s}?", "I would like to know {s}.", "Please let me know {s}.",
        "Would you tell me {s}?",
        "From what you see, {q}?", "Have a look and say {s}.", "Please report {n}.", "Can you give me {n}?",
        "What would you say is {n}?", "I need to know {s}.", "Please check {s}.", "Would you name {n}?",
    ),
)

# {a} "a car", {m} "cars". Frames of existence.
THERE = Clauses(
    train=(
        ("is there {a}", "there is {a}"), ("is there {a} in the picture", "there is {a} in the picture"),
        ("is there {a} in view", "there is {a} in view"), ("do you see {a}", "you see {a}"),
        ("can you see {a}", "you can see {a}"),
        ("is {a} visible", "{a} is visible"), ("is {a} in the picture", "{a} is in the picture"),
        ("is {a} in view", "{a} is in view"),
        ("does the picture show {a}", "the picture shows {a}"),
        ("does the picture contain {a}", "the picture contains {a}"),
        ("are there any {m}", "there are any {m}"), ("do you see any {m}", "you see any {m}"),
        ("can you see any {m}", "you can see any {m}"), ("is {a} here", "{a} is here"),
        ("is {a} present", "{a} is present"),
        ("is {a} shown", "{a} is shown"),
        ("are there any {m} in the picture", "there are any {m} in the picture"),
        ("are there {m}", "there are {m}"), ("is there {a} here", "there is {a} here"),
        ("do you notice {a}", "you notice {a}"),
        ("can {a} be found", "{a} can be found"), ("are any {m} in view", "any {m} are in view"),
        ("have you seen {a}", "you have seen {a}"), ("does the picture include {a}", "the picture includes {a}"),
        ("is {a} to be found", "{a} is to be found"), ("is there {a} somewhere", "there is {a} somewhere"),
    ),
    heldout=(
        ("does this picture have {a}", "this picture has {a}"), ("are any {m} visible", "any {m} are visible"),
        ("can {a} be seen", "{a} can be seen"), ("is there {a} anywhere", "there is {a} anywhere"),
        ("are there any {m} in view", "there are any {m} in view"),
        ("is there {a} to be seen", "there is {a} to be seen"),
        ("do you notice any {m}", "you notice any {m}"),
        ("is {a} shown in the picture", "{a} is shown in the picture"),
    ),
)
THERE_BARE = Split(
    train=(
        "Any {m}?",
        "Any {m} in view?",
        "{a}?",
        "Any {m} there?",
        "Any {m} in the picture?",
        "Is that {a}?",
        "{m}?",
    ),
    heldout=("Any {m} here?", "Any {m} visible?", "{a}, yes or no?"),
)

# Nouns of what the world has: {a}, {m}.
NOUNS: dict[str, tuple[Clause, ...]] = {
    "person": (
        ("a person", "people"), ("a person", "persons"), ("someone", "people"), ("anyone", "people"),
        ("anybody", "people"),
        ("somebody", "people"), ("a human", "humans"), ("a pedestrian", "pedestrians"), ("a person", "people"),
    ),
    "car": (("a car", "cars"), ("a car", "cars"), ("a car", "cars"), ("a vehicle", "vehicles"),
    ("an automobile", "automobiles")),
    "dog": (("a dog", "dogs"), ("a dog", "dogs"), ("a hound", "hounds"), ("an animal", "animals")),
    "box": (("a box", "boxes"), ("a box", "boxes"), ("a cardboard box", "cardboard boxes"),
    ("a package", "packages"), ("a parcel", "parcels")),
    "fire": (("a fire", "fires"), ("a fire", "flames"), ("fire", "flames"), ("a burning fire", "flames")),
    "gate": (("a gate", "gates"), ("a gate", "gates")),
    "lamp": (("a lamp", "lamps"), ("a street lamp", "street lamps"), ("a street light", "street lights")),
}

# Statements that are plainly true or false, by what must hold.
CLAUSES: dict[str, Clauses] = {
    "fire": Clauses(
        train=(
            ("is something burning", "something is burning"), ("is anything burning", "anything is burning"),
            ("is something on fire", "something is on fire"), ("is anything on fire", "anything is on fire"),
            ("is there something burning", "there is something burning"),
            ("is a fire burning", "a fire is burning"),
            ("do you see something burning", "you see something burning"),
            ("does something burn", "something burns"),
        ),
        heldout=(("is there anything burning", "there is anything burning"),
            ("do you see anything on fire", "you see anything on fire")),
    ),
    "gate_open": Clauses(
        train=(("is the gate open", "the gate is open"), ("does the gate stand open", "the gate stands open"),
            ("is the gate opened", "the gate is opened"),
            ("has the gate been opened", "the gate has been opened")),
        heldout=(("is the gate standing open", "the gate is standing open"),
            ("is it open, the gate", "the gate is not closed")),
    ),
    "gate_closed": Clauses(
        train=(("is the gate closed", "the gate is closed"), ("is the gate shut", "the gate is shut"),
            ("has the gate been closed", "the gate has been closed")),
        heldout=(("has the gate been shut", "the gate has been shut"),),
    ),
    "light_on": Clauses(
        train=(
            ("is the light on", "the light is on"), ("is the lamp on", "the lamp is on"),
            ("is the lamp lit", "the lamp is lit"),
            ("is the street light on", "the street light is on"),
            ("is the lamp switched on", "the lamp is switched on"),
            ("is the light turned on", "the light is turned on"), ("does the lamp shine", "the lamp shines"),
        ),
        heldout=(("is the light switched on", "the light is switched on"),
            ("is the street lamp lit", "the street lamp is lit")),
    ),
    "light_off": Clauses(
        train=(("is the light off", "the light is off"), ("is the lamp off", "the lamp is off"),
            ("is the lamp switched off", "the lamp is switched off"), ("is the light out", "the light is out")),
        heldout=(("is the light turned off", "the light is turned off"),
            ("is the street light off", "the street light is off")),
    ),
    "day": Clauses(
        train=(("is it day", "it is day"), ("is it daytime", "it is daytime"),
            ("is it light outside", "it is light outside"), ("is it bright outside", "it is bright outside"),
            ("is it daytime outside", "it is daytime outside")),
        heldout=(("is it day outside", "it is day outside"),),
    ),
    "night": Clauses(
        train=(("is it night", "it is night"), ("is it dark", "it is dark"),
            ("is it nighttime", "it is nighttime"), ("is it dark outside", "it is dark outside"),
            ("is it nighttime outside", "it is nighttime outside")),
        heldout=(("is it night outside", "it is night outside"),),
    ),
    "at_gate": Clauses(
        train=(
            ("is a person at the gate", "a person is at the gate"),
            ("is someone at the gate", "someone is at the gate"),
            ("is there a person at the gate", "there is a person at the gate"),
            ("is anyone at the gate", "anyone is at the gate"),
            ("is somebody standing at the gate", "somebody is standing at the gate"),
            ("does someone stand at the gate", "someone stands at the gate"),
            ("is there anyone at the gate", "there is anyone at the gate"),
            ("is a person by the gate", "a person is by the gate"),
            ("is someone waiting at the gate", "someone is waiting at the gate"),
            ("do you see a person at the gate", "you see a person at the gate"),
            ("can you see someone at the gate", "you can see someone at the gate"),
            ("is there someone by the gate", "there is someone by the gate"),
        ),
        heldout=(("is anybody waiting by the gate", "anybody is waiting by the gate"),
            ("do you see anyone at the gate", "you see anyone at the gate"),
            ("is a person standing at the gate", "a person is standing at the gate")),
    ),
    "fallen": Clauses(
        train=(
            ("has someone fallen", "someone has fallen"), ("has anyone fallen", "anyone has fallen"),
            ("is someone lying on the ground", "someone is lying on the ground"),
            ("is a person lying down", "a person is lying down"),
            ("is anyone on the ground", "anyone is on the ground"),
            ("has a person fallen down", "a person has fallen down"), ("did someone fall", "someone fell"),
            ("is there a fallen person", "there is a fallen person"),
            ("is anybody lying down", "anybody is lying down"),
            ("did a person fall down", "a person fell down"),
            ("do you see a person on the ground", "you see a person on the ground"),
            ("is there a person lying down", "there is a person lying down"),
        ),
        heldout=(("has anybody fallen down", "anybody has fallen down"),
            ("is there someone lying on the ground", "there is someone lying on the ground"),
            ("did anyone fall down", "anyone fell down")),
    ),
}

# Open questions (question, statement after "tell me"), nouns, and sentences complete in themselves.
COUNT = Clauses(
    train=(
        ("how many {m} are there", "how many {m} there are"),
        ("how many {m} do you see", "how many {m} you see"),
        ("how many {m} are in the picture", "how many {m} are in the picture"),
        ("how many {m} can you see", "how many {m} you can see"),
        ("how many {m} are visible", "how many {m} are visible"),
        ("how many {m} are in view", "how many {m} are in view"),
        ("how many {m} does the picture show", "how many {m} the picture shows"),
        ("how many {m} are here", "how many {m} are here"),
        ("how many {m} are present", "how many {m} are present"),
        ("how many {m} are there in the picture", "how many {m} there are in the picture"),
    ),
    heldout=(
        ("how many {m} can be seen", "how many {m} can be seen"),
        ("how many {m} are shown", "how many {m} are shown"),
        ("how many {m} are there in view", "how many {m} there are in view"),
        ("how many {m} do you notice", "how many {m} you notice"),
    ),
)
COUNT_NOUN = Split(
    train=(
        "the number of {m}",
        "the count of {m}",
        "the number of {m} in the picture",
        "the number of {m} in view",
    ),
    heldout=("the number of {m} you see", "the number of visible {m}"),
)
COUNT_BARE = Split(
    train=(
        "Count the {m}.",
        "Count the {m} in the picture.",
        "Please count the {m}.",
        "{m}: how many?",
        "Number of {m}?",
        "How many {m}?",
        "Can you count the {m}?",
    ),
    heldout=("Could you count the {m}?", "How many {m} in view?", "Count the {m} you see."),
)

EITHER: dict[str, Clauses] = {
    "gate": Clauses(
        train=(
            ("is the gate open or closed", "whether the gate is open or closed"),
            ("is the gate closed or open", "if the gate is closed or open"),
            ("is the gate open or shut", "whether the gate is open or shut"),
            ("what is the state of the gate", "what the state of the gate is"),
            ("is the gate opened or closed", "if the gate is opened or closed"),
        ),
        heldout=(("is the gate shut or open", "whether the gate is shut or open"),
            ("what state is the gate in", "what state the gate is in")),
    ),
    "light": Clauses(
        train=(
            ("is the light on or off", "whether the light is on or off"),
            ("is the lamp on or off", "if the lamp is on or off"),
            ("is the light off or on", "whether the light is off or on"),
            ("what is the state of the light", "what the state of the light is"),
            ("is the street light on or off", "if the street light is on or off"),
        ),
        heldout=(("is the lamp off or on", "whether the lamp is off or on"),
            ("is the lamp switched on or off", "whether the lamp is switched on or off")),
    ),
    "daytime": Clauses(
        train=(
            ("is it day or night", "whether it is day or night"),
            ("is it night or day", "if it is night or day"),
            ("is it daytime or nighttime", "whether it is daytime or nighttime"),
            ("is it day or night outside", "if it is day or night outside"),
        ),
        heldout=(("is it nighttime or daytime", "whether it is nighttime or daytime"),
            ("is this day or night", "whether this is day or night")),
    ),
}
EITHER_NOUN: dict[str, Split] = {
    "gate": Split(("the state of the gate", "the gate's state"), ("the present state of the gate",)),
    "light": Split(("the state of the light", "the state of the lamp"), ("the lamp's state",)),
    "daytime": Split((), ()),
}
EITHER_BARE: dict[str, Split] = {
    "gate": Split(
        (
            "Gate open or closed?",
            "The gate: open or closed?",
            "Open or closed: the gate?",
            "Gate: open or closed?",
        ),
        ("The gate, is it open or closed?",),
    ),
    "light": Split(
        ("Light on or off?", "The light: on or off?", "Lamp: on or off?", "Light: on or off?"),
        ("The light, is it on or off?",),
    ),
    "daytime": Split(
        ("Day or night?", "Night or day?", "Daytime or nighttime?"), ("Outside: day or night?",)
    ),
}

COLOUR: dict[str, Clauses] = {
    "car": Clauses(
        train=(
            ("what colour is the car", "what colour the car is"),
            ("which colour is the car", "which colour the car is"),
            ("what colour does the car have", "what colour the car has"),
            ("what is the colour of the car", "what the colour of the car is"),
            ("what colour is the vehicle", "what colour the vehicle is"),
            ("what is the car's colour", "what the car's colour is"),
        ),
        heldout=(("which colour does the car have", "which colour the car has"),
            ("in what colour is the car", "in what colour the car is")),
    ),
    "person": Clauses(
        train=(
            ("what colour is the person's shirt", "what colour the person's shirt is"),
            ("what colour is the shirt", "what colour the shirt is"),
            ("what colour does the person wear", "what colour the person wears"),
            ("which colour is the person wearing", "which colour the person is wearing"),
            ("what colour is the shirt of the person", "what colour the shirt of the person is"),
        ),
        heldout=(("which colour is the person's shirt", "which colour the person's shirt is"),
            ("what colour is the person wearing", "what colour the person is wearing")),
    ),
}
COLOUR_NOUN: dict[str, Split] = {
    "car": Split(
        ("the colour of the car", "the car's colour", "the colour of the vehicle"), ("the vehicle's colour",)
    ),
    "person": Split(
        ("the colour of the shirt", "the colour of the person's shirt", "the shirt's colour"),
        ("the colour of the shirt of the person",),
    ),
}
COLOURED: dict[str, tuple[Clause, ...]] = {
    "car": (("a {c} car", "{c} cars"), ("a {c} car", "{c} cars"), ("a {c} vehicle", "{c} vehicles"),
    ("a car that is {c}", "cars that are {c}")),
    "person": (
        ("a person in {c}", "people in {c}"), ("a person with a {c} shirt", "people with a {c} shirt"),
        ("someone in a {c} shirt", "people in {c} shirts"),
        ("a person wearing {c}", "people wearing {c}"), ("a person in a {c} shirt", "people in {c} shirts"),
    ),
}
DESCRIBE = Split(
    train=(
        "Describe the picture.",
        "What do you see?",
        "What is in the picture?",
        "What does the picture show?",
        "Describe what you see.",
        "What can you see?",
        "Say what you see.",
    ),
    heldout=("Please describe the picture.", "Tell me what you see.", "What is shown?"),
)
