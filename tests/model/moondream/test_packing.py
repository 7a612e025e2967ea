from typing import Any

import numpy as np
import pytest
import torch

from streamqa.model.moondream.model import Moondream
from streamqa.model.moondream.packing import SLOT_STEP, Session
from streamqa.model.moondream.prompts import PromptIds, query
from streamqa.model.moondream.text import Prefix


def _prefix(toy: Moondream, images: list[Any]) -> Prefix:
    return toy.encode_image(images)[0].batch


@torch.inference_mode()
def test_hidden_states_of_the_reference(golden: Any) -> None:
    network = golden.model.network
    for i, image in enumerate(golden.data["images"]):
        for j, prompt in enumerate(image["prompts"]):
            session = Session(network.text, golden.encoded[i].batch, [0])
            ids = torch.tensor(prompt["prompt_ids"])
            hidden = session.feed(network.text.embed(ids), [len(ids)])
            golden.close(hidden, f"img{i}.p{j}.hidden")
            expected = golden.arrays[f"img{i}.p{j}.logits"]
            golden.close(network.text.logits(hidden)[-len(expected) :], f"img{i}.p{j}.logits")
            fed = torch.tensor(prompt["generated_ids"], dtype=torch.int64)
            rows = [session.feed(network.text.embed(token[None]), [1]) for token in fed]
            steps = torch.cat([hidden[-1:], *rows])
            golden.close(steps, f"img{i}.p{j}.final_hidden")
            golden.close(network.text.logits(steps), f"img{i}.p{j}.step_logits")


@torch.inference_mode()
def test_all_prompts_of_all_pictures_in_one_forward(golden: Any) -> None:
    network = golden.model.network
    batch = golden.model.encode_image(golden.images)[0].batch
    prompts = [(i, p["prompt_ids"]) for i, d in enumerate(golden.data["images"]) for p in d["prompts"]]
    session = Session(network.text, batch, [i for i, _ in prompts])
    counts = [len(ids) for _, ids in prompts]
    hidden = session.feed(network.text.embed(torch.tensor([t for _, ids in prompts for t in ids])), counts)
    for k, part in enumerate(hidden.split(counts)):
        golden.close(part, f"img{k // 4}.p{k % 4}.hidden")


@torch.inference_mode()
def test_chunks_equal_one_piece(toy: Moondream, toy_images: list[Any]) -> None:
    text = toy.network.text
    x = text.embed(torch.arange(20, 20 + 2 * (SLOT_STEP + 9)))
    half = len(x) // 2
    prefix = _prefix(toy, toy_images)
    whole = Session(text, prefix, [1, 3]).feed(x, [half, half])
    session, parts = Session(text, prefix, [1, 3]), []
    for start, stop in ((0, 7), (7, 8), (8, half)):  # the last piece makes the cache grow
        rows = torch.cat([x[start:stop], x[half + start : half + stop]])
        parts.append(session.feed(rows, [stop - start] * 2).unflatten(0, (2, -1)))
    torch.testing.assert_close(torch.cat(parts, dim=1).flatten(0, 1), whole, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_sequences_that_leave_do_not_disturb(toy: Moondream, toy_images: list[Any]) -> None:
    text, prefix = toy.network.text, _prefix(toy, toy_images)
    images, counts = [0, 0, 1, 2, 3], [4, 2, 6, 1, 3]
    tokens = torch.arange(30, 30 + sum(counts))
    starts = np.cumsum(counts) - counts
    session = Session(text, prefix, images)
    session.feed(text.embed(tokens), counts)
    alive = [0, 1, 2, 3, 4]
    for keep in ([0, 2, 3, 4], [1, 3], [1]):
        session.keep(keep)
        alive = [alive[k] for k in keep]
        together = session.feed(text.embed(torch.tensor(alive) + 60), [1] * len(alive))
        for row, n in enumerate(alive):
            fed = [60 + n] * {4: 1, 2: 2, 1: 3}[len(alive)]
            alone = Session(text, prefix, [images[n]])
            own = [*tokens[starts[n] : starts[n] + counts[n]].tolist(), *fed]
            hidden = alone.feed(text.embed(torch.tensor(own)), [len(own)])
            torch.testing.assert_close(together[row], hidden[-1], atol=1e-4, rtol=1e-4)
    assert session.prefix is not None
    assert len(session.prefix) == 1


def test_unused_pictures_are_left_out_without_a_copy(toy: Moondream, toy_images: list[Any]) -> None:
    prefix = _prefix(toy, toy_images)
    session = Session(toy.network.text, prefix, [1, 1, 2])
    assert session.prefix is not None
    assert session.prefix.keys[1].data_ptr() == prefix.keys[1][1].data_ptr()
    assert session.images == [0, 0, 1]
    # Three of four with a gap stay as they are: copying them would cost more than it saves.
    assert Session(toy.network.text, prefix, [0, 1, 3]).prefix is prefix


def test_prompts_share_one_prefix(toy: Moondream, toy_images: list[Any]) -> None:
    prefix = _prefix(toy, toy_images)
    session = Session(toy.network.text, prefix, [0] * 5 + [1] * 2 + [2] + [3])
    assert session.prefix is prefix


def test_sequences_are_sorted_by_picture(toy: Moondream, toy_images: list[Any]) -> None:
    with pytest.raises(ValueError, match="sorted"):
        Session(toy.network.text, _prefix(toy, toy_images), [1, 0])


@pytest.mark.parametrize("step", [1, 16])
@pytest.mark.parametrize("n_images", [1, 4])
@torch.inference_mode()
def test_pictures_and_prompts_in_one_forward(
    toy: Moondream, toy_images: list[Any], monkeypatch: pytest.MonkeyPatch, step: int, n_images: int
) -> None:
    encoded = toy.encode_image(toy_images[:n_images])
    images = [0, 0] if n_images == 1 else [0, 0, 1, 3]
    counts = [3, 5, 2, 4][: len(images)]
    x = toy.network.text.embed(torch.arange(40, 40 + sum(counts)))
    apart = Session(toy.network.text, encoded[0].batch, images)
    expected = [apart.feed(x, counts), apart.feed(x[: len(images)], [1] * len(images))]
    monkeypatch.setattr(toy.network.text, "slot_step", step)
    tokens = torch.stack([e.tokens for e in encoded])
    session, hidden = toy.network.look(tokens, images, (x, counts, []))
    assert session.prefix is not None
    assert session.prefix.keys[0].shape[2] == (32 if step == 16 else 17)
    torch.testing.assert_close(hidden, expected[0], atol=1e-4, rtol=1e-4)
    going_on = session.feed(x[: len(images)], [1] * len(images))
    torch.testing.assert_close(going_on, expected[1], atol=1e-4, rtol=1e-4)


class Fork:
    """Two branches, of two rows and of one."""

    depths = np.array([1, 2, 1])
    sees = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)


@torch.inference_mode()
def test_branches_do_not_see_each_other(toy: Moondream, toy_images: list[Any], naive_logits: Any) -> None:
    text, encoded = toy.network.text, toy.encode_image(toy_images)
    prompt, branches = [20, 21, 22], [30, 31, 32]
    session = Session(text, encoded[0].batch, [0, 2, 2])
    ids = torch.tensor([40, 41, *prompt, *branches, 50])
    hidden = session.feed(text.embed(ids), [2, 6, 1], [None, Fork(), None])
    logits = text.logits(hidden)
    for row, path in ((4, []), (5, [30]), (6, [30, 31]), (7, [32])):
        expected = naive_logits(toy, encoded[2], prompt + path)[-1]
        torch.testing.assert_close(logits[row], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits[1], naive_logits(toy, encoded[0], [40, 41])[-1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits[8], naive_logits(toy, encoded[2], [50])[-1], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_text_without_a_picture_is_causal_from_position_zero(toy: Moondream, naive_logits: Any) -> None:
    session = Session(toy.network.text, None, [0, 0])
    ids = [[0, 60, 61, 62], [0, 70]]
    hidden = session.feed(toy.network.text.embed(torch.tensor(ids[0] + ids[1])), [4, 2])
    expected = torch.cat([naive_logits(toy, None, i) for i in ids])
    torch.testing.assert_close(toy.network.text.logits(hidden), expected, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_bfloat16_stays_near(golden: Any) -> None:
    model = Moondream.from_pretrained(golden.directory, dtype=torch.bfloat16)
    for i, image in enumerate(golden.data["images"]):
        encoded = model.encode_image([golden.images[i]])[0]
        for j, prompt in enumerate(image["prompts"]):
            session = Session(model.network.text, encoded.batch, [0])
            ids = torch.tensor(prompt["prompt_ids"])
            got = model.network.text.logits(session.feed(model.network.text.embed(ids), [len(ids)])[-1:])[0]
            expected = golden.arrays[f"img{i}.p{j}.logits"][-1]
            assert (got - expected).norm() / expected.norm() <= 0.04


@torch.inference_mode()
def test_places_step_by_step(golden: Any) -> None:
    network = golden.model.network
    for i, image in enumerate(golden.data["images"]):
        for kind in ("detect", "point"):
            session = Session(network.text, golden.encoded[i].batch, [0])
            ids = torch.tensor(image[kind]["prompt_ids"])
            hidden = session.feed(network.text.embed(ids), [len(ids)])
            golden.close(network.text.logits(hidden[-3:]), f"img{i}.{kind}.logits")
            steps = [hidden[-1:]]
            sizes = iter(image[kind]["size_bins"])
            for n, coord in enumerate(image[kind]["coord_bins"]):
                x = network.region.embed_coord(torch.tensor([[coord / 1024]]))
                steps.append(session.feed(x, [1]))
                if kind == "detect" and n % 2 == 1:
                    size = torch.tensor([[2 ** (b / 1023 * 10 - 10) for b in next(sizes)]])
                    steps.append(session.feed(network.region.embed_size(size), [1]))
            golden.close(torch.cat(steps), f"img{i}.{kind}.step_hidden")
            every = 3 if kind == "detect" else 2
            golden.close(network.text.logits(torch.cat(steps[::every])), f"img{i}.{kind}.next_logits")


@torch.inference_mode()
def test_references_and_text_only_step_by_step(golden: Any) -> None:
    network, config = golden.model.network, golden.model.config
    cases = [
        (
            "text_only",
            None,
            PromptIds(tuple(golden.data["text_only"]["prompt_ids"])),
            golden.data["text_only"],
        )
    ]
    for i, image in enumerate(golden.data["images"]):
        prompt = query(config, image["spatial"]["question_ids"], image["spatial"]["spatial_refs"])
        cases.append((f"img{i}.spatial", golden.encoded[i].batch, prompt, image["spatial"]))
    for name, prefix, prompt, truth in cases:
        session = Session(network.text, prefix, [0])
        hidden = session.feed(network.embed([prompt]), [len(prompt.ids)])
        wanted = golden.arrays[f"{name}.logits"]
        golden.close(network.text.logits(hidden[-len(wanted) :]), f"{name}.logits")
        tokens = torch.tensor(truth["generated_ids"])
        steps = torch.cat([hidden[-1:], *(session.feed(network.text.embed(t[None]), [1]) for t in tokens)])
        golden.close(network.text.logits(steps), f"{name}.step_logits")
