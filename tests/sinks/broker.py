"""A real broker, mosquitto, on a free port; and an ear that hears all it says."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("paho.mqtt.client", reason="aiomqtt is not installed; pip install 'streamqa[mqtt]'")

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin:/usr/bin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
WAIT_S = 20.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Mosquitto:
    """The broker: can be killed, and come back on the same port knowing nothing any more."""

    def __init__(self, folder: Path, *lines: str) -> None:
        """`lines`: more of its configuration."""
        self.port = free_port()
        self._settings = folder / "mosquitto.conf"
        # Started as root, it would become somebody who cannot read the files of these tests.
        self._settings.write_text(
            "\n".join(["user root", f"listener {self.port} 127.0.0.1", *(lines or ["allow_anonymous true"])])
        )
        self._process: subprocess.Popen[str] | None = None
        self._rest: threading.Thread | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-v", "-c", str(self._settings)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if line.rstrip().endswith("running"):
                break
        else:
            self.kill()
            raise AssertionError(f"mosquitto did not start: {''.join(said)}")
        # Nobody needs the rest, and a full pipe would stop it.
        self._rest = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._rest.start()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(WAIT_S)
            if self._rest is not None:
                self._rest.join(WAIT_S)
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = self._rest = None


class Ear:
    """Hears everything, and what the broker retains."""

    def __init__(self, port: int, **login: str) -> None:
        self._changed = threading.Condition()
        self.heard: list[tuple[str, bytes, bool]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        if login:
            self._client.username_pw_set(**login)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        ready = threading.Event()
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(WAIT_S)

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        with self._changed:
            self.heard.append((message.topic, message.payload, bool(message.retain)))
            self._changed.notify_all()

    def wait(self, is_so: Callable[[Ear], Any], timeout_s: float = WAIT_S) -> Any:
        """What `is_so` gives once it is true."""
        with self._changed:
            found = self._changed.wait_for(lambda: is_so(self), timeout_s)
            assert found, f"heard only {self.heard[-20:]}"
            return found

    def wait_for(self, topic: str, payload: str, timeout_s: float = WAIT_S) -> None:
        """Until the newest payload of `topic` is this one."""
        self.wait(lambda ear: ear.newest.get(topic) == payload.encode(), timeout_s)

    @property
    def newest(self) -> dict[str, bytes]:
        """The newest payload of each topic."""
        return {topic: payload for topic, payload, _ in list(self.heard)}

    def all_of(self, topic: str) -> list[bytes]:
        return [payload for name, payload, _ in list(self.heard) if name == topic]

    def json_of(self, topic: str) -> Any:
        """The newest payload of a topic; nothing in it where there is none."""
        return json.loads(self.newest.get(topic) or "{}")

    def say(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, 1, retain=retain).wait_for_publish(WAIT_S)

    def forget(self) -> None:
        with self._changed:
            self.heard.clear()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def hearing(port: int, **login: str) -> Iterator[Ear]:
    ear = Ear(port, **login)
    try:
        yield ear
    finally:
        ear.close()


@contextmanager
def broker(folder: Path, *lines: str) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(folder, *lines)
    try:
        yield mosquitto
    finally:
        mosquitto.kill()
