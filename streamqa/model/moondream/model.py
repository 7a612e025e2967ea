"""`Moondream`: the model that users and the engine hold."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from streamqa.errors import ModelError
from streamqa.model.base import AS_IT_LIKES, ModelOptions, VisionModel
from streamqa.model.moondream import hub
from streamqa.model.moondream.answering import Answerer, Tokenizer, failed, reason_budgets
from streamqa.model.moondream.config import MoondreamConfig
from streamqa.model.moondream.crops import Picture, Tiling, all_crops, unique_crops
from streamqa.model.moondream.device import best_dtype as best_dtype
from streamqa.model.moondream.device import float16_problem, max_frames
from streamqa.model.moondream.generate import decode, feed
from streamqa.model.moondream.graphs import CudaCapture, Memory, Programs, Staging
from streamqa.model.moondream.network import Network
from streamqa.model.moondream.packing import Session
from streamqa.model.moondream.prepare import prepare, release, usable_cores
from streamqa.model.moondream.prompts import PromptIds, query, without_image
from streamqa.model.moondream.runs import (
    REGION_FEEDS,
    Decoded,
    Grounding,
    ObjectsRun,
    Reasoned,
    ReasonRun,
    TextRun,
    grounding,
)
from streamqa.model.moondream.static import Decoder, Tower
from streamqa.model.moondream.text import Prefix
from streamqa.model.moondream.tokenizer import TextTokenizer
from streamqa.model.moondream.weights import load_network
from streamqa.types import Generation, ModelInfo, Request, Task

if TYPE_CHECKING:
    from streamqa.types import Image

_logger = logging.getLogger(__name__)

TASKS: frozenset[Task] = frozenset({"query", "reason", "caption", "point", "detect"})
MAX_RESIZERS = 8  # threads that make crops: Pillow lets go of the interpreter while it resizes
GRAPHS = "STREAMQA_CUDA_GRAPHS"  # 0 in the environment: a GPU's forwards are launched kernel by kernel
Ask = Sequence[int] | PromptIds  # a prompt as ids, with spatial references as PromptIds


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImage:
    """A picture, encoded once for every prompt about it.

    Pictures encoded together share their memory, which lives as long as any of them.
    """

    tokens: Tensor  # image tokens [P, D]
    batch: Prefix  # of all pictures encoded together
    index: int  # this one's place there

    @property
    def k_LKTd(self) -> Tensor:
        """Keys of [bos, image tokens], [layers, kv heads, 1 + P, head width]: a copy."""
        return torch.stack([k[self.index, :, : self.batch.length] for k in self.batch.keys])

    @property
    def v_LKTd(self) -> Tensor:
        """Values of [bos, image tokens]: a copy."""
        return torch.stack([v[self.index, :, : self.batch.length] for v in self.batch.values])


class Moondream:
    """moondream2 and its smaller kin. Make one with `from_pretrained`."""

    def __init__(self, network: Network, tokenizer: Tokenizer | None, info: ModelInfo) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.info = info
        self._answerer = None if tokenizer is None else Answerer(network, tokenizer, info.tasks)
        self._device = threading.Lock()  # one batch computes, while others are prepared
        self._staging = Staging(network.device)
        self._resizers = ThreadPoolExecutor(min(MAX_RESIZERS, usable_cores()), "crops")

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        info: ModelInfo | None = None,
    ) -> Moondream:
        """Load a directory (`model.safetensors`, `config.json`, `tokenizer.json`) or the pinned repository.

        Args:
            source: a directory, or `vikhyatk/moondream2`, which is downloaded on first use.
            device: where to run.
            dtype: of weights and activations.
            info: who answers, for records; absent: moondream2 at the pinned revision.

        Raises:
            ModelError: something is missing, damaged or of another model.
        """
        where = torch.device(device)
        weights, tokenizer_path, config = hub.locate(source)
        network = load_network(weights, config, where, dtype)
        tokenizer = TextTokenizer.from_file(tokenizer_path, config) if tokenizer_path.is_file() else None
        if info is None:
            name = str(dtype).removeprefix("torch.")
            info = ModelInfo("moondream2", hub.REVISION_NAME, str(where), name, TASKS)
        return cls(network, tokenizer, info)

    @property
    def config(self) -> MoondreamConfig:
        """Sizes, ids and templates."""
        return self.network.config

    def crops(self, image: Picture) -> tuple[Image, Tiling]:
        """uint8 [n, S, S, 3], the global view first, and (rows, columns) of the others."""
        return all_crops(image, self.config.vision)

    @torch.inference_mode()
    def encode_image(self, images: Sequence[Picture]) -> list[EncodedImage]:
        """Encode pictures of any sizes together."""
        if not images:
            return []
        crops = [unique_crops(image, self.config.vision) for image in images]
        with self._device:
            tokens_BPD = self._image_tokens(crops)
            prefix = self.network.prefix(tokens_BPD)
        return [EncodedImage(tokens, prefix, i) for i, tokens in enumerate(tokens_BPD)]

    @torch.inference_mode()
    def generate(
        self,
        encoded: Sequence[EncodedImage | None],
        prompts: Sequence[Sequence[Ask]],
        max_new_tokens: int = 20,
    ) -> list[list[Decoded]]:
        """Go on greedily after each prompt of each picture, all together.

        Args:
            encoded: pictures; all None: the prompts are about no picture and start with bos.
            prompts: for each picture its prompts.
            max_new_tokens: at least 1; the context may set a lower end.
        """
        images = [i for i, group in enumerate(prompts) for _ in group]
        if not images:
            return [[] for _ in prompts]
        session = self._open(encoded, images)
        asks = [self._fitting(session, ask) for group in prompts for ask in group]
        special = self.config.tokenizer
        runs = [TextRun(special, min(max_new_tokens, self._room(session, prompt))) for prompt in asks]
        decode(self.network, session, feed(self.network, session, asks), runs)
        decoded = iter([run.decoded for run in runs])
        return [[next(decoded) for _ in group] for group in prompts]

    def generate_ids(
        self,
        encoded: Sequence[EncodedImage | None],
        prompts: Sequence[Sequence[Ask]],
        max_new_tokens: int = 20,
    ) -> list[list[list[int]]]:
        """As `generate`: only the ids, without eos."""
        return [[list(d.ids) for d in group] for group in self.generate(encoded, prompts, max_new_tokens)]

    @torch.inference_mode()
    def reason_ids(
        self, encoded: EncodedImage | None, prompt: Ask, max_new_tokens: int = 20
    ) -> tuple[list[int], list[Grounding], list[int]]:
        """Ids of the thoughts, the points they are grounded in (offsets count ids), ids of the answer."""
        reasoned = self._reason(encoded, prompt, max_new_tokens)
        return list(reasoned.ids), grounding(reasoned.chunks, len), list(reasoned.answer.ids)

    def detect_ids(self, encoded: EncodedImage, prompt: Ask, max_objects: int = 50) -> list[dict[str, float]]:
        """Boxes `{x_min, y_min, x_max, y_max}` in units of width and height; they may leave [0, 1]."""
        return self._objects(encoded, prompt, max_objects, "detect")

    def point_ids(self, encoded: EncodedImage, prompt: Ask, max_objects: int = 50) -> list[dict[str, float]]:
        """Points `{x, y}` in units of width and height."""
        return self._objects(encoded, prompt, max_objects, "point")

    @torch.inference_mode()
    def query(
        self,
        image: EncodedImage | None,
        question: str,
        refs: Sequence[Sequence[float]] = (),
        *,
        reasoning: bool = False,
        max_tokens: int = 256,
    ) -> Generation:
        """Answer one question, which may refer to places in the picture.

        Args:
            image: None: about no picture.
            question: what to ask.
            refs: points (x, y) and boxes (x_min, y_min, x_max, y_max), in units of width and height.
            reasoning: think first.
            max_tokens: of the answer, and of the thoughts.

        Raises:
            ValueError: bad references, or a question longer than the context.
        """
        answerer = self._text_model()
        prompt = query(self.config, answerer.tokenizer.encode(question), refs, reasoning=reasoning)
        if image is None:
            prompt = without_image(self.config, prompt)
        if reasoning:
            return answerer.as_reasoned(self._reason(image, prompt, max_tokens))
        return answerer.as_generation(self.generate([image], [[prompt]], max_tokens)[0][0])

    @torch.inference_mode()
    def answer(self, requests: Sequence[Request]) -> list[list[Generation]]:
        """One generation for each prompt of each request.

        May be called from several threads: crops are made side by side, one batch computes at a time.

        Raises:
            ModelError: no tokenizer, or the device failed (lost, out of memory).
        """
        answerer = self._text_model()
        at_once = self.info.max_frames
        results: list[list[Generation]] = []
        for first in range(0, len(requests), at_once):
            part = requests[first : first + at_once]
            crops = self._crops_of(part)
            try:
                with self._device:
                    results += self._answer_together(answerer, part, crops)
            except RuntimeError as error:  # torch's word for whatever the device could not do
                problem = " ".join(str(error).split())[:200]
                raise ModelError(f"{self.info.label} on {self.info.device} failed: {problem}") from error
        return results

    def close(self) -> None:
        """Free the weights."""
        self._resizers.shutdown(wait=False)
        with self._device:
            if self._answerer is not None and self._answerer.static is not None:
                self._answerer.static.memory.free()
                self._answerer.static = None
            self.network.vision.encoder = None
            release(self.network)

    def record(self, programs: Programs) -> None:
        """Answer from now on in few different shapes, over memory that stays: see `static`."""
        memory = Memory(self.network.device, programs)
        self.network.vision.encoder = Tower(self.network.vision, memory, programs)
        self._text_model().static = Decoder(self.network, memory, programs)

    def _crops_of(self, requests: Sequence[Request]) -> list[tuple[Image, Tiling] | str | None]:
        """Crops and tiling of each request, or what is wrong with its picture; None where none is looked at."""
        wanted = [r.image is not None and bool(r.prompts) and not r.check_only for r in requests]
        if sum(wanted) < 2:
            return [self._crops(r) if want else None for r, want in zip(requests, wanted, strict=True)]
        try:
            made = self._resizers.map(self._crops, [r for r, w in zip(requests, wanted, strict=True) if w])
        except RuntimeError:  # the pool is closed
            raise ModelError(f"{self.info.label} is closed") from None
        return [next(made) if want else None for want in wanted]

    def _crops(self, request: Request) -> tuple[Image, Tiling] | str:
        assert request.image is not None
        try:
            return unique_crops(request.image, self.config.vision, fast=request.detail == "fast")
        except ValueError as problem:
            return str(problem)

    def _answer_together(
        self,
        answerer: Answerer,
        requests: Sequence[Request],
        crops: Sequence[tuple[Image, Tiling] | str | None],
    ) -> list[list[Generation]]:
        results: dict[int, list[Generation]] = {}
        pictures: dict[int, tuple[Image, Tiling]] = {}
        blind: list[int] = []
        for i, (request, seen) in enumerate(zip(requests, crops, strict=True)):
            if request.check_only:
                results[i] = answerer.check(request.prompts)
            elif not request.prompts:
                results[i] = []
            elif seen is None:
                blind.append(i)
            elif isinstance(seen, str):
                results[i] = [failed(seen) for _ in request.prompts]
            else:
                pictures[i] = seen
        if blind:
            results |= zip(blind, answerer.answer(None, [requests[i].prompts for i in blind]), strict=True)
        if pictures:
            tokens_BPD = self._image_tokens(list(pictures.values()))
            answers = answerer.answer(tokens_BPD, [requests[i].prompts for i in pictures])
            results |= zip(pictures, answers, strict=True)
        return [results[i] for i in range(len(requests))]

    def _image_tokens(self, pictures: Sequence[tuple[Image, Tiling]]) -> Tensor:
        """Unique crops and tiling of each picture -> image tokens [B, P, D]."""
        # As bytes, a quarter or half of what they become on the device.
        crops_NSSC = self._staging.copy([crops for crops, _ in pictures])
        tokens: Tensor = self.network.vision(crops_NSSC, [grid for _, grid in pictures])
        return tokens

    def _text_model(self) -> Answerer:
        if self._answerer is None:
            raise ModelError(f"{self.info.label}: no tokenizer.json beside the weights; {_TOKENIZER_ADVICE}")
        return self._answerer

    def _open(self, encoded: Sequence[EncodedImage | None], images: Sequence[int]) -> Session:
        """A session of one sequence for each of `images`, which are places in `encoded`."""
        seen = [e for e in encoded if e is not None]
        if not seen:
            return Session(self.network.text, None, images)
        if len(seen) < len(encoded):
            raise ValueError("prompts about a picture and about none cannot go together")
        order = [e.index for e in seen]
        if all(e.batch is seen[0].batch for e in seen) and order == sorted(order):
            return Session(self.network.text, seen[0].batch, [order[i] for i in images])
        return Session(self.network.text, Prefix.join([e.batch.select([e.index]) for e in seen]), images)

    def _room(self, session: Session, prompt: PromptIds) -> int:
        """Positions left in the context after the prompt."""
        return self.config.text.max_context - session.start - len(prompt.ids)

    def _fitting(self, session: Session, ask: Ask) -> PromptIds:
        prompt = ask if isinstance(ask, PromptIds) else PromptIds(tuple(ask))
        if self._room(session, prompt) < 1:
            room = self.config.text.max_context - session.start
            raise ValueError(
                f"the prompt is too long: {len(prompt.ids)} tokens, and the model has room for {room}"
            )
        return prompt

    @torch.inference_mode()
    def _reason(self, encoded: EncodedImage | None, ask: Ask, max_tokens: int) -> Reasoned:
        session = self._open([encoded], [0])
        prompt = self._fitting(session, ask)
        budgets = reason_budgets(self.config, max_tokens, self._room(session, prompt))
        run = ReasonRun(self.config.tokenizer, *budgets)
        decode(self.network, session, feed(self.network, session, [prompt]), [run])
        return run.reasoned

    @torch.inference_mode()
    def _objects(
        self, encoded: EncodedImage, ask: Ask, limit: int, kind: Literal["point", "detect"]
    ) -> list[dict[str, float]]:
        session = self._open([encoded], [0])
        prompt = self._fitting(session, ask)
        limit = min(limit, self._room(session, prompt) // REGION_FEEDS[kind])
        run = ObjectsRun(self.config.tokenizer, limit, kind)
        decode(self.network, session, feed(self.network, session, [prompt]), [run])
        return run.found


_TOKENIZER_ADVICE = f"get {hub.describe(hub.TOKENIZER)}"


def _open_fitting(source: str | Path, device: torch.device) -> Moondream:
    """The model in the device's best number format that its numbers fit into."""
    model = Moondream.from_pretrained(source, device, best_dtype(device))
    problem = float16_problem(model.network) if model.network.dtype == torch.float16 else ""
    if not problem:
        return model
    model.close()
    _logger.warning(
        "%s on %s computes in float32, slower and in twice the memory: float16 is too small (%s)",
        model.info.label,
        device,
        problem,
    )
    return Moondream.from_pretrained(source, device, torch.float32)


def load(spec: str, directory: Path | None = None, options: ModelOptions = AS_IT_LIKES) -> VisionModel:
    """The backend `moondream2`: from `directory`, or `moondream2:DIRECTORY`, or downloaded.

    Raises:
        ModelError: weights or tokenizer are missing, damaged or of another model.
    """
    given = directory or spec.partition(":")[2]
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = _open_fitting(given or hub.REPO, device)
    if model.tokenizer is None:
        raise ModelError(f"moondream2: no {Path(given) / hub.TOKENIZER.name}; {_TOKENIZER_ADVICE}")
    prepare(model.network, options.precision)
    if device.type == "cuda" and os.environ.get(GRAPHS) != "0":
        model.record(Programs(CudaCapture(device)))
    # While a GPU computes, crops of the next batch are made; on a CPU they would take its cores away.
    in_flight = 2 if device.type == "cuda" else 1
    model.info = replace(model.info, max_frames=max_frames(model.network), in_flight=in_flight)
    return model
