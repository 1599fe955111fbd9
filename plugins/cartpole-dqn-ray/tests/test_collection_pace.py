"""The rules of distributed collection, without Ray: staleness stays within its bound, whatever arrives when."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from cartpole_dqn_ray.collection import RayCollectionOptions, RayCollector
from cartpole_dqn_ray.collection_actor import Player, portable, restored
from cartpole_dqn_ray.collection_pace import Meter, Pace, ladder
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn import CollectorContext, UserError, builtin_collection, check_options


@given(st.data(), st.integers(0, 60), st.integers(1, 12), st.integers(1, 30))
def test_no_fragment_is_older_than_the_bound(data: st.DataObject, bound: int, cost: int, publish_every: int) -> None:
    """Actors answer in any order, some never do; the learner makes up to `cost` updates from each."""
    pace = Pace(bound, cost)
    updates = version = taken = 0
    under_way: list[int] = []
    for number in range(60):
        if updates - version >= publish_every or (
            not pace.may_ask(updates, version) and pace.may_ask(updates, updates)
        ):
            version = updates
        if pace.may_ask(updates, version):
            pace.ask(number, version)
            under_way.append(number)
        assert under_way, "somebody can always be asked once nothing is under way"
        ready = data.draw(st.lists(st.sampled_from(under_way), unique=True))
        chosen = pace.choose(ready, updates)
        if chosen is None and data.draw(st.booleans()):
            lost = data.draw(st.sampled_from(under_way))
            pace.drop(lost)
            under_way.remove(lost)
        if chosen is not None:
            assert chosen in ready
            assert pace.take(chosen, updates) <= bound
            under_way.remove(chosen)
            updates += data.draw(st.integers(0, cost))
            taken += 1
    # What waits can still be taken in time, oldest first.
    for number in list(under_way):
        assert pace.choose([number], updates) == number
        assert pace.take(number, updates) <= bound
        updates += cost
        taken += 1
    assert len(pace) == 0


def test_what_is_ready_may_overtake_while_there_is_time() -> None:
    pace = Pace(bound=25, cost=10)
    for name in (1, 2, 3):
        assert pace.may_ask(0, 0)
        pace.ask(name, 0)
    assert not pace.may_ask(0, 0)
    assert pace.choose([3], 0) == 3, "the first can wait for one learning, the second would then be third no more"
    pace.take(3, 0)
    assert pace.choose([2], 10) == 2
    assert pace.take(2, 10) == 10
    assert pace.choose([], 20) is None
    assert pace.take(1, 20) == 20
    pace.ask(4, 0)
    pace.ask(5, 20)
    assert pace.choose([5], 20) is None, "the older one would come too late"
    assert pace.choose([4, 5], 20) == 4


def test_the_ladder_is_the_papers() -> None:
    # Horgan et al. 2018: epsilon 0.4, alpha 7.
    assert ladder(1, 0.4, 7.0) == [0.4]
    assert ladder(3, 0.4, 7.0) == pytest.approx([0.4, 0.4**4.5, 0.4**8])
    assert ladder(2, 0.0, 7.0) == [0.0, 0.0]


@dataclass
class Clock:
    now: float = 0.0
    looks: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now


def test_figures_are_those_of_the_last_whole_window() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.begin(100)
    for staleness in (10, 30):
        meter.add(steps=50, bytes=1000, idle=0.25, busy=1.0, staleness=staleness, fragments=1)
    assert meter.figures(140, actors=2) == {}
    clock.now = 4.0
    expected = {
        "env_steps_per_second": 25.0,
        "updates_per_second": 10.0,
        "bytes_per_second": 500.0,
        "learner_idle": 0.125,
        "actors_busy": 0.25,
        "staleness": 20.0,
    }
    assert meter.figures(140, actors=2) == expected
    clock.now = 5.0
    assert meter.figures(150, actors=2) == expected
    clock.now = 8.0
    assert meter.figures(150, actors=0)["updates_per_second"] == 2.5


@pytest.mark.parametrize(
    ("num_envs", "table", "said"),
    [
        (3, {"actors": 2}, "2 actors cannot share 3 environments evenly: use --num-envs 4"),
        (1, {"actors": 4}, "4 actors cannot share 1 environments evenly: use --num-envs 4"),
        (2, {"address": "ray://head:10001"}, "expected HOST:PORT"),
        (2, {"cpus": 0}, "cpus: expected"),
        (2, {"epsilon": 1.5}, "epsilon: expected"),
        (2, {"max_stalness": 3}, "Did you mean 'max_staleness'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(num_envs: int, table: dict[str, object], said: str) -> None:
    context, _ = builtin_collection(num_envs)
    with pytest.raises(UserError, match=said):
        RayCollector(check_options(RayCollectionOptions, table, where="collector"), context)


def test_environments_in_processes_of_their_own_are_refused() -> None:
    context, _ = builtin_collection(2)
    fields = {**vars(context), "config": context.config.replace('vector = "sync"', 'vector = "async"')}
    with pytest.raises(UserError, match="actors are processes already: use --vector sync"):
        RayCollector(RayCollectionOptions(), CollectorContext(**fields))


def test_weights_travel_as_arrays_and_come_back_as_tensors_of_their_own() -> None:
    state = {"network": {"w": torch.arange(3.0), "count": torch.tensor(4)}, "goals": [1, (2.5, None)], "name": "x"}
    sent = portable(state)
    assert isinstance(sent["network"]["w"].array, np.ndarray)
    state["network"]["w"][0] = 9.0  # type: ignore[index]
    sent["network"]["w"].array.flags.writeable = False  # as Ray hands it out
    back = restored(sent)
    assert back["network"]["w"].tolist() == [0.0, 1.0, 2.0]
    back["network"]["w"] += 1
    assert back["network"]["count"].item() == 4
    assert back["goals"] == [1, [2.5, None]]


def test_an_actor_plays_without_ray_too() -> None:
    context, _ = builtin_collection(2)
    player = Player(context.config, range(1, 2), 0, [0.1], 20, threads=1)
    assert player.open().versions["cartpole-dqn"]
    answer = player.collect([None], -1)
    assert [fragment.lane for fragment in answer.fragments] == [1]
    assert answer.seconds > 0
