"""From requests to generations: all prompts of all pictures go through the decoder together, in one first forward.

That forward computes the pictures' prefixes, reads every prompt, scores the options of closed questions and verifies
the drafts of free answers. Only what is then not yet answered is decoded step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import isfinite
from typing import Literal, Protocol

import torch
from torch import Tensor

from streamqa.errors import ConfigError
from streamqa.model.moondream.config import Ids, MoondreamConfig
from streamqa.model.moondream.generate import MAX_LOGIT_ROWS, decode
from streamqa.model.moondream.network import Network
from streamqa.model.moondream.packing import Sequences, Session
from streamqa.model.moondream.prompts import PromptIds, caption, detect, point, query, without_image
from streamqa.model.moondream.reading import Choice, read_rows
from streamqa.model.moondream.runs import (
    REGION_FEEDS,
    Decoded,
    ObjectsRun,
    Reasoned,
    ReasonRun,
    Run,
    TextRun,
    grounding,
)
from streamqa.model.moondream.scoring import Trie, build_trie
from streamqa.model.moondream.static import Decoder
from streamqa.types import Box, Generation, Option, Point, Prompt, Task

MAX_TRIES = 1024  # option lists kept tokenised
NOT_FINITE = "the model's numbers are not finite; its weights are damaged, or do not fit the number format"


class Tokenizer(Protocol):
    """Text to ids and back: see `tokenizer.TextTokenizer`."""

    def encode(self, text: str) -> Sequence[int]:
        """Ids of ordinary text; ValueError where it has none."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids."""
        ...


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
    def fed(self) -> Sequence[int]:
        """What rides along behind the prompt: the inner nodes of its options, or its draft."""
        return self.trie.fed if self.trie else self.draft


def start_run(config: MoondreamConfig, job: Job) -> Run:
    """The answer of a job that is not scored, before its first token."""
    special, prompt = config.tokenizer, job.prompt
    if prompt.task == "reason":
        think, answer = reason_budgets(config, prompt.max_tokens, job.room)
        return ReasonRun(special, think, answer)
    if prompt.task == "point" or prompt.task == "detect":
        limit = min(prompt.max_objects, job.room // REGION_FEEDS[prompt.task])
        return ObjectsRun(special, limit, prompt.task)
    return TextRun(special, min(prompt.max_tokens, job.room))


def reason_budgets(config: MoondreamConfig, max_tokens: int, room: int) -> tuple[int, int]:
    """Tokens for thoughts and for the answer: each `max_tokens`; of a smaller context the answer gets up to half."""
    room -= len(config.tokenizer.templates.query.suffix)
    think = max(1, min(max_tokens, room - min(max_tokens, room // 2)))
    return think, max(1, min(max_tokens, room - think))


@dataclass(slots=True, eq=False)
class Answerer:
    """Answers prompts about pictures.

    A prompt that cannot be answered yields a generation with `finish="error"` and disturbs no other.
    """

    network: Network
    tokenizer: Tokenizer
    tasks: frozenset[Task]
    static: Decoder | None = None  # computes in place of the network's own forwards
    _tries: dict[tuple[Option, ...], Trie] = field(default_factory=dict)

    @property
    def config(self) -> MoondreamConfig:
        """Of the network."""
        return self.network.config

    def answer(
        self, tokens_BPD: Tensor | None, prompts: Sequence[Sequence[Prompt]]
    ) -> list[list[Generation]]:
        """One generation per prompt, for each picture of `tokens_BPD` (image tokens); None: about no picture."""
        jobs, results = self._jobs(prompts, blind=tokens_BPD is None)
        if jobs:
            results |= self._together(tokens_BPD, jobs)
        in_order = iter([results[slot] for slot in range(len(results))])
        return [[next(in_order) for _ in group] for group in prompts]

    def check(self, prompts: Sequence[Prompt], blind: bool = False) -> list[Generation]:
        """Whether each prompt could be answered in full, its whole `max_tokens` included; nothing is computed."""
        jobs, results = self._jobs([prompts], blind)
        for job in jobs:
            results[job.slot] = Generation("", 0, "eos")
            wanted = job.prompt.max_tokens
            if job.prompt.task == "reason":  # thoughts, what opens the answer, answer
                wanted += len(self.config.tokenizer.templates.query.suffix) + job.prompt.max_tokens
            if job.trie is None and job.prompt.task not in REGION_FEEDS and wanted > job.room:
                context = len(job.ids.ids) + job.room
                results[job.slot] = failed(
                    f"question and answer are too long: {len(job.ids.ids)} tokens asked and up to {wanted} to answer,"
                    f" and the model has room for {context}; shorten the question or lower max_tokens"
                )
        return [results[slot] for slot in range(len(prompts))]

    def _jobs(
        self, prompts: Sequence[Sequence[Prompt]], blind: bool
    ) -> tuple[list[Job], dict[int, Generation]]:
        """What can be asked, and the errors of the rest by their slot."""
        flat = [(image, prompt) for image, group in enumerate(prompts) for prompt in group]
        results: dict[int, Generation] = {}
        jobs: list[Job] = []
        for slot, (image, prompt) in enumerate(flat):
            try:
                jobs.append(self._job(slot, image, prompt, blind))
            except (ValueError, ConfigError) as problem:  # of this prompt alone: the others are answered
                results[slot] = failed(str(problem))
        return jobs, results

    def _job(self, slot: int, image: int, prompt: Prompt, blind: bool) -> Job:
        if prompt.task not in self.tasks:
            raise ValueError(f"this model cannot {prompt.task}; it can {', '.join(sorted(self.tasks))}")
        if blind and prompt.task not in ("query", "reason"):
            raise ValueError(f"{prompt.task} needs a picture")
        ids = self._ids(prompt)
        if blind:
            ids = without_image(self.config, ids)
        trie = self.trie(prompt.options) if prompt.options else None
        # A decoder that could not say anything after the prompt could not answer it.
        needed = len(ids.ids) + (max(trie.depths, default=0) if trie else REGION_FEEDS.get(prompt.task, 1))
        if prompt.task == "reason":
            needed += len(self.config.tokenizer.templates.query.suffix)
        room = self.config.text.max_context - (0 if blind else self.config.prefix_len)
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

    def _together(self, tokens_BPD: Tensor | None, jobs: list[Job]) -> dict[int, Generation]:
        """All jobs: one forward for pictures, prompts, options and drafts; what goes on after it goes on together."""
        counts = [len(job.ids.ids) + len(job.fed) for job in jobs]
        x_RD = self.network.embed([job.ids for job in jobs], [job.fed for job in jobs])
        tries = [job.trie for job in jobs]
        images = [job.image for job in jobs]
        session: Sequences
        if tokens_BPD is None:
            session = Session(self.network.text, None, images)
            hidden_RD = session.feed(x_RD, counts, tries)
        else:
            look = self.static.look if self.static else self.network.look
            session, hidden_RD = look(tokens_BPD, images, (x_RD, counts, tries))
        ends = [end - len(job.fed) - 1 for end, job in zip(accumulate(counts), jobs, strict=True)]
        results, said = self._read(hidden_RD, jobs, ends)
        runs = {n: start_run(self.config, job) for n, job in enumerate(jobs) if job.trie is None}
        if runs:
            self._go_on(session, hidden_RD, jobs, ends, (runs, said))
            results |= {jobs[n].slot: self._finished(run) for n, run in runs.items()}
        return results

    def _read(
        self, hidden_RD: Tensor, jobs: list[Job], ends: list[int]
    ) -> tuple[dict[int, Generation], list[list[Choice]]]:
        """What the first forward says: scored answers, and for each job the choices after prompt and draft tokens.

        The head reads the rows after each prompt and after each token that rode along, a bounded number at a time;
        one copy brings all results of such a block from the device.
        """
        results: dict[int, Generation] = {}
        said: list[list[Choice]] = [[] for _ in jobs]
        for block in _blocks([1 + len(job.fed) for job in jobs], MAX_LOGIT_ROWS):
            rows = [row for n in block for row in range(ends[n], ends[n] + 1 + len(jobs[n].fed))]
            starts = list(accumulate((1 + len(jobs[n].fed) for n in block), initial=0))
            places = dict(zip(block, starts, strict=False))
            asked = [n for n in block if jobs[n].trie]
            scored = [(places[n], trie) for n in asked if (trie := jobs[n].trie)]
            banned = [self._banned(jobs[n], i) for n in block for i in range(1 + len(jobs[n].fed))]
            chosen, probs = read_rows(
                self.network.text.logits, hidden_RD, rows, banned if len(asked) < len(block) else None, scored
            )
            for n, found in zip(asked, probs, strict=True):
                results[jobs[n].slot] = _scored(jobs[n].prompt, found)
            for n in block:
                said[n] = chosen[places[n] : places[n] + 1 + len(jobs[n].fed)]
        return results, said

    def _banned(self, job: Job, place: int) -> Ids:
        """Tokens that must not follow the prompt (`place` 0) or the draft's token before `place`."""
        return (self.config.tokenizer.answer_id,) if place and job.trie is None else ()

    def _go_on(
        self,
        session: Sequences,
        hidden_RD: Tensor,
        jobs: list[Job],
        ends: list[int],
        begun: tuple[dict[int, Run], list[list[Choice]]],
    ) -> None:
        """Tell the runs what the first forward said, forget what of their drafts does not hold, decode the rest."""
        runs, said = begun
        held = {n: _begin(run, jobs[n].draft, said[n]) for n, run in runs.items()}
        going = [n for n, run in runs.items() if run.feeds is not None or run.wants is not None]
        if not going:
            return
        session.keep(going)
        session.rewind([len(jobs[n].ids.ids) + held[n] for n in going])
        last = torch.tensor([ends[n] + held[n] for n in going], device=hidden_RD.device)
        decode(self.network, session, hidden_RD[last], [runs[n] for n in going])

    def _finished(self, run: Run) -> Generation:
        if isinstance(run, TextRun):
            return self.as_generation(run.decoded)
        if isinstance(run, ReasonRun):
            return self.as_reasoned(run.reasoned)
        assert isinstance(run, ObjectsRun)
        if not run.sound:
            return failed(NOT_FINITE)
        return _objects(run.found, "length" if run.full else "eos")

    def as_generation(self, decoded: Decoded) -> Generation:
        """Ids as text."""
        if not isfinite(decoded.logprob):
            return failed(NOT_FINITE)
        text = self.tokenizer.decode(decoded.ids)
        return Generation(text, len(decoded.ids), decoded.finish, decoded.logprob)

    def as_reasoned(self, reasoned: Reasoned) -> Generation:
        """Thoughts and answer as text, with the points that the thoughts are grounded in."""
        answer = reasoned.answer
        if not isfinite(answer.logprob):
            return failed(NOT_FINITE)
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


def _begin(run: Run, draft: Ids, said: list[Choice]) -> int:
    """Tell a run what follows its prompt; how many tokens of its draft hold."""
    if isinstance(run, TextRun):
        return run.verify(draft, said)
    if run.wants == "token":
        run.on_token(*said[0])
    return 0


def _blocks(sizes: list[int], limit: int) -> list[list[int]]:
    """Indices of `sizes`, in order, in blocks that sum to at most `limit` (or hold one)."""
    blocks: list[list[int]] = []
    total = 0
    for n, size in enumerate(sizes):
        if not blocks or total + size > limit:
            blocks.append([])
            total = 0
        blocks[-1].append(n)
        total += size
    return blocks


def _scored(prompt: Prompt, probs: tuple[float, ...]) -> Generation:
    if not all(isfinite(p) for p in probs):
        return failed(NOT_FINITE)
    best = max(range(len(probs)), key=probs.__getitem__)
    return Generation(prompt.options[best].variants[0], 0, "scored", option_probs=probs)


def _objects(found: list[dict[str, float]], finish: Literal["eos", "length"]) -> Generation:
    points = tuple(Point(**item) for item in found if "x" in item)
    boxes = tuple(Box(**item) for item in found if "x_min" in item)
    return Generation("", 0, finish, points=points, boxes=boxes)
