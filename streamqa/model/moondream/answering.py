"""From requests to generations: which prompts go through the decoder together, and how their results read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor

from streamqa.errors import ConfigError
from streamqa.model.moondream.config import Ids, MoondreamConfig
from streamqa.model.moondream.generate import (
    REGION_FEEDS,
    Decoded,
    Reasoned,
    accept,
    decode_regions,
    decode_text,
    grounding,
    prefill,
    reason,
)
from streamqa.model.moondream.network import Network
from streamqa.model.moondream.packing import Session
from streamqa.model.moondream.prompts import PromptIds, caption, detect, point, query, without_image
from streamqa.model.moondream.scoring import Trie, build_trie, option_probs
from streamqa.model.moondream.text import Prefix
from streamqa.model.moondream.tokenizer import TextTokenizer
from streamqa.types import Box, Generation, Option, Point, Prompt, Task

MAX_TRIES = 1024  # option lists kept tokenised


@dataclass(frozen=True, slots=True)
class Job:
    """One prompt on its way through the decoder."""

    slot: int  # place in the list of results
    image: int  # which of the batch's pictures
    prompt: Prompt
    ids: PromptIds
    room: int  # positions left in the context after the prompt
    trie: Trie | None = None
    draft: Ids = ()  # of a free answer: its beginning, perhaps

    @property
    def budget(self) -> int:
        """The most tokens that a free answer may have."""
        return min(self.prompt.max_tokens, self.room)

    @property
    def fed(self) -> Sequence[int]:
        """What rides along behind the prompt: the inner nodes of its options, or its draft."""
        return self.trie.fed if self.trie else self.draft


@dataclass(slots=True, eq=False)
class Answerer:
    """Answers prompts about encoded pictures.

    A prompt that cannot be answered yields a generation with `finish="error"` and disturbs no other.
    """

    network: Network
    tokenizer: TextTokenizer
    tasks: frozenset[Task]
    _tries: dict[tuple[Option, ...], Trie] = field(default_factory=dict)

    @property
    def config(self) -> MoondreamConfig:
        """Of the network."""
        return self.network.config

    def answer(self, prefix: Prefix | None, prompts: Sequence[Sequence[Prompt]]) -> list[list[Generation]]:
        """One generation per prompt, for each picture of `prefix`; without a prefix, about no picture."""
        flat = [(image, prompt) for image, group in enumerate(prompts) for prompt in group]
        results: dict[int, Generation] = {}
        jobs: list[Job] = []
        for slot, (image, prompt) in enumerate(flat):
            try:
                jobs.append(self._job(slot, image, prompt, prefix))
            except (ValueError, ConfigError) as problem:  # of this prompt alone: the others are answered
                results[slot] = failed(str(problem))
        together = [job for job in jobs if job.prompt.task in ("query", "caption")]
        results |= self._texts(prefix, together)
        for task in REGION_FEEDS:
            results |= self._regions(prefix, [job for job in jobs if job.prompt.task == task])
        for job in jobs:
            if job.prompt.task == "reason":
                session = Session(self.network.text, prefix, [job.image])
                reasoned = reason(self.network, session, job.ids, job.prompt.max_tokens)
                results[job.slot] = self.as_reasoned(reasoned)
        in_order = iter([results[slot] for slot in range(len(flat))])
        return [[next(in_order) for _ in group] for group in prompts]

    def _job(self, slot: int, image: int, prompt: Prompt, prefix: Prefix | None) -> Job:
        if prompt.task not in self.tasks:
            raise ValueError(f"this model cannot {prompt.task}; it can {', '.join(sorted(self.tasks))}")
        if prefix is None and prompt.task not in ("query", "reason"):
            raise ValueError(f"{prompt.task} needs a picture")
        ids = self._ids(prompt)
        if prefix is None:
            ids = without_image(self.config, ids)
        trie = self.trie(prompt.options) if prompt.options else None
        # A decoder that could not say anything after the prompt could not answer it.
        needed = len(ids.ids) + (max(trie.depths, default=0) if trie else REGION_FEEDS.get(prompt.task, 1))
        if prompt.task == "reason":
            needed += len(self.config.tokenizer.templates.query.suffix)
        room = self.config.text.max_context - (0 if prefix is None else prefix.length)
        if needed > room:
            raise ValueError(f"the question is too long: {needed} tokens, and the model has room for {room}")
        room -= len(ids.ids)
        drafted = prompt.task in ("query", "caption") and trie is None
        draft = self._draft(prompt.draft)[: min(prompt.max_tokens, room)] if drafted else ()
        return Job(slot, image, prompt, ids, room, trie, draft)

    def _draft(self, text: str) -> Ids:
        """Tokens of a draft; a text that has none is no draft, and no reason not to answer."""
        try:
            return tuple(self.tokenizer.encode(text))
        except ValueError:
            return ()

    def _ids(self, prompt: Prompt) -> PromptIds:
        if prompt.task == "caption":
            return caption(self.config, prompt.length)
        if prompt.task in ("query", "reason"):
            words = self.tokenizer.encode(prompt.text)
            return query(self.config, words, reasoning=prompt.task == "reason")
        words = self.tokenizer.encode(" " + prompt.text)
        return detect(self.config, words) if prompt.task == "detect" else point(self.config, words)

    def trie(self, options: tuple[Option, ...]) -> Trie:
        """The tokenised options, kept for the next frame.

        Raises:
            ConfigError: two of them cannot be told apart.
        """
        known = self._tries.get(options)
        if known is None:
            known = build_trie(options, self.tokenizer.encode)
            if len(self._tries) >= MAX_TRIES:
                self._tries.clear()
            self._tries[options] = known
        return known

    def _texts(self, prefix: Prefix | None, jobs: list[Job]) -> dict[int, Generation]:
        """Scored and generated texts: one prefill for all of them; the generated ones then go on."""
        if not jobs:
            return {}
        session = Session(self.network.text, prefix, [job.image for job in jobs])
        extra = [job.fed for job in jobs]
        counts = [len(job.ids.ids) + len(more) for job, more in zip(jobs, extra, strict=True)]
        x_RD = self.network.embed([job.ids for job in jobs], extra)
        hidden_RD = session.feed(x_RD, counts, [job.trie for job in jobs])
        ends = [end - len(more) - 1 for end, more in zip(accumulate(counts), extra, strict=True)]
        results: dict[int, Generation] = {}
        scored = [(job, job.trie, end) for job, end in zip(jobs, ends, strict=True) if job.trie]
        if scored:
            rows = [row for _, trie, end in scored for row in range(end, end + 1 + trie.n_fed)]
            logits_QV = self.network.text.logits(hidden_RD[torch.tensor(rows, device=x_RD.device)])
            all_probs = option_probs([trie for _, trie, _ in scored], logits_QV)
            for (job, _, _), probs in zip(scored, all_probs, strict=True):
                results[job.slot] = _scored(job.prompt, probs)
        free = [n for n, job in enumerate(jobs) if job.trie is None]
        if free:
            decoded = self._free(session, hidden_RD, free, [jobs[n] for n in free], [ends[n] for n in free])
            results |= {jobs[n].slot: self.as_generation(d) for n, d in zip(free, decoded, strict=True)}
        return results

    def _free(
        self, session: Session, hidden_RD: Tensor, rows: list[int], jobs: list[Job], ends: list[int]
    ) -> list[Decoded]:
        """Go on with the sequences `rows`, whose prompts end in rows `ends`, after what holds of their drafts."""
        session.keep(rows)
        begun = accept(self.network, hidden_RD, ends, [job.draft for job in jobs])
        session.rewind([len(job.ids.ids) + len(b.ids) for job, b in zip(jobs, begun, strict=True)])
        last = [end + len(b.ids) for end, b in zip(ends, begun, strict=True)]
        hidden_ND = hidden_RD[torch.tensor(last, device=hidden_RD.device)]
        return decode_text(self.network, session, hidden_ND, [job.budget for job in jobs], begun)

    def _regions(self, prefix: Prefix | None, jobs: list[Job]) -> dict[int, Generation]:
        """Points or boxes, of one task."""
        if not jobs:
            return {}
        kind: Literal["point", "detect"] = "point" if jobs[0].prompt.task == "point" else "detect"
        session = Session(self.network.text, prefix, [job.image for job in jobs])
        hidden_ND = prefill(self.network, session, [job.ids for job in jobs])
        limits = [min(job.prompt.max_objects, job.room // REGION_FEEDS[kind]) for job in jobs]
        found = decode_regions(self.network, session, hidden_ND, limits, kind)
        return {
            job.slot: _objects(objects, "eos" if len(objects) < limit else "length")
            for job, objects, limit in zip(jobs, found, limits, strict=True)
        }

    def as_generation(self, decoded: Decoded) -> Generation:
        """Ids as text."""
        text = self.tokenizer.decode(decoded.ids)
        return Generation(text, len(decoded.ids), decoded.finish, decoded.logprob)

    def as_reasoned(self, reasoned: Reasoned) -> Generation:
        """Thoughts and answer as text, with the points that the thoughts are grounded in."""
        answer = reasoned.answer
        spots = grounding(reasoned.chunks, lambda ids: len(self.tokenizer.decode(ids)))
        return Generation(
            text=self.tokenizer.decode(answer.ids),
            tokens=len(reasoned.ids) + len(answer.ids),
            finish=answer.finish,
            logprob=answer.logprob,
            points=tuple(Point(x, y) for spot in spots for x, y in spot["points"]),
            reasoning="".join(self.tokenizer.decode(chunk.ids) for chunk in reasoned.chunks),
        )


def failed(problem: str) -> Generation:
    """The generation of a prompt that cannot be answered."""
    return Generation("", 0, "error", error=" ".join(problem.split()))


def _scored(prompt: Prompt, probs: tuple[float, ...]) -> Generation:
    best = max(range(len(probs)), key=probs.__getitem__)
    return Generation(prompt.options[best].variants[0], 0, "scored", option_probs=probs)


def _objects(found: list[dict[str, float]], finish: Literal["eos", "length"]) -> Generation:
    points = tuple(Point(**item) for item in found if "x" in item)
    boxes = tuple(Box(**item) for item in found if "x_min" in item)
    return Generation("", 0, finish, points=points, boxes=boxes)
