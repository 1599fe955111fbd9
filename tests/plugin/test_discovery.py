from __future__ import annotations

import contextlib
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from cartpole_dqn import __version__
from cartpole_dqn.plugin.discovery import (
    IncompatibleError,
    find_entry_points,
    import_entry_point,
    origin,
    switched_off,
)
from distributions import write

GROUP = "cartpole_dqn_probe"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def entry_points() -> list[tuple[str, str, str]]:
    return [(*origin(entry), entry.name) for entry in find_entry_points(GROUP)[0]]


def test_entry_points_are_sorted_by_distribution_and_name(site: Path) -> None:
    write(site, "Zebra", f"[{GROUP}]\na = x\n[{GROUP}.commands]\nb = x")
    write(site, "alpha_one", f"[{GROUP}]\nc = x\nb = y\n", "2.0")
    assert entry_points() == [("alpha_one", "2.0", "b"), ("alpha_one", "2.0", "c"), ("Zebra", "1.0", "a")]


def test_one_damaged_distribution_hides_no_other(site: Path) -> None:
    write(site, "good", f"[{GROUP}]\na = x")
    write(site, "bad", f"[{GROUP}]\na")
    write(site, "worse", f"[{GROUP}]\na = x")
    (site / "worse-1.0.dist-info" / "METADATA").unlink()
    assert entry_points() == [("good", "1.0", "a")]
    unreadable = dict(find_entry_points(GROUP)[1])
    assert set(unreadable) == {"bad", "worse-1.0.dist-info"}
    assert "expected lines such as 'name = module'" in unreadable["bad"]


def test_of_two_versions_the_first_on_the_path_counts(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = site / "first", site / "second"
    write(second, "acme", f"[{GROUP}]\na = x\nb = x", "1.0")
    write(first, "acme", f"[{GROUP}]\na = x", "2.0")
    monkeypatch.syspath_prepend(second)
    assert entry_points() == [("acme", "1.0", "a"), ("acme", "1.0", "b")]
    monkeypatch.syspath_prepend(first)
    assert entry_points() == [("acme", "2.0", "a")]
    write(site / "newer", "acme", "[other]\na = x", "3.0")
    monkeypatch.syspath_prepend(site / "newer")
    assert entry_points() == [], "a version without the group hides those that have it"


@pytest.mark.parametrize(
    ("names", "blocked", "allowed", "state"),
    [
        (["a", "acme"], [], None, None),
        (["a_b"], ["A-B"], None, "blocked"),
        (["a", "acme"], [], [], "not-allowed"),
        (["a", "acme"], [], ["acme"], None),
        (["a", "acme"], ["a"], ["a"], "blocked"),
        (["a", ""], [""], None, None),
    ],
)
def test_switched_off(names: list[str], blocked: list[str], allowed: list[str] | None, state: str | None) -> None:
    assert switched_off(names, blocked, allowed) == state


@pytest.mark.parametrize(
    ("requires", "unmet"),
    [
        ([], ""),
        ([f"cartpole-dqn=={__version__}"], ""),
        (["Cartpole_DQN>=99"], f"it needs cartpole-dqn >=99, and this is {__version__}."),
        (["cartpole-dqn>=99; extra == 'new'"], ""),
        (["nonsense !!", "cartpole-dqn-ray>=99"], ""),
        (["nonsense !!", "cartpole-dqn<0.0.1"], f"it needs cartpole-dqn <0.0.1, and this is {__version__}."),
    ],
)
def test_a_distribution_that_needs_another_cartpole_dqn(site: Path, requires: list[str], unmet: str) -> None:
    write(site, "acme", f"[{GROUP}]\na = collections", "1.0", requires)
    (entry,) = find_entry_points(GROUP)[0]
    with pytest.raises(IncompatibleError, match=f"^{re.escape(unmet)}$") if unmet else contextlib.nullcontext():
        import_entry_point(entry)


def test_an_entry_point_names_a_module_or_something_in_it(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    import collections

    assert import_entry_point(EntryPoint("a", "collections", GROUP)) is collections
    assert import_entry_point(EntryPoint("a", "collections:OrderedDict.fromkeys [extra]", GROUP)) is not None
    (site / "talkative_probe.py").write_text("print('hello')")
    import_entry_point(EntryPoint("a", "talkative_probe", GROUP))
    assert capsys.readouterr() == ("", "hello\n")
