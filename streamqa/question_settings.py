"""What can be set about a standing question; see `settings`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from streamqa.conditions import (
    CONDITION_ADVICE,
    AlertRule,
    Condition,
    Follow,
    Severity,
    parse_condition,
    parse_follow,
)
from streamqa.settings import ZONE_HELP, DurationNs, Id, IntervalNs, Strict, When, ZoneIn
from streamqa.types import Gate, Kind, Look, Question

MOST_ALERTS = 16  # of one question
MOST_VARIANTS = 16

_KOfN = Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=2, max_length=2)]
_Share = Annotated[float, Field(gt=0, lt=1)]


def _condition(value: Any) -> Condition:
    if isinstance(value, bool):  # as JSON would write it
        return Condition("is", "yes" if value else "no")
    if isinstance(value, int | float):
        return Condition("is", f"{value:g}")
    if not isinstance(value, str):
        raise ValueError(f"write {CONDITION_ADVICE}")
    return parse_condition(value)


def _follow(value: Any) -> Follow:
    if not isinstance(value, str):
        raise ValueError("name the question that has to hold, as in person, or cars >= 2")
    return parse_follow(value)


_When = Annotated[
    Condition,
    BeforeValidator(_condition),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}]}),
]
_If = Annotated[
    Follow,
    BeforeValidator(_follow),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string"}),
]


class DecideConfig(Strict):
    """At least k of the last n readings."""

    k_of_n: _KOfN


class GateConfig(Strict):
    """Take over the last answer while the picture has not changed: approximate. Or only the threshold."""

    threshold: float = Field(
        ge=0,
        le=1,
        description="mean change in brightness of the part that changed most, 0…1; 0.02 is a start",
    )
    refresh: IntervalNs = Field(30_000_000_000, description="ask again after so long in any case")
    audit: float = Field(
        0.05, ge=0, le=1, description="how often to ask all the same, 0…1, to measure what the gate costs"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"threshold": value}
        if not isinstance(value, dict):
            raise ValueError("write a threshold such as 0.02, or threshold, refresh and audit")
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "number"}, handler.resolve_ref_schema(handler(core_schema))]}

    def gate(self) -> Gate:
        """The gate as the engine knows it."""
        return Gate(self.threshold, self.refresh, self.audit)


class AlertConfig(Strict):
    """When answers are an alert."""

    when: _When = Field(
        description="yes, no, a choice, >= 3, != closed, or changed; of points and boxes their number"
    )
    name: Id | None = Field(None, description="absent: the question's id")
    above: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="the decision's least confidence; absent: any"
    )
    hold: DurationNs = Field(0, alias="for", description="it has to hold for so long before the alert begins")
    k_of_n: _KOfN | None = Field(None, description="of the last n decisions at least k have to meet it")
    cooldown: DurationNs = Field(0, description="after the end of an alert, none begins for so long")
    severity: Severity = Field("warning")
    hours: When | None = Field(None, description="in which alerts begin, such as 22:00-06:00 Europe/Rome")

    def rule(self, default_name: str) -> AlertRule:
        """The rule as the engine knows it. Raises ValueError: its parts do not go together."""
        return AlertRule(
            name=self.name or default_name,
            when=self.when,
            above=self.above,
            hold_ns=self.hold,
            k_of_n=(self.k_of_n[0], self.k_of_n[1]) if self.k_of_n else (1, 1),
            cooldown_ns=self.cooldown,
            severity=self.severity,
            hours=self.hours,
        )

    @model_validator(mode="after")
    def _k_fits_n(self) -> AlertConfig:
        self.rule("_")
        return self


class QuestionConfig(Strict):
    """A standing question."""

    ask: str = Field(description="the question, in plain words")
    kind: Kind = Field("text", description="what an answer is")
    every: IntervalNs = Field(1_000_000_000, description="the slide: how often to ask")
    window: DurationNs = Field(
        0, description="how far back readings count in the decision; 0s: only this frame"
    )
    decide: Literal["latest", "majority", "any", "all", "mean"] | DecideConfig = Field("latest")
    sources: list[str] | None = Field(None, description="ids of the sources to ask it of; absent: all")
    choices: list[str] = Field(default=[], description="kind choice: the closed list")
    max: int = Field(9, ge=1, le=100, description="kind number: the closed list is 0…max")
    max_tokens: int = Field(64, ge=1, le=768, description="of a free answer")
    gate: GateConfig | None = Field(
        None, description="take over the last answer while the picture has not changed; absent: always ask"
    )
    zone: ZoneIn | None = Field(None, description=f"{ZONE_HELP}; of the source's zone, where it has one")
    when: When | None = Field(
        None,
        description="active hours, such as 22:00-06:00 Europe/Rome; recordings have no wall time and ignore it",
    )
    max_age: IntervalNs | None = Field(
        None, description="live: a frame older than this is answered as stale; absent: two slides"
    )

    above: _Share | None = Field(
        None,
        description="closed kinds: the probability of yes, or of the best option, from which on it is decided",
    )
    below: _Share | None = Field(
        None,
        description="yes_no: the probability of yes up to which it is no; between the two it is unsure",
    )
    hold: DurationNs = Field(
        0, alias="for", description="a value has to be decided for so long before it counts"
    )
    max_words: int | None = Field(None, ge=1, le=500, description="of a free answer")
    only_if: _If | None = Field(
        None,
        alias="if",
        description="asked only while another question says yes, or: cars >= 2, gate open",
    )
    look: Look = Field(
        "frame", description="storyboard: the window's frames side by side in one picture, for actions"
    )
    alert: AlertConfig | list[AlertConfig] | None = Field(None, description="when its answers are an alert")
    variants: list[str] = Field(
        default=[],
        max_length=MOST_VARIANTS,
        description="other wordings, of which `streamqa calibrate` may choose one",
    )

    @field_validator("alert", mode="after")
    @classmethod
    def _not_too_many(cls, value: Any) -> Any:
        if isinstance(value, list) and not 1 <= len(value) <= MOST_ALERTS:
            raise ValueError(f"{len(value)} alerts; give 1 to {MOST_ALERTS}, or leave it out")
        return value

    def rules(self, question_id: str) -> tuple[AlertRule, ...]:
        """The alert rules; those without a name are called as the question, with -2, -3 from the second on."""
        given = self.alert if isinstance(self.alert, list) else [self.alert] if self.alert else []
        return tuple(
            one.rule(question_id if number == 1 else f"{question_id}-{number}")
            for number, one in enumerate(given, 1)
        )

    def question(self, question_id: str) -> Question:
        """The question as the engine knows it."""
        k_of_n = None
        if isinstance(self.decide, DecideConfig):
            k_of_n = (self.decide.k_of_n[0], self.decide.k_of_n[1])
        return Question(
            id=question_id,
            ask=self.ask,
            kind=self.kind,
            every_ns=self.every,
            window_ns=self.window,
            decide="k_of_n" if isinstance(self.decide, DecideConfig) else self.decide,
            k_of_n=k_of_n,
            sources=None if self.sources is None else tuple(self.sources),
            choices=tuple(self.choices),
            max=self.max,
            max_tokens=self.max_tokens,
            gate=self.gate.gate() if self.gate else None,
            zone=self.zone,
            when=self.when,
            max_age_ns=self.max_age,
            above=self.above,
            below=self.below,
            hold_ns=self.hold,
            max_words=self.max_words,
            only_if=self.only_if,
            look=self.look,
            alerts=self.rules(question_id),
        )
