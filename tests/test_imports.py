"""The house's first law: imports go down only; and its second: importing the package loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cartpole_dqn"

# From the roof to the ground. A module may import its own row and lower rows.
ROWS = [
    ["cli", "__main__"],
    ["api", "initial_weights"],
    ["views"],
    ["studies"],
    ["assembly", "environments", "rollout"],
    ["runner", "observer_group", "lockstep", "lanes", "workers", "guard", "evaluator"],
    [
        "checkpoint",
        "run_folder",
        "run_lookup",
        "run_listing",
        "run_history",
        "folder_lock",
        "state_tree",
        "tensor_file",
    ],
    ["agents"],
    ["observers"],
    ["components"],
    ["plugin_manager", "plugin_discovery", "hookspecs", "registry"],
    ["wrappers"],
    ["testing"],
    ["config", "options", "presets"],
    ["events"],
    ["interfaces", "collection", "sweep_engine"],
    ["seeding", "errors", "files"],
]
ROW_OF = {name: row for row, names in enumerate(ROWS) for name in names}
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if "plugin_template" not in p.parts)


def first_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports_of(path: Path) -> set[str]:
    """The top-level modules of the package that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
            if node.module == "cartpole_dqn":
                names = [f"cartpole_dqn.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("cartpole_dqn.")}
    return found


def test_every_module_has_a_row() -> None:
    unplaced = {first_name(p) for p in MODULES} - set(ROW_OF) - {"__init__"}
    assert not unplaced, f"give these a row in DESIGN's house: {sorted(unplaced)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        pytest.skip("the public names are lazy: they point everywhere and import nothing")
    row = ROW_OF[first_name(path)]
    for name in imports_of(path):
        if name == "__version__":
            continue
        assert ROW_OF[name] >= row, f"{path.relative_to(PACKAGE)} (row {row}) imports {name} (row {ROW_OF[name]})"


def test_wrappers_stand_alone() -> None:
    for path in (PACKAGE / "wrappers").rglob("*.py"):
        assert imports_of(path) <= {"wrappers"}, path


def test_runner_knows_no_display_no_files_and_no_plugins() -> None:
    for name in ("runner.py", "observer_group.py", "lockstep.py", "lanes.py", "workers.py"):
        text = (PACKAGE / name).read_text()
        for word in ("import pluggy", "import rich", "from rich", "pathlib", "open("):
            assert word not in text, f"{name} mentions {word}"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import cartpole_dqn", ["torch", "gymnasium", "pluggy", "pydantic", "rich"]),
        ("import cartpole_dqn.wrappers", ["torch", "pluggy", "pydantic", "rich", "cartpole_dqn.interfaces"]),
        ("import cartpole_dqn.cli.app", ["torch", "matplotlib", "gymnasium"]),
        (
            "from cartpole_dqn.plugin_manager import load_plugins; load_plugins().registry.components()",
            ["torch", "matplotlib"],
        ),
    ],
)
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
