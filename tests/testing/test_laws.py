"""Every kind's checks: right parts pass them all, and each way to be wrong is named by its check.

The parts are in `test_KIND.py`, which says of them:

* `RIGHT`: classes that keep the contract, each in its own way.
* `TABLE`: a faulty class, the check that names the fault, and words of its message.

Faults of the checks that all kinds share, of options, randomness and state, are tried with replays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import scripts
from cartpole_dqn import builtin_collection, testing
from cartpole_dqn.testing import checks_for

KINDS = (
    "replay", "network", "target-update", "exploration", "optimiser", "agent", "observer", "wrapper", "collector",
    "sweep-engine",
)  # fmt: skip
PARTS = {kind: scripts.load(Path(__file__).with_name(f"test_{kind.replace('-', '_')}.py")) for kind in KINDS}
BESIDE = {"collector": (builtin_collection,)}
RIGHT = [(kind, cls, check) for kind in KINDS for cls in PARTS[kind].RIGHT for check in checks_for(kind)]
TABLE = [(kind, *row) for kind in KINDS for row in PARTS[kind].TABLE]


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agents here learn at once, or never."""
    monkeypatch.setattr("cartpole_dqn.testing.agent.PATIENCE", 200)
    monkeypatch.setattr("cartpole_dqn.testing.agent.BUDGET", 1000)
    monkeypatch.setattr("cartpole_dqn.testing.collector.ENOUGH", 120)
    monkeypatch.setattr("cartpole_dqn.testing.collector._LEAVING", 1.0)


@pytest.mark.parametrize(("kind", "cls", "check"), RIGHT, ids=lambda value: getattr(value, "__name__", value))
def test_a_right_part_passes(kind: str, cls: Any, check: Any) -> None:
    check(cls, *BESIDE.get(kind, ()))


@pytest.mark.parametrize(("kind", "cls", "name", "words"), TABLE, ids=lambda value: getattr(value, "__name__", None))
def test_a_fault_is_named(kind: str, cls: Any, name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if words == "the lanes made":  # in a time in which nothing comes
        monkeypatch.setattr("cartpole_dqn.testing.collector.PATIENCE", 0.5)
    (check,) = (check for check in checks_for(kind) if check.__name__ == name)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        check(cls, *BESIDE.get(kind, ()))
    assert words in f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_a_fault_that_it_names(kind: str) -> None:
    named = {row[1] for row in PARTS[kind].TABLE} | {row[1] for row in PARTS["replay"].TABLE}
    assert {check.__name__ for check in checks_for(kind)} <= named


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("collector", "sweep-engine")])
def test_all_checks_run_at_once(kind: str) -> None:
    cls = PARTS[kind].TABLE[0][0]
    with pytest.raises(AssertionError, match=rf"{cls.__name__} fails \d+ of {len(checks_for(kind))} checks .* {kind}:"):
        getattr(testing, f"check_{kind.replace('-', '_')}")(cls)
