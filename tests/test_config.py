import json
from pathlib import Path

import jsonschema
import pytest

from streamqa.config import config_schema, load_config, parse_config, read_tokens, schema_text
from streamqa.errors import ConfigError
from streamqa.service_settings import ServeConfig
from streamqa.types import NS_PER_S, Gate
from streamqa.yaml_nodes import parse

CONFIGS = Path(__file__).parent.parent / "configs"
ENVIRON = {"GATE_PASSWORD": "x", "STREAMQA_TOKEN": "a" * 32, "WALL_TOKEN": "b" * 32}
GOOD = """
model: tiny
sources:
  gate: scene:gate
  clip: {url: clip.mp4, pace: realtime, loop: true, priority: 5, detail: fast}
questions:
  person: {ask: "Is there a person?", kind: yes_no, every: 500ms, window: 2s, decide: majority, sources: [gate]}
  smoke: {ask: "Smoke?", kind: yes_no, every: 1s, window: 5s, decide: {k_of_n: [3, 5]}}
  cars: {ask: "Cars?", kind: number, gate: 0.02}
  bins: {ask: "Bins?", kind: number, gate: {threshold: 0.1, refresh: 10s, audit: 0}}
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "c.yaml", {})
    return str(caught.value).split("\n")


def test_a_good_file_reads_into_questions_and_sources() -> None:
    config = parse_config(GOOD)
    person, smoke, cars, bins = config.standing()
    assert (person.every_ns, person.window_ns, person.sources) == (500_000_000, 2_000_000_000, ("gate",))
    assert (smoke.decide, smoke.k_of_n) == ("k_of_n", (3, 5))
    assert config.sources["gate"].url == "scene:gate"
    assert (person.gate, cars.gate) == (None, Gate(0.02, 30 * NS_PER_S, 0.05))
    assert bins.gate == Gate(0.1, 10 * NS_PER_S, 0)
    clip, gate = config.sources["clip"], config.sources["gate"]
    assert (clip.loop, clip.priority, clip.detail) == (True, 5, "fast")
    assert (gate.loop, gate.priority, gate.detail) == (False, 0, "full")
    assert config.model.name == "tiny"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_configuration_loads_and_fits_the_schema(path: Path) -> None:
    config = load_config(path, ENVIRON)
    assert config.standing()
    data = parse(path.read_text(), ENVIRON).data
    jsonschema.validate(data, config_schema())


def test_the_schema_file_is_the_models() -> None:
    assert (CONFIGS / "streamqa.schema.json").read_text() == schema_text()
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))


def test_all_mistakes_at_once_each_with_its_place() -> None:
    text = """\
model: tiny
sources:
  gate: {url: "rtsp://h/1", fsp: 5}
questions:
  a: {ask: "Anybody?", kind: yes_no, every: 0, sources: [gaet]}
  b: {ask: "Anybody?", kind: yesno, every: 2}
  c: {ask: "Anybody?", every: 1s, window: -5s}
  a: {ask: "Twice?"}
serve: {prot: 80}
"""
    found = mistakes(text)
    assert found[0].startswith("c.yaml:3:29: sources.gate.fsp: unknown key")
    assert any(line.startswith("c.yaml:5:45: questions.a.every: 0 is no interval") for line in found)
    assert any("unknown source 'gaet'; did you mean 'gate'?" in line for line in found)
    assert any(line.startswith("c.yaml:6:30: questions.b.kind:") and "'yes_no'" in line for line in found)
    assert any("questions.b.every: 2 has no unit" in line for line in found)
    assert any("questions.c.window: '-5s' is negative" in line for line in found)
    assert any(line.startswith("c.yaml:8:3: questions.a: stands twice") for line in found)
    assert any("serve.prot: unknown key; did you mean 'port'?" in line for line in found)
    assert len(found) == 8


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("{name: tiny, devices: [gpu]}", "c.yaml:1:31: model.devices.0: no such device; write cpu, cuda"),
        ("{name: tiny, devices: [cpu, cpu]}", "c.yaml:1:8: model: a device is named twice; name each once"),
        ("{name: tiny, devices: ['cuda:0', 'cuda:1'], isolate: false}", "c.yaml:1:8: model: several devices are"),
        ("{name: tiny, device: cpu}", "c.yaml:1:21: model.device: unknown key; did you mean 'devices'?"),
    ],
)  # fmt: skip
def test_a_model_on_no_device_is_told(model: str, line: str) -> None:
    (found,) = mistakes(f"model: {model}")
    assert found.startswith(line)


def test_a_model_has_processes_of_its_own_unless_told_otherwise() -> None:
    assert parse_config("model: tiny").model.isolate
    model = parse_config("model: {name: tiny, devices: ['cuda:0', 'cuda:1']}").model
    assert (model.devices, model.isolate) == (["cuda:0", "cuda:1"], True)
    assert not parse_config("model: {name: tiny, devices: [cpu], isolate: false}").model.isolate


def test_yes_and_no_are_texts_in_choices() -> None:
    config = parse_config(
        'questions: {q: {ask: "Open?", kind: choice, choices: [yes, no, on, off], every: 1s}}'
    )
    assert config.standing()[0].choices == ("yes", "no", "on", "off")


def test_a_boolean_where_a_text_belongs_is_refused() -> None:
    (line,) = mistakes("questions: {q: {ask: true, every: 1s}}")
    assert line.startswith("c.yaml:1:22: questions.q.ask:")


@pytest.mark.parametrize(
    ("question", "what"),
    [
        ("{ask: 'Open?', kind: choice, choices: [open], every: 1s}", "choices"),
        ("{ask: 'Open?', kind: choice, choices: [open, Open], every: 1s}", "choices"),
        ("{ask: '', every: 1s}", "questions.q"),
        (f"{{ask: '{'x' * 10_000}', every: 1s}}", "10,000 characters"),
        (r'{ask: "ring \x07 the bell", every: 1s}', "control"),
        ("{every: 1s}", "questions.q.ask: missing"),
        ("{ask: 'How many?', kind: text, decide: mean, every: 1s}", "mean"),
        ("{ask: 'Smoke?', kind: yes_no, decide: {k_of_n: [5, 3]}, every: 1s}", "k_of_n"),
        ("{ask: 'Smoke?', kind: yes_no, decide: {k_of_n: [1]}, every: 1s}", "k_of_n"),
        ("3", "questions.q"),
    ],
)
def test_a_question_whose_parts_do_not_go_together(question: str, what: str) -> None:
    found = mistakes(f"questions:\n  q: {question}\n")
    assert len(found) == 1
    assert what in found[0]
    assert found[0].startswith("c.yaml:2:")


@pytest.mark.parametrize(
    ("written", "column", "what"),
    [
        ("often", 34, "gate: write a threshold such as 0.02"),
        ("true", 34, "gate: write a threshold such as 0.02"),
        ("2", 34, "gate.threshold: Input should be less than or equal to 1"),
        ("{refresh: 30s}", 34, "gate.threshold: missing"),
        ("{threshold: 0.1, refresh: 0}", 60, "gate.refresh: 0 is no interval"),
        ("{threshold: 0.1, audti: 0.1}", 51, "gate.audti: unknown key; did you mean 'audit'?"),
        ("{threshold: 0.1, audit: 5}", 58, "gate.audit: Input should be less than"),
    ],
)
def test_a_wrong_gate_is_told_with_its_place(written: str, column: int, what: str) -> None:
    (line,) = mistakes(f"questions: {{q: {{ask: 'a?', gate: {written}}}}}")
    assert line.startswith(f"c.yaml:1:{column}: questions.q.{what}")


def test_bad_ids_are_named() -> None:
    (line,) = mistakes('sources: {"a b": "scene:gate"}')
    assert "an id has 1 to 64" in line


def test_a_host_open_to_the_network_is_refused_while_there_is_no_token() -> None:
    (line,) = mistakes("serve: {host: 0.0.0.0, port: 80}")
    assert "no token is set" in line


@pytest.mark.parametrize("text", ["", "# nothing", "- a\n- b\n", "just text", "a: [1"])
def test_files_that_are_no_configuration(text: str) -> None:
    assert all(line.startswith("c.yaml:") for line in mistakes(text))


def test_unreadable_files_are_one_line(tmp_path: Path) -> None:
    for path, content in [(tmp_path / "none.yaml", None), (tmp_path / "b.yaml", b"\xff\xfe\x00")]:
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_unset_secret_is_an_error_with_its_place_and_without_other_secrets() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config('sources: {a: "rtsp://u:${PW}@${HOST}/x"}', "c.yaml", {"PW": "s3cret"})
    assert "HOST is not set" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("written", ["5", "gate", "[[gate]]", "{gate: 1}", "[1]"])
def test_sources_of_a_question_that_are_no_list_of_texts_are_one_mistake(written: str) -> None:
    (line,) = mistakes(f"sources: {{gate: a.mp4}}\nquestions: {{q: {{ask: 'Open?', sources: {written}}}}}")
    assert line.startswith("c.yaml:2:")
    assert "questions.q.sources" in line


def test_a_question_that_would_be_asked_of_nothing_is_refused() -> None:
    (line,) = mistakes("sources: {gate: a.mp4}\nquestions: {q: {ask: 'Open?', sources: []}}")
    assert "never be asked" in line


def test_a_setting_without_effect_is_refused() -> None:
    (line,) = mistakes("sources: {a: {url: a.mp4, loop: true}}")
    assert line.startswith("c.yaml:1:14: sources.a: loop has no effect")
    (line,) = mistakes("sources: {a: {url: a.mp4, transport: udp}}")
    assert line.startswith("c.yaml:1:14: sources.a: transport has an effect on rtsp:// sources only")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("sources:\n", "sources: empty"),
        ("sources: {a: null}", "sources.a: empty"),
        ("sources: {a: {url: a, detail: faste}}", "sources.a.detail: Input should be 'full' or 'fast'"),
        ("sources: {a: {url: a, priority: high}}", "sources.a.priority: Input should be a valid integer"),
        ("questions: {q: 'Anybody?'}", "questions.q: needs lines of the form"),
        (
            "questions: {q: {ask: 'Which?', kind: choice, choices: [1, two]}}",
            "choices.0: is no text; put it in",
        ),
    ],
)
def test_a_value_of_the_wrong_shape_says_what_to_write(text: str, what: str) -> None:
    (line,) = mistakes(text)
    assert what in line


def test_mistakes_about_tokens_have_their_place_and_quote_no_secret() -> None:
    secret = "short-secret"
    (line,) = mistakes(f"serve: {{tokens: [{{name: dash, token: {secret}}}]}}")
    assert line.startswith("c.yaml:1:18: serve.tokens.0: token 'dash' is too short")
    assert secret not in line
    assert "a name has 1 to 64" in mistakes("serve: {tokens: [{name: 'a b', file: f}]}")[0]
    assert "did you mean 'scope'?" in mistakes("serve: {tokens: [{name: a, file: f, scopes: ask}]}")[0]
    assert "did you mean 'cert'?" in mistakes("serve: {tls: {cart: c, cert: c, key: k}}")[0]


def served(*files: Path) -> ServeConfig:
    tokens = [{"name": f"t{n}", "scope": "ask", "file": str(path)} for n, path in enumerate(files)]
    return ServeConfig.model_validate({"tokens": tokens})


def test_tokens_are_read_from_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "token"
    path.write_text("a-token-that-is-long-enough\n")
    path.chmod(0o600)
    (token,) = read_tokens(served(path))
    assert (token.name, token.scope, token.token) == ("t0", "ask", "a-token-that-is-long-enough")
    assert not caplog.records
    path.chmod(0o644)
    assert read_tokens(served(path)) == (token,)
    (record,) = caplog.records
    assert "chmod 600" in record.getMessage()
    assert "long-enough" not in record.getMessage()


def test_token_files_that_are_no_good_are_told_without_what_is_in_them(tmp_path: Path) -> None:
    path = tmp_path / "token"
    for content, words in (
        (b"", "is too short"),
        (b"tiny-token", "is too short"),
        (b"two lines of\ntext, no token", "others than letters"),
        (b"\xff" * 20, "others than letters"),
        (b"x" * 100_000, "more than 512"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            read_tokens(served(path))
        told = str(caught.value)
        assert words in told
        assert str(path) in told
        assert not content or content.decode("latin-1")[:10] not in told
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tokens(served(tmp_path / "missing"))
    path.write_text("a-token-that-is-long-enough")
    with pytest.raises(ConfigError, match="'t0' and 't1' are the same"):
        read_tokens(served(path, path))


WRONG = """\
sources: {gate: "scene:gate"}
questions:
  a: {ask: "x?", kind: yes_no, abov: 0.5}
  b: {ask: "x?", kind: yes_no, alert: {when: yes, abov: 2}}
  c: {ask: "x?", kind: yes_no, alert: [{when: yes}, {when: no, severity: bad}]}
  d: {ask: "x?", kind: yes_no, alert: yes}
  e: {ask: "x?", kind: yes_no, if: {a: 2}}
sinks:
  - {mqtt: "mqtt://b", home_asistant: true}
  - {webhok: "x"}
  - {notify: 3}
"""
TOLD = [
    "3:32: questions.a.abov: unknown key; did you mean 'above'?",
    "4:51: questions.b.alert.abov: unknown key; did you mean 'above'?",
    "5:74: questions.c.alert.1.severity: Input should be 'info', 'warning' or 'critical'",
    "6:39: questions.d.alert: needs lines of the form `key: value`",
    "7:36: questions.e.if: name the question that has to hold, as in person, or cars >= 2",
    "9:24: sinks.0.home_asistant: unknown key; did you mean 'home_assistant'?",
    "10:5: sinks.1: needs exactly one of mqtt, webhook, notify, jsonl, as in {mqtt: mqtt://broker}",
    "11:14: sinks.2.notify: is no text; put it in quotes",
]


def test_mistakes_in_alerts_follow_ups_and_sinks_are_told_once_each() -> None:
    assert mistakes(WRONG) == [f"c.yaml:{line}" for line in TOLD]


def test_follow_ups_in_a_circle_are_told_with_their_places() -> None:
    text = 'questions:\n  a: {ask: "x?", kind: yes_no, if: b}\n  b: {ask: "x?", kind: yes_no, if: a}\n'
    assert mistakes(text) == [
        "c.yaml:2:36: questions.a.if: a circle, a -> b -> a: none of them would ever be asked",
        "c.yaml:3:36: questions.b.if: a circle, b -> a -> b: none of them would ever be asked",
    ]
