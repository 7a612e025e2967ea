"""Trains the embedded model: `python -m streamqa.model.tiny.train --out DIR`.

First the vision tower alone on labels, then everything on questions. By steps and seeded; a checkpoint every few
hundred steps holds what is needed to go on, and its averaged weights can be exported at any time.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from streamqa.model.tiny import asking, data, labels
from streamqa.model.tiny.network import Network
from streamqa.model.tiny.optim import Optimizer
from streamqa.model.tiny.sizes import Sizes
from streamqa.model.tiny.tokens import load_tokenizer, train_tokenizer


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the result, apart from rounding."""

    seed: int = 1
    ranks: int = 2
    stage: str = "vision"
    steps: int = 2500
    pictures: int = 24  # per rank and step
    fresh: int = 6  # of them newly rendered
    keep: int = 12_000
    muon_lr: float = 0.02
    adam_lr: float = 2e-3
    warmup: int = 60
    decay: float = 0.6  # the share of the steps over which the rate falls to 5 %
    auxiliary: float = 0.3
    average: float = 0.998
    every: int = 200  # steps between checkpoints
    validation: int = 200  # scenes
    validate_every: int = 400
    sizes: Sizes = field(default_factory=Sizes)


class Trainer:
    """One process of a training."""

    def __init__(self, recipe: Recipe, rank: int, out: Path) -> None:
        """`out` is where checkpoints and the log go."""
        torch.manual_seed(recipe.seed)
        self.recipe, self.rank, self.out = recipe, rank, out
        self.network = Network(recipe.sizes).bfloat16()
        self.heads = labels.Heads(recipe.sizes).bfloat16()
        self.optimizer = Optimizer({"network": self.network, "heads": self.heads}, recipe.average)
        self.step = 0
        self.tokenizer = load_tokenizer(out / "tokenizer.json")
        self.log: dict[str, list[float]] = {}

    @property
    def joint(self) -> bool:
        """Whether questions are trained, not only the vision tower."""
        return self.recipe.stage != "vision"

    def run(self) -> None:
        """Train to the end of the stage."""
        recipe = self.recipe
        rng = random.Random(f"{recipe.seed} {recipe.stage} {self.rank} {self.step}")
        source = data.examples(rng, recipe.sizes.crop, recipe.sizes.grid)
        pool = data.Pool(source, rng, recipe.keep)
        began, since = time.time(), self.step
        while self.step < recipe.steps:
            examples = pool.batch(recipe.pictures, recipe.fresh)
            loss, right = self.loss(examples, rng)
            loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
            flat = self.optimizer.gradients()
            if recipe.ranks > 1:
                dist.all_reduce(flat)
                flat /= recipe.ranks
            rate = schedule(self.step, recipe)
            self.note(
                loss=float(loss.detach()),
                norm=self.optimizer.step(flat, recipe.muon_lr * rate, recipe.adam_lr * rate),
                **right,
            )
            self.step += 1
            if self.step % 50 == 0 and self.rank == 0:
                per_s = (self.step - since) * recipe.pictures * recipe.ranks / (time.time() - began)
                self.report(
                    f"{time.strftime('%H:%M:%S')} {recipe.stage} {self.step}/{recipe.steps} {per_s:.0f}/s"
                )
            if (self.step % recipe.every == 0 or self.step == recipe.steps) and self.rank == 0:
                self.save()
            if self.joint and self.rank == 0 and self.step % recipe.validate_every == 0:
                for heldout in (False, True):
                    print(
                        f"   VALIDATION{' HELDOUT' if heldout else ''} {self.step}",
                        self.validate(heldout),
                        flush=True,
                    )

    def loss(self, examples: list[data.Example], rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch and some accuracies."""
        features = self.network.vision.features(data.tensor([e.image for e in examples], torch.bfloat16))
        seen, right = labels.loss(self.heads, features, [e.labels for e in examples])
        if not self.joint:
            return seen, right
        packed = asking.training_questions(examples, rng, self.tokenizer, self.recipe.sizes.prefix)
        said, right = asking.loss(self.network, features, packed)
        return said + self.recipe.auxiliary * seen, {"seen": float(seen.detach()), **right}

    @torch.no_grad()
    def validate(self, heldout: bool) -> str:
        """Accuracy by type of the averaged weights on validation scenes, as text."""
        recipe = self.recipe
        self.optimizer.show(means=True)
        rng = random.Random(data.VALIDATION_SEED)
        source = data.examples(rng, recipe.sizes.crop, recipe.sizes.grid)
        total: dict[str, tuple[int, int]] = {}
        for _ in range(recipe.validation // 20):
            examples = [next(source) for _ in range(20)]
            features = self.network.vision.features(data.tensor([e.image for e in examples], torch.bfloat16))
            packed = asking.validation_questions(
                [e.facts for e in examples], rng, self.tokenizer, recipe.sizes.prefix, heldout
            )
            scores, places, _ = asking.logits(self.network, features, packed)
            for name, (good, asked) in asking.right(scores, places, packed).items():
                before = total.get(name, (0, 0))
                total[name] = (before[0] + good, before[1] + asked)
        self.optimizer.show(means=False)
        return " ".join(f"{name} {good / asked:.3f}" for name, (good, asked) in sorted(total.items()))

    def note(self, **values: float) -> None:
        """Remember values for the next report."""
        for name, value in values.items():
            self.log.setdefault(name, []).append(value)

    def report(self, head: str) -> None:
        """Write the mean of what was noted since the last report."""
        self.log = dict(
            sorted(self.log.items(), key=lambda item: (item[0] not in ("loss", "norm", "seen"), item[0]))
        )
        means = " ".join(f"{k} {sum(v) / len(v):.3f}" for k, v in self.log.items())
        print(head, means, flush=True)
        self.log.clear()

    def save(self) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {"recipe": asdict(self.recipe), "step": self.step, "optimizer": self.optimizer.state()}
        torch.save(state, self.out / "next.tmp")
        (self.out / "next.tmp").replace(self.out / f"{self.recipe.stage}.pt")

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint: of the same stage with everything, of another one with its weights only."""
        state: dict[str, Any] = torch.load(path, weights_only=True)
        same = state["recipe"]["stage"] == self.recipe.stage
        self.optimizer.restore(state["optimizer"], momentum=same)
        self.step = state["step"] if same else 0


def schedule(step: int, recipe: Recipe) -> float:
    """The share of the full learning rate at a step: warm-up, constant, straight down to 5 %."""
    left = (recipe.steps - step) / max(1.0, recipe.decay * recipe.steps)
    return min(1.0, (step + 1) / recipe.warmup, max(0.05, left))


def work(rank: int, recipe: Recipe, out: Path, start: Path | None) -> None:
    """One process."""
    torch.set_num_threads(1)
    if recipe.ranks > 1:
        meet = (out / "ranks").resolve().as_uri()
        dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=recipe.ranks)
    trainer = Trainer(recipe, rank, out)
    if start is not None:
        trainer.restore(start)
    trainer.run()
    if recipe.ranks > 1:
        dist.destroy_process_group()


def train(recipe: Recipe, out: Path, start: Path | None = None) -> None:
    """Train one stage, from a checkpoint if there is one."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "ranks").unlink(missing_ok=True)
    if not (out / "tokenizer.json").exists():
        train_tokenizer(recipe.sizes.vocab).save(str(out / "tokenizer.json"))
    (out / f"{recipe.stage}.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
    if recipe.ranks == 1:
        work(0, recipe, out, start)
    else:
        spawn(work, (recipe, out, start), nprocs=recipe.ranks)  # type: ignore[no-untyped-call]


def main() -> None:
    """Command line: every number of the recipe is an option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from")
    defaults = Recipe()
    for name, value in asdict(defaults).items():
        if name != "sizes":
            parser.add_argument(f"--{name}", type=type(value), default=value)
    options = vars(parser.parse_args())
    out, start = options.pop("out"), options.pop("start")
    train(Recipe(**options), out, start)


if __name__ == "__main__":
    main()
