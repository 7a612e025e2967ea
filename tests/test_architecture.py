"""The shape of the code, kept by a test: floors, cycles, heavy imports, sizes, mirrored tests."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "streamqa"

# The longest prefix that fits a module's name is its floor; it imports from its own floor or lower ones.
FLOORS = {
    "streamqa.types": 0,
    "streamqa.errors": 0,
    "streamqa.metrics": 0,
    "streamqa.overlay": 0,
    "streamqa.version": 0,
    "streamqa.durations": 0,
    "streamqa.loops": 0,
    "streamqa.yaml_nodes": 0,
    "streamqa.answers": 0,
    "streamqa.conditions": 0,
    "streamqa.questions": 0,
    "streamqa.question_settings": 0,
    "streamqa.sink_settings": 0,
    "streamqa.config": 0,
    "streamqa.hours": 0,
    "streamqa.jpeg": 0,
    "streamqa.payload": 0,
    "streamqa.records": 0,
    "streamqa.sizes": 0,
    "streamqa.service_settings": 0,
    "streamqa.settings": 0,
    "streamqa.scenes": 0,
    "streamqa.model": 1,
    "streamqa.capture": 1,
    "streamqa.engine": 2,
    "streamqa.sinks": 3,
    "streamqa.server": 4,
    "streamqa.asked": 5,
    "streamqa.pipeline": 5,
    "streamqa.outlets": 5,
    "streamqa.hooks": 5,
    "streamqa.service": 5,
    "streamqa.specs": 5,
    "streamqa.standing": 5,
    "streamqa.control": 5,
    "streamqa.replacing": 5,
    "streamqa.yaml_save": 5,
    "streamqa.recorded": 5,
    "streamqa.evaluate": 5,
    "streamqa.bench": 6,  # a user of all the rest: its subscriber is the client
    "streamqa.cli": 6,
    "streamqa.client": 6,
    "streamqa.client_messages": 6,
    "streamqa.testing": 6,
    "streamqa": 6,
}
SIBLINGS = [("streamqa.model", "streamqa.capture")]  # never import each other
# May be copied out of the package.
ONLY = {
    "streamqa.client": {"streamqa.client_messages", "streamqa.types", "streamqa.errors"},
    "streamqa.client_messages": {"streamqa.types", "streamqa.errors"},
}
# Where a heavy library may be imported at all.
HOMES = {
    "torch": (
        "streamqa.model",
        "streamqa.bench.weights",
        "streamqa.bench.plain",
        "streamqa.bench.ceiling",
        "streamqa.bench.rig",
        "streamqa.bench.engine",
        "streamqa.bench.answers_scoring",
    ),
    "transformers": ("streamqa.model",),
    "tokenizers": ("streamqa.model",),
    "safetensors": ("streamqa.model",),
    "av": (
        "streamqa.capture",
        "streamqa.bench.rtp",
        "streamqa.bench.capture_clips",
        "streamqa.bench.capture_exact",
    ),
    "cv2": ("streamqa.capture.webcam",),
    "fastapi": ("streamqa.server", "streamqa.bench.fanout_rivals"),
    "starlette": ("streamqa.server",),
    "uvicorn": ("streamqa.server", "streamqa.bench.fanout_rivals"),
    "ruamel": ("streamqa.yaml_save",),
    "httpx2": ("streamqa.sinks.webhook",),
    "apprise": ("streamqa.sinks.notify",),
    "aiomqtt": ("streamqa.sinks.mqtt_link",),
}
LAZY = {"cv2", "transformers"}  # and there only inside functions: cv2 needs libGL, transformers takes seconds
NOT_FOR_HELP = ("torch", "cv2", "av", "transformers", "fastapi")
NO_TEST_OF_ITS_OWN = {"streamqa.version"}
MAX_LINES = 400
MAX_PUBLIC_METHODS = 15


class Import(NamedTuple):
    """One imported module, as written in one place."""

    importer: str
    imported: str
    line: int
    lazy: bool  # inside a function

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def floor(name: str) -> int:
    fitting = [package for package in FLOORS if package != "streamqa" and within(name, package)]
    return FLOORS[max(fitting, key=len)] if fitting else FLOORS["streamqa"]


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


@cache
def imports() -> tuple[Import, ...]:
    return tuple(found for name in modules() for found in _imports(name, tree(name), lazy=False))


def _imports(name: str, node: ast.AST, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(name, alias.name, child.lineno, lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{name}:{child.lineno}: relative import"
            assert child.module is not None
            for alias in child.names:  # `from package import module` imports the module
                full = f"{child.module}.{alias.name}"
                yield Import(name, full if full in modules() else child.module, child.lineno, lazy)
        inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _imports(name, child, inside)


def ours() -> list[Import]:
    return [i for i in imports() if within(i.imported, "streamqa")]


def listed(wrong: list[str]) -> str:
    return "\n".join(["", *wrong])


def test_every_module_has_a_floor() -> None:
    known = {name for name in FLOORS if name != "streamqa"}
    homeless = [m for m in modules() if m != "streamqa" and not any(within(m, name) for name in known)]
    assert not homeless, listed(homeless)


def test_imports_go_down() -> None:
    wrong = [f"{i}, floor {floor(i.imported)}" for i in ours() if floor(i.imported) > floor(i.importer)]
    assert not wrong, listed(wrong)


def test_nobody_imports_from_the_top() -> None:
    """`streamqa/__init__.py` is for users; inside, everybody imports from where a name lives."""
    wrong = [str(i) for i in ours() if i.imported == "streamqa"]
    assert not wrong, listed(wrong)


def test_siblings_never_meet() -> None:
    pairs = SIBLINGS + [(b, a) for a, b in SIBLINGS]
    wrong = [str(i) for i in ours() for a, b in pairs if within(i.importer, a) and within(i.imported, b)]
    assert not wrong, listed(wrong)


def test_the_client_stands_alone() -> None:
    wrong = [str(i) for i in ours() if i.importer in ONLY and i.imported not in ONLY[i.importer]]
    assert not wrong, listed(wrong)


def test_no_cycles() -> None:
    """Imports inside functions and for types count, too: hiding a cycle does not remove it."""
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for found in ours():
        graph[found.importer].add(found.imported)
    while True:  # whoever imports nobody left, or is imported by nobody left, is in no cycle
        imported = set().union(*graph.values())
        graph_left = {m: to & graph.keys() for m, to in graph.items() if m in imported and to & graph.keys()}
        if graph_left == graph:
            break
        graph = graph_left
    assert not graph, listed([f"{m} -> {sorted(to)}" for m, to in graph.items()])


def test_sub_packages_open_with_a_docstring_and_nothing_else() -> None:
    wrong = []
    for folder in {path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE}:
        init = folder / "__init__.py"
        body = ast.parse(init.read_text(encoding="utf-8")).body if init.exists() else []
        if len(body) != 1 or ast.get_docstring(ast.Module(body, [])) is None:
            wrong.append(f"{init.relative_to(ROOT)} must hold one docstring")
    assert not wrong, listed(wrong)


def test_heavy_libraries_stay_at_home() -> None:
    wrong = []
    for found in imports():
        library = found.imported.partition(".")[0]
        if library not in HOMES:
            continue
        if not any(within(found.importer, home) for home in HOMES[library]):
            wrong.append(f"{found}, which belongs into {', '.join(HOMES[library])}")
        elif library in LAZY and not found.lazy:
            wrong.append(f"{found} outside a function")
    assert not wrong, listed(wrong)


HELP = """
import sys
from streamqa.cli.main import run
sys.argv = ["streamqa", "--help"]
try:
    run()
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize("code", ["import streamqa, streamqa.client", HELP], ids=["client", "help"])
def test_light_commands_load_nothing_heavy(code: str) -> None:
    report = f"{code}\nimport sys\nprint('LOADED', *(m for m in {NOT_FOR_HELP} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]


def test_files_are_short() -> None:
    sources = [*modules().values(), *(ROOT / "tests").rglob("*.py")]
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources}
    wrong = [f"{path.relative_to(ROOT)}: {n} lines" for path, n in lines.items() if n > MAX_LINES]
    assert not wrong, listed(wrong)


def test_classes_are_small() -> None:
    wrong = []
    for name in modules():
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.ClassDef):
                methods = [f.name for f in node.body if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)]
                public = [m for m in methods if not m.startswith("_")]
                if len(public) > MAX_PUBLIC_METHODS:
                    wrong.append(f"{name}.{node.name}: {len(public)} public methods")
    assert not wrong, listed(wrong)


def test_every_module_has_its_test_file() -> None:
    missing = []
    for name, path in modules().items():
        if path.name == "__init__.py" or name in NO_TEST_OF_ITS_OWN:
            continue
        inside = path.relative_to(PACKAGE)
        mirror = ROOT / "tests" / inside.parent / f"test_{inside.name}"
        if not mirror.exists():
            missing.append(f"{mirror.relative_to(ROOT)} for {path.relative_to(ROOT)}")
    assert not missing, listed(missing)


def test_whoever_catches_everything_says_why() -> None:
    """Who tidies up and raises it again catches nothing."""
    wrong = []
    for name, path in modules().items():
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree(name)):
            if not (isinstance(node, ast.ExceptHandler) and _catches_everything(node.type)):
                continue
            if isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None:
                continue
            here, above = lines[node.lineno - 1], lines[node.lineno - 2]
            if "#" not in here and not above.strip().startswith("#"):
                wrong.append(f"{name}:{node.lineno}: except Exception without a comment that says why")
    assert not wrong, listed(wrong)


def _catches_everything(caught: ast.expr | None) -> bool:
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(
        n is None or (isinstance(n, ast.Name) and n.id in ("Exception", "BaseException")) for n in names
    )
