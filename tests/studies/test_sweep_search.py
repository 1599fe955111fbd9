"""Searching with optuna: it finds what is good, and a search that was stopped asks what it would have asked."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from cartpole_dqn.errors import UserError
from cartpole_dqn.studies.sweep_search import Params, Search
from cartpole_dqn.studies.sweep_space import Choice, Range

SPACE = {
    "lr": Range(low=1e-4, high=1e-1, log=True),
    "n": Range(low=1, high=8, int=True),
    "kind": Choice(("a", [1, 2])),
}


def score(params: Params) -> float:
    return -abs(params["n"] - 5) - (params["kind"] == '"a"')


def searched(search: Search, until: int) -> list[Params]:
    while len(search.proposed) < until and search.ask():
        search.tell(len(search.proposed) - 1, None if len(search.proposed) == 3 else score(search.proposed[-1]))
    return search.proposed


@pytest.fixture(scope="module")
def whole() -> list[Params]:
    pytest.importorskip("optuna")
    search = Search(SPACE, 1, 24)
    assert len(searched(search, 99)) == 24, "as many as were asked for"
    return search.proposed


def test_a_search_that_goes_on_asks_what_it_would_have_asked(whole: list[Params]) -> None:
    search = Search(SPACE, 1, 24)
    for params in whole[:14]:
        search.take_back(params)
    for number, params in enumerate(whole[:14]):
        search.tell(number, None if number == 2 else score(params))
    assert searched(search, 24) == whole
    assert searched(Search(SPACE, 2, 24), 3) != whole[:3], "another seed"


def test_it_comes_to_where_the_scores_are_high(whole: list[Params]) -> None:
    assert max(map(score, whole)) == 0
    early, late = (sum(map(score, part)) / len(part) for part in (whole[:10], whole[-10:]))
    assert late > early + 0.5


def test_settings_have_texts_that_a_folder_can_be_named_by(whole: list[Params]) -> None:
    search = Search(SPACE, 1, 24)
    for number, params in enumerate(whole):
        setting = search.take_back(params)
        assert len(str(setting.values["lr"])) <= 9
        assert setting.values["lr"] == pytest.approx(params["lr"], rel=1e-3)
        assert setting.values["n"] == params["n"]
        assert setting.values["kind"] in ("a", [1, 2])
        assert setting.label.startswith(f"{number:02},lr=")


def test_without_optuna_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    absent: Any = None
    monkeypatch.setitem(sys.modules, "optuna", absent)
    with pytest.raises(UserError, match=r"pip install 'cartpole-dqn\[optuna\]'"):
        Search(SPACE, 0, 24)
