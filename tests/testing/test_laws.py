"""Every kind's checks: right parts pass them all, and each way to be wrong is named by its check.

The parts are in `test_KIND.py`, which says of them:

* `RIGHT`: classes that keep the contract, each in its own way.
* `TABLE`: a faulty class, the check that names the fault, words of its message, and other checks that fail for the
  same reason ("*" for whatever others).

Faults of the checks that all kinds share, of options, randomness and state, are tried with replays.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn import testing
from cartpole_dqn.testing import checks_for, run_checks


def load(kind: str) -> Any:
    path = Path(__file__).with_name(f"test_{kind.replace('-', '_')}.py")
    spec = importlib.util.spec_from_file_location(f"laws_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where pydantic looks for annotations
    spec.loader.exec_module(module)
    return module


KINDS = ("replay", "network", "target-update", "exploration", "optimiser", "agent", "observer", "wrapper")
PARTS = {kind: load(kind) for kind in KINDS}
RIGHT = [(kind, cls, check) for kind in KINDS for cls in PARTS[kind].RIGHT for check in checks_for(kind)]
TABLE = [(kind, *row) for kind in KINDS for row in PARTS[kind].TABLE]


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agents here learn at once, or never."""
    monkeypatch.setattr("cartpole_dqn.testing.agent.PATIENCE", 200)
    monkeypatch.setattr("cartpole_dqn.testing.agent.BUDGET", 1000)


@pytest.mark.parametrize(("kind", "cls", "check"), RIGHT, ids=lambda value: getattr(value, "__name__", value))
def test_a_right_part_passes(kind: str, cls: Any, check: Any) -> None:
    check(cls)


@pytest.mark.parametrize(
    ("kind", "cls", "name", "words", "also"), TABLE, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_fault_is_named(kind: str, cls: Any, name: str, words: str, also: str) -> None:
    failed = {result.name: result.message for result in run_checks(kind, cls) if not result.passed}
    assert words in failed.get(name, "")
    assert also == "*" or failed.keys() == {name, *also.split()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_a_fault_that_it_names(kind: str) -> None:
    named = {row[1] for row in PARTS[kind].TABLE} | {row[1] for row in PARTS["replay"].TABLE}
    assert {check.__name__ for check in checks_for(kind)} <= named


@pytest.mark.parametrize("kind", KINDS)
def test_all_checks_run_at_once(kind: str) -> None:
    said = rf"fails \d+ of {len(checks_for(kind))} checks of the kind {kind}:"
    with pytest.raises(AssertionError, match=said):
        getattr(testing, f"check_{kind.replace('-', '_')}")(PARTS[kind].TABLE[0][0])
