import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from streamqa.errors import ModelError
from streamqa.model.base import ModelOptions, open_model
from streamqa.model.moondream import hub
from streamqa.model.moondream import model as model_module
from streamqa.model.moondream.graphs import Programs
from streamqa.model.moondream.model import Moondream, load
from streamqa.model.moondream.prompts import query
from streamqa.types import ModelInfo, Option, Prompt, Request
from tests.model.moondream.tape import capture

YES_NO = (Option(True, ("Yes",)), Option(False, ("No",)))


def _wanted(golden: Any) -> list[list[list[int]]]:
    return [[p["generated_ids"] for p in image["prompts"]] for image in golden.data["images"]]


def _prompts(golden: Any) -> list[list[list[int]]]:
    return [[p["prompt_ids"] for p in image["prompts"]] for image in golden.data["images"]]


def test_ids_one_by_one(golden: Any) -> None:
    for encoded, prompts, wanted in zip(golden.encoded, _prompts(golden), _wanted(golden), strict=True):
        for prompt, ids in zip(prompts, wanted, strict=True):
            assert golden.model.generate_ids([encoded], [[prompt]]) == [[ids]]


def test_ids_all_together(golden: Any) -> None:
    together = golden.model.encode_image(golden.images)
    assert golden.model.generate_ids(together, _prompts(golden)) == _wanted(golden)


def test_ids_of_pictures_encoded_apart(golden: Any) -> None:
    assert golden.model.generate_ids(golden.encoded, _prompts(golden)) == _wanted(golden)


def test_ids_in_any_order_and_number(golden: Any) -> None:
    together = golden.model.encode_image(golden.images)
    order = [3, 0, 4, 3]
    asked = [_prompts(golden)[i][: k + 1] for k, i in enumerate(order)]
    wanted = [_wanted(golden)[i][: k + 1] for k, i in enumerate(order)]
    assert golden.model.generate_ids([together[i] for i in order], asked) == wanted
    assert golden.model.generate_ids(together[:2], [[], _prompts(golden)[1]]) == [[], _wanted(golden)[1]]
    assert golden.model.generate_ids(together[:2], [[], []]) == [[], []]


def test_finish_reasons(golden: Any) -> None:
    got = golden.model.generate(golden.encoded, _prompts(golden))
    wanted = [[p["finish"] for p in image["prompts"]] for image in golden.data["images"]]
    assert [[d.finish for d in group] for group in got] == wanted


def test_reasoning(golden: Any) -> None:
    for encoded, image in zip(golden.encoded, golden.data["images"], strict=True):
        truth = image["reasoning"]
        ids, grounding, answer = golden.model.reason_ids(encoded, truth["prompt_ids"])
        assert (ids, answer) == (truth["reasoning_ids"], truth["answer_ids"])
        spots = [{**spot, "points": [list(p) for p in spot["points"]]} for spot in grounding]
        assert spots == truth["grounding"]


def test_spatial_references(golden: Any) -> None:
    config = golden.model.config
    truths = [image["spatial"] for image in golden.data["images"]]
    asks = [[query(config, t["question_ids"], t["spatial_refs"])] for t in truths]
    assert golden.model.generate_ids(golden.encoded, asks) == [[t["generated_ids"]] for t in truths]
    mixed = [[*asks[i], *_prompts(golden)[i]] for i in range(5)]
    wanted = [[truths[i]["generated_ids"], *_wanted(golden)[i]] for i in range(5)]
    assert golden.model.generate_ids(golden.encoded, mixed) == wanted


@pytest.mark.parametrize("task", ["detect", "point"])
def test_objects(golden: Any, task: str) -> None:
    find = {"detect": golden.model.detect_ids, "point": golden.model.point_ids}[task]
    for encoded, image in zip(golden.encoded, golden.data["images"], strict=True):
        truth = image[task]
        found = find(encoded, truth["prompt_ids"], max_objects=truth["max_objects"])
        assert len(found) == len(truth["result"])
        for got, wanted in zip(found, truth["result"], strict=True):
            assert got == pytest.approx(wanted, abs=1e-6)


def test_text_only(golden: Any) -> None:
    truth = golden.data["text_only"]
    assert golden.model.generate_ids([None], [[truth["prompt_ids"]]]) == [[truth["generated_ids"]]]
    two = golden.model.generate_ids([None, None], [[truth["prompt_ids"]], [truth["prompt_ids"][:5]]])
    assert two[0] == [truth["generated_ids"]]


def test_pictures_and_none_do_not_mix(golden: Any) -> None:
    with pytest.raises(ValueError, match="cannot go together"):
        golden.model.generate([golden.encoded[0], None], [[[1]], [[1]]])


def test_context_ends_generation(golden: Any) -> None:
    room = 512 - 37
    got = golden.model.generate(golden.encoded[:1], [[[1, *[300] * (room - 5)]]], max_new_tokens=50)[0][0]
    assert got.finish == "eos" or len(got.ids) == 4
    with pytest.raises(ValueError, match="too long: 475 tokens, and the model has room for 475"):
        golden.model.generate(golden.encoded[:1], [[[300] * room]])


def test_encoded_image(golden: Any) -> None:
    encoded = golden.encoded[0]
    assert encoded.tokens.shape == (36, 64)
    assert encoded.k_LKTd.shape == encoded.v_LKTd.shape == (3, 4, 37, 16)
    assert golden.model.encode_image([]) == []


def test_query_with_text(toy: Moondream, toy_images: list[Any]) -> None:
    encoded = toy.encode_image(toy_images[:1])[0]
    said = toy.query(encoded, "What?", max_tokens=5)
    ((packed,),) = toy.answer([Request(toy_images[0], (Prompt("What?", max_tokens=5),))])
    # Two ways through the same layers: the words are the same, sums may be rounded in another order.
    assert replace(said, logprob=0.0) == replace(packed, logprob=0.0)
    assert said.logprob == pytest.approx(packed.logprob, rel=1e-6)
    assert toy.query(encoded, "What?", [(0.1, 0.2)], max_tokens=5).finish in ("eos", "length")
    assert toy.query(encoded, "What?", reasoning=True, max_tokens=5).finish in ("eos", "length")
    assert toy.query(None, "What?", max_tokens=5).finish in ("eos", "length")
    with pytest.raises(ValueError, match="spatial"):
        toy.query(encoded, "What?", [(1, 2, 3)])


def test_more_pictures_than_a_pass_takes(
    toy: Moondream, toy_images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [Request(image, (Prompt("What?", max_tokens=3),)) for image in toy_images]
    whole = toy.answer(requests)
    monkeypatch.setattr(toy, "info", replace(toy.info, max_frames=3))
    assert [g[0].text for g in toy.answer(requests)] == [g[0].text for g in whole]
    assert toy.answer([]) == []


def test_device_failure_is_a_model_error(
    toy: Moondream, toy_images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(toy.network.vision, "project", fail)
    with pytest.raises(ModelError, match=r"moondream2@2025-06-21 on cpu failed: CUDA out of memory\. Tried"):
        toy.answer([Request(toy_images[0], (Prompt("What?"),))])


def test_info(toy: Moondream, toy_dir: Path) -> None:
    assert (toy.info.device, toy.info.dtype) == ("cpu", "float32")
    assert toy.info.tasks == {"query", "reason", "caption", "point", "detect"}
    info = ModelInfo("other", "1", "cpu", "float32", frozenset({"query"}))
    assert Moondream.from_pretrained(toy_dir, info=info).info is info


def test_ids_need_no_tokenizer_but_text_does(golden: Any) -> None:
    assert golden.model.tokenizer is None
    with pytest.raises(ModelError, match="starmie"):
        golden.model.answer([Request(None, (Prompt("What?"),))])


def test_backend_opens_a_directory(toy_dir: Path) -> None:
    for opened in (open_model("moondream2", toy_dir), open_model(f"moondream2:{toy_dir}")):
        assert opened.answer([Request(None, (Prompt("What?", max_tokens=2),))])[0][0].finish != "error"
        opened.close()
        opened.close()
        with pytest.raises(ModelError):
            opened.answer([Request(None, (Prompt("What?"),))])


def _one_line(*words: str) -> Any:
    return pytest.raises(ModelError, match=r"^[^\n]*" + r"[^\n]*".join(words) + r"[^\n]*$")


def test_directory_without_weights(tmp_path: Path) -> None:
    with _one_line("model.safetensors", r"3\.9 GB", "tokenizer.json", "--model tiny"):
        load("moondream2", tmp_path)


def test_directory_without_tokenizer(toy_dir: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        shutil.copy(toy_dir / name, tmp_path / name)
    with _one_line("tokenizer.json", "starmie"):
        load("moondream2", tmp_path)


def test_directory_with_the_wrong_tokenizer(toy_dir: Path, tmp_path: Path) -> None:
    for path in toy_dir.iterdir():
        shutil.copy(path, tmp_path / path.name)
    text = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text.replace('"Ye"', '"No"', 0).replace("endoftext", "other"))
    with _one_line("wrong tokenizer"):
        load("moondream2", tmp_path)


def test_unknown_place() -> None:
    with _one_line("nowhere", "vikhyatk/moondream2"):
        Moondream.from_pretrained("nowhere/at-all")


def test_no_weights_and_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def offline() -> None:
        raise OSError("no network")

    monkeypatch.setattr(hub, "_look_up_hub", offline)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    with _one_line("model.safetensors", r"3\.9 GB", "--model tiny"):
        load("moondream2")


def test_loaded_for_the_engine(toy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "max_frames", lambda network: 7)
    opened = load("moondream2", toy_dir, ModelOptions("cpu"))
    assert (opened.info.max_frames, opened.info.in_flight) == (7, 1)
    opened.close()


@pytest.mark.parametrize("fits", [True, False])
def test_float16_only_if_the_numbers_fit(
    toy_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fits: bool,
) -> None:
    for path in toy_dir.iterdir():
        shutil.copy(path, tmp_path / path.name)
    if not fits:
        weights = load_file(tmp_path / "model.safetensors")
        next(t for name, t in weights.items() if name.endswith("blocks.1.mlp.fc2.weight"))[0, 0] = 1e5
        save_file(weights, tmp_path / "model.safetensors")
    monkeypatch.setattr(model_module, "best_dtype", lambda device: torch.float16)
    opened = load("moondream2", tmp_path, ModelOptions("cpu"))
    assert opened.info.dtype == ("float16" if fits else "float32")
    assert len(caplog.messages) == (0 if fits else 1)
    assert all("1 of its tensors do not fit" in line and "float32" in line for line in caplog.messages)
    assert opened.answer([Request(None, (Prompt("What?", max_tokens=2),))])[0][0].finish != "error"
    opened.close()


def test_recorded_answers_are_those_of_the_plain_path(toy_dir: Path, toy_images: list[Any]) -> None:
    plain, recorded = (Moondream.from_pretrained(toy_dir) for _ in range(2))
    programs = Programs(capture, patience=1)
    recorded.record(programs)
    prompts = (Prompt("What?", max_tokens=9), Prompt("Where?", task="point"), Prompt("Why?", task="reason"))
    requests = [Request(image, prompts) for image in toy_images]
    for _ in range(3):
        for mine, other in zip(recorded.answer(requests), plain.answer(requests), strict=True):
            assert [(g.text, g.points, g.reasoning) for g in mine] == [
                (g.text, g.points, g.reasoning) for g in other
            ]
    assert {key[0] for key in programs.recorded} == {"tower", "look", "step"}  # type: ignore[index]
    recorded.close()
    assert programs.recorded == []


@pytest.mark.gpu
def test_a_gpu_answers_like_the_cpu(toy_dir: Path, toy_images: list[Any]) -> None:
    plain, opened = Moondream.from_pretrained(toy_dir), load("moondream2", toy_dir, ModelOptions("cuda"))
    assert opened.info.in_flight == 2
    requests = [Request(image, (Prompt("Is it?", options=YES_NO), Prompt("What?"))) for image in toy_images]
    for _ in range(5):
        for mine, other in zip(opened.answer(requests), plain.answer(requests), strict=True):
            assert mine[0].option_probs == pytest.approx(other[0].option_probs, abs=0.02)
            assert mine[1].finish != "error"
    opened.close()
