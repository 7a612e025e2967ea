"""`streamqa run` on a public address, as a process: tokens, TLS, and what may be added from outside."""

from __future__ import annotations

import json
import re
import shutil
import signal
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.cli.process import COMMAND, ENVIRONMENT

LINE = """
model: tiny
sources: {gate: scene:gate}
questions: {person: {ask: "Is there a person?", kind: yes_no}}
"""
TOKEN = "admin-token-0123456789"
TOKENS = "tokens: [{name: me, scope: admin, token: '${STREAMQA_TOKEN}'}]"


def refused(folder: Path, serve: str, token: str = TOKEN) -> str:
    """The one line with which it does not start."""
    (folder / "c.yaml").write_text(f"{LINE}\nserve: {{{serve}}}\n")
    done = subprocess.run(
        [*COMMAND, "run", "c.yaml", "--port", "0"],
        capture_output=True, text=True, timeout=60, cwd=folder, env=ENVIRONMENT | {"STREAMQA_TOKEN": token},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert token not in done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_doors_that_cannot_be_locked_are_not_opened(tmp_path: Path) -> None:
    line = refused(tmp_path, "host: 0.0.0.0")
    assert "no token is set" in line
    assert "secrets.token_urlsafe(32)" in line
    assert "too short" in refused(tmp_path, f"host: 0.0.0.0, {TOKENS}", "tiny-word")
    (tmp_path / "cert.pem").write_text("none")
    assert "no certificate and key" in refused(tmp_path, f"{TOKENS}, tls: {{cert: cert.pem, key: cert.pem}}")
    assert "missing.pem: cannot be read" in refused(tmp_path, f"{TOKENS}, tls: {{cert: missing.pem, key: x}}")
    assert "missing: cannot be read" in refused(tmp_path, "tokens: [{name: me, file: missing}]")


def asked(url: str, context: ssl.SSLContext, body: Any = None, **headers: str) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def new(url: str) -> dict[str, Any]:
    return {"id": "door", "settings": {"url": url}}


def test_a_public_server_with_tls_and_a_token(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*make.split(), *names], check=True, capture_output=True, cwd=tmp_path)
    serve = f"serve: {{host: 0.0.0.0, {TOKENS}, tls: {{cert: cert.pem, key: key.pem}}}}"
    (tmp_path / "c.yaml").write_text(f"{LINE}\n{serve}\n")
    process = subprocess.Popen(
        [*COMMAND, "run", "c.yaml", "--port", "0"],
        stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT | {"STREAMQA_TOKEN": TOKEN},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        found = re.search(r"https://127\.0\.0\.1:\d+/", process.stderr.readline())
        assert found
        url, context = found[0], ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        assert asked(url + "healthz", context) == (200, {"ok": True})
        assert asked(url + "api/info", context)[0] == 401
        me = {"authorization": f"Bearer {TOKEN}"}
        until_s = time.monotonic() + 30
        while asked(url + "readyz", context, **me)[0] != 200 and time.monotonic() < until_s:
            time.sleep(0.05)  # changes wait for the model
        assert asked(url + "api/visitor", context, **me)[1] == {
            "name": "me",
            "scope": "admin",
            "session": False,
        }
        for private in (
            "http://127.0.0.1:9/x",
            "rtsp://0x7f.1/x",
            "file:/etc/passwd",
            "/etc/passwd",
            "webcam:0",
        ):
            status, told = asked(url + "api/sources", context, new(private), **me)
            assert (status, told["code"]) == (403, "not_allowed"), (private, told)
        assert asked(url + "api/sources", context, new("scene:gate?seed=7"), **me)[0] == 201
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.stderr.close()
