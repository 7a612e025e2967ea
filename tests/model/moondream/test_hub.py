import hashlib
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from streamqa.errors import ModelError
from streamqa.model.moondream import hub

CONTENT = b"weights"
FILE = hub.PinnedFile("a/b", "c" * 40, "model.safetensors", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A hub in a folder: `cached` is what the cache has, `content` what a download brings."""
    state: dict[str, Any] = {"cached": None, "content": CONTENT, "asked": []}

    def download(repo: str, name: str, *, revision: str) -> str:
        state["asked"].append((repo, name, revision))
        if isinstance(state["content"], Exception):
            raise state["content"]
        path = tmp_path / name
        path.write_bytes(state["content"])
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: state["cached"])
    monkeypatch.setattr(hub, "_look_up_hub", lambda: None)
    return state


def test_pinned_revision_is_fetched(remote: dict[str, Any]) -> None:
    assert hub.fetch(FILE).read_bytes() == CONTENT
    assert remote["asked"] == [("a/b", "model.safetensors", "c" * 40)]


def test_cached_file_is_not_fetched(remote: dict[str, Any], tmp_path: Path) -> None:
    cached = tmp_path / "cached"
    cached.write_bytes(CONTENT)
    remote["cached"] = str(cached)
    assert hub.fetch(FILE) == cached
    assert remote["asked"] == []


def test_cached_file_of_another_size_is_fetched_again(remote: dict[str, Any], tmp_path: Path) -> None:
    cached = tmp_path / "cached"
    cached.write_bytes(CONTENT[:3])
    remote["cached"] = str(cached)
    assert hub.fetch(FILE).read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_removed(remote: dict[str, Any], tmp_path: Path) -> None:
    remote["content"] = b"WEIGHTS"
    with pytest.raises(ModelError, match="sha256"):
        hub.fetch(FILE)
    assert not (tmp_path / "model.safetensors").exists()


def test_no_network_is_one_line_that_says_what_to_do(remote: dict[str, Any]) -> None:
    remote["content"] = OSError("no route\nto host")
    with pytest.raises(ModelError) as caught:
        hub.fetch(hub.WEIGHTS)
    message = str(caught.value)
    assert "\n" not in message
    for word in ("model.safetensors", "3.9 GB", "vikhyatk/moondream2", "tokenizer.json", "--model tiny"):
        assert word in message


def test_no_name_service_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_name(*_: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(hub.socket, "getaddrinfo", no_such_name)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(ModelError, match="could not be downloaded"):
        hub.fetch(FILE)


def test_proxies_look_names_up_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy"})
    monkeypatch.setattr(hub.socket, "getaddrinfo", lambda *_: pytest.fail("asked"))
    hub._look_up_hub()


def test_sizes_are_readable() -> None:
    assert "3.7 MB" in hub.describe(hub.TOKENIZER)
