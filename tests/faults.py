"""Ten faults, planted one by one in a copy of the tree: which test of the default run finds each?

    python tests/faults.py                     # all of them, minutes each
    python tests/faults.py ring lock -- -n 4   # some; what follows `--` goes to pytest

Each fault is a text in one file of the package and what takes its place. A text that is not there exactly once has been
changed since: the script stops and says so. The exit code is 1 where a fault is not found.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COPIED = ("cartpole_dqn", "tests", "docs", "examples", "plugins", ".ci")


class Fault(NamedTuple):
    """What is wrong; the text in the package, and what replaces it."""

    what: str
    text: str
    wrong: str


FAULTS = {
    "targets": Fault(
        "the value of what comes next counts a tenth less",
        "torch.addcmul(batch.rewards, batch.discounts, next_values)",
        "torch.addcmul(batch.rewards, batch.discounts, next_values, value=0.9)",
    ),
    "ring": Fault(
        "a terminal step bootstraps",
        "discount = 0.0 if terminated else self._powers[len(pending)]",
        "discount = self._powers[len(pending)]",
    ),
    "crop": Fault(
        "an even window begins a pixel late",
        "if centre is None else centre) - self.length // 2",
        "if centre is None else centre) - (self.length - 1) // 2",
    ),
    "resume": Fault(
        "exploration begins its random numbers anew",
        'restore_generator(self._explore_generator, state["explore_generator"])',
        "pass",
    ),
    "host": Fault(
        "a plugin that fails leaves environments behind",
        "        registry.clear()\n        registry.update(before)\n",
        "        registry.update(before)\n",
    ),
    "lock": Fault(
        "two runs may have one folder",
        "        lock.acquire()\n",
        "",
    ),
    "schedule": Fault(
        "epsilon falls twice as fast", "math.exp(-step / self._decay)", "math.exp(-2 * step / self._decay)"
    ),
    "display": Fault(
        "steps a second are a tenth too few", "self.run.rate = steps / seconds", "self.run.rate = 0.9 * steps / seconds"
    ),
    "export": Fault(
        "a run's config.toml forgets its seed",
        "tomli_w.dumps(to_table(config))",
        'tomli_w.dumps({**to_table(config), "seed": 0})',
    ),
    "seeds": Fault(
        "a best model is confirmed on the seeds that selected it",
        "stream=Stream.CONFIRM",
        "stream=Stream.SELECT",
    ),
}


def plant(fault: Fault, tree: Path) -> str:
    """Put the fault into the tree's package; returns the file."""
    found = [path for path in sorted((tree / "cartpole_dqn").rglob("*.py")) if fault.text in path.read_text()]
    if len(found) != 1 or found[0].read_text().count(fault.text) != 1:
        sys.exit(
            f"{fault.what}: expected {fault.text!r} once in the package, found it in {len(found)} files. Adapt it."
        )
    found[0].write_text(found[0].read_text().replace(fault.text, fault.wrong))
    return found[0].relative_to(tree).as_posix()


def copy_tree(place: Path) -> Path:
    for name in COPIED:
        ignored = shutil.ignore_patterns("__pycache__", "_build")
        shutil.copytree(ROOT / name, place / name, ignore=ignored)
    for path in ROOT.glob("*.*"):
        if path.is_file():
            shutil.copy(path, place)
    return place


def tests_that_fail(tree: Path, options: list[str]) -> list[str]:
    """Run the default selection until a test fails."""
    plugins = sorted(str(path.parent) for path in tree.glob("plugins/*/pyproject.toml"))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), *plugins])}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    found = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode != bool(found):
        sys.exit(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return found


def main() -> int:
    names, _, options = " ".join(sys.argv[1:]).partition("--")
    chosen = names.split() or list(FAULTS)
    if unknown := set(chosen) - set(FAULTS):
        sys.exit(f"{min(unknown)}: expected some of {', '.join(FAULTS)}.")
    missed = 0
    print("| fault | planted in | found by |\n|---|---|---|", flush=True)
    for name in chosen:
        with tempfile.TemporaryDirectory() as place:
            tree = copy_tree(Path(place))
            file = plant(FAULTS[name], tree)
            found = tests_that_fail(tree, options.split())
        missed += not found
        print(f"| {FAULTS[name].what} | `{file}` | {f'`{found[0]}`' if found else 'NOTHING'} |", flush=True)
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
