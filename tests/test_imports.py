"""The house's first law: imports go down only; and its second: importing the package loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cartpole_dqn"

# From the roof to the ground. A folder may import itself and what stands below it.
ROWS = [
    "__main__",
    "cli",
    "api",
    "views",
    "studies",
    "training",
    "runs",
    "observers",
    "agents",
    "components",
    "envs",
    "plugin",
    "config",
    "testing",
    "contracts",
    "wrappers",
    "system",
    "files",
    "errors",
    "text",
]
# The public names are lazy: `__init__` points everywhere and imports `system` alone.
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if "template" not in p.parts and p != PACKAGE / "__init__.py")


def name_of(path: Path) -> str:
    return ".".join(("cartpole_dqn", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


NAMES = {name_of(path) for path in MODULES}


def imports_of(path: Path) -> set[str]:
    """The modules of the package that a file imports anywhere: inside functions and for type checkers too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & NAMES
            found |= inner or {node.module or ""}
    return {name for name in found if name.split(".")[0] == "cartpole_dqn"}


def test_every_entry_has_a_row() -> None:
    entries = {path.stem for path in PACKAGE.iterdir() if path.suffix in ("", ".py") and path.name != "__pycache__"}
    assert entries - {"__init__"} == set(ROWS)


def test_imports_go_down_only() -> None:
    up = []
    for path in MODULES:
        row = ROWS.index(path.relative_to(PACKAGE).with_suffix("").parts[0])
        up += [f"{name_of(path)} imports {name}" for name in imports_of(path) if ROWS.index(name.split(".")[1]) < row]
    assert up == []


def test_no_import_goes_in_a_circle() -> None:
    rest = {name_of(path): imports_of(path) - {name_of(path)} for path in MODULES}
    while free := [name for name, needs in rest.items() if not needs & rest.keys()]:
        for name in free:
            del rest[name]
    assert rest == {}


def test_wrappers_stand_alone() -> None:
    for path in (PACKAGE / "wrappers").rglob("*.py"):
        assert all(name.startswith("cartpole_dqn.wrappers") for name in imports_of(path)), path


def test_the_loop_knows_no_display_no_files_and_no_plugins() -> None:
    for name in ("training/runner.py", "envs/lanes.py", "envs/workers.py"):
        text = (PACKAGE / name).read_text()
        for word in ("import pluggy", "import rich", "from rich", "pathlib", "open("):
            assert word not in text, f"{name} mentions {word}"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import cartpole_dqn", ["torch", "gymnasium", "pluggy", "pydantic", "rich"]),
        ("import cartpole_dqn.wrappers", ["torch", "torchvision", "pygame", "pluggy", "pydantic", "rich"]),
        ("import cartpole_dqn.cli.app", ["torch", "matplotlib", "gymnasium"]),
        (
            "from cartpole_dqn.plugin import host; host.load_plugins(allowed=()).registry.load('preset', 'state')",
            ["torch", "matplotlib", "gymnasium", "pydantic"],
        ),
    ],
)
@pytest.mark.process
def test_importing_loads_nothing_heavy(statement: str, absent: list[str]) -> None:
    code = f"import sys; {statement}; print([m for m in {absent!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


TRAINING = """
import sys
from cartpole_dqn.cli.app import app
small = ["evaluation.every=40", "agent.learning_starts=20", "agent.replay.capacity=500", "checkpoint.every_steps=50"]
sets = [word for setting in small + sys.argv[3:] for word in ("--set", setting)]
app(["run", "--obs", sys.argv[1], "--steps", "80", "--out", sys.argv[2], "--plain", *sets], standalone_mode=False)
app(["resume", sys.argv[2], "--steps", "100", "--plain"], standalone_mode=False)
print([name for name in ("torch._dynamo", "torch._inductor", "torchvision", "sympy") if name in sys.modules])
"""


@pytest.mark.parametrize("arguments", [["state"], ["pixels"], ["pixels", "agent.optimiser={name='rmsprop'}"]], ids=str)
@pytest.mark.process
def test_a_run_loads_no_compiler(arguments: list[str], tmp_path: Path) -> None:
    """Importing torch's compiler takes longer than importing torch."""
    command = [sys.executable, "-c", TRAINING, arguments[0], str(tmp_path / "run"), *arguments[1:]]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


def test_public_names_exist() -> None:
    import cartpole_dqn

    for name in cartpole_dqn.__all__:
        assert getattr(cartpole_dqn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = cartpole_dqn.nonsense
