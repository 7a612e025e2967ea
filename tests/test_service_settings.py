import pytest
from pydantic import ValidationError

from streamqa.service_settings import LogConfig, ServeConfig, is_loopback


def test_defaults_keep_the_doors_closed_and_the_disk_bounded() -> None:
    assert ServeConfig().host == "127.0.0.1"
    assert "file" not in ServeConfig().add.schemes
    log = LogConfig()
    assert log.keep == 30 * 86_400 * 10**9
    assert log.size != "off"


def test_retention_can_be_switched_off() -> None:
    log = LogConfig.model_validate({"keep": "off", "size": "off", "evidence": "off"})
    assert (log.keep, log.size, log.evidence) == (0, "off", 0)


@pytest.mark.parametrize("size", ["", "10", "ten GB", "-1 GB"])
def test_a_size_has_a_unit(size: str) -> None:
    with pytest.raises(ValidationError):
        LogConfig.model_validate({"size": size})


@pytest.mark.parametrize(("host", "expected"), [
    ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("LOCALHOST", True),
    ("0.0.0.0", False), ("::", False), ("10.0.0.7", False), ("camera.example", False),
])  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


GOOD = "a-token-that-is-long-enough"


def refusal(**settings: object) -> str:
    with pytest.raises(ValidationError) as caught:
        ServeConfig.model_validate(settings)
    (error,) = caught.value.errors()
    return str(error["msg"])


def test_an_address_open_to_the_network_needs_a_token_and_says_how() -> None:
    for host in ("0.0.0.0", "::", "10.0.0.7", "camera.example"):
        text = refusal(host=host)
        assert "no token is set" in text
        assert "tokens: [" in text
        assert "secrets.token_urlsafe(32)" in text
        assert "\n" not in text
        assert ServeConfig.model_validate({"host": host, "tokens": [{"name": "me", "token": GOOD}]})
    for host in ("127.0.0.1", "::1", "localhost", "127.0.0.2"):
        assert not ServeConfig.model_validate({"host": host}).tokens


@pytest.mark.parametrize(
    "token", ["", "tiny!", "x" * 15, "with spaces in it, and long", "grün-und-lang-genug-ist-das", "x" * 513]
)
def test_bad_tokens_are_refused_with_how_to_make_one_and_never_quoted(token: str) -> None:
    text = refusal(tokens=[{"name": "dash", "token": token}])
    assert "'dash'" in text
    assert "secrets.token_urlsafe(32)" in text
    assert not token or token not in text


@pytest.mark.parametrize("token", ["x" * 16, "A9._~+/-A9._~+/-==", "x" * 512])
def test_good_tokens(token: str) -> None:
    assert ServeConfig.model_validate({"tokens": [{"name": "dash", "token": token}]}).tokens[0].token == token


def test_a_token_has_one_secret_and_a_name_of_its_own() -> None:
    assert "one of both" in refusal(tokens=[{"name": "a"}])
    assert "one of both" in refusal(tokens=[{"name": "a", "token": GOOD, "file": "f"}])
    assert "called 'a'" in refusal(tokens=[{"name": "a", "file": "f"}, {"name": "a", "file": "g"}])
    same = refusal(tokens=[{"name": "a", "token": GOOD}, {"name": "b", "token": GOOD}])
    assert "'a' and 'b' are the same" in same
    assert GOOD not in same


def test_a_token_is_not_shown_by_repr() -> None:
    assert GOOD not in repr(ServeConfig.model_validate({"tokens": [{"name": "a", "token": GOOD}]}))


@pytest.mark.parametrize(
    "host", ["http://10.0.0.7", "10.0.0.0/40", "300.1.1.1", "a b", "*", "*.", "cam*.lan", "a..b"]
)
def test_hosts_that_are_neither_name_nor_network(host: str) -> None:
    assert "write a name" in refusal(add={"hosts": [host]})


@pytest.mark.parametrize(
    "host", ["10.0.0.0/8", "10.0.0.7", "10.0.0.7/8", "fd12::/64", "::1", "door.lan", "*.cam.lan", "nvr"]
)
def test_hosts_that_can_be_allowed(host: str) -> None:
    assert ServeConfig.model_validate({"add": {"hosts": [host]}}).add.hosts == [host]


@pytest.mark.parametrize("origin", ["https://dash.example", "http://127.0.0.1:8000", "http://[::1]:8000"])
def test_origins_as_browsers_write_them(origin: str) -> None:
    assert ServeConfig.model_validate({"origins": [origin]}).origins == [origin]


@pytest.mark.parametrize(
    "origin", ["*", "null", "dash.example", "https://dash.example/", "https://Dash.example", "file://"]
)
def test_what_no_browser_sends_as_an_origin(origin: str) -> None:
    with pytest.raises(ValidationError):
        ServeConfig.model_validate({"origins": [origin]})
