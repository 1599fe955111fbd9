from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cartpole_dqn.errors import RunFolderError, UserError
from cartpole_dqn.studies.grouping import Record, group_records, has_effect, read_record, read_records

Write = Callable[..., Record]


def shape(records: list[Record], *keys: str) -> dict[str, list[str]]:
    return {group.label: [record.name for record in group.records] for group in group_records(records, keys)}


def test_runs_that_differ_only_in_their_seed_are_together(record: Write) -> None:
    records = [
        record("a0", seed=0),
        record("b0", seed=0, sets=["agent.optimiser.lr=0.01"]),
        record("a1", seed=1, sets=["threads=4", "checkpoint.every_steps=7", 'device="cpu"']),
        record("b1", seed=1, sets=["agent.optimiser.lr=0.01", 'env.vector="async"']),
    ]
    assert shape(records) == {"lr=0.002": ["a0", "a1"], "lr=0.01": ["b0", "b1"]}
    groups = group_records(records)
    assert [group.settings for group in groups] == [{"agent.optimiser.lr": 0.002}, {"agent.optimiser.lr": 0.01}]
    assert groups[0].envs == ("CartPole-v1",)
    assert (records[0].seed, records[2].seed, records[0].title) == (0, 1, records[2].title.replace("seed 1", "seed 0"))


def test_labels_say_what_is_needed_to_tell_groups_apart(record: Write) -> None:
    records = [
        record("a"),
        record("b", sets=["agent.optimiser.lr=0.01", "agent.n_step=7"]),
        record("c", sets=["agent.target_update.name=hard", "agent.n_step=7"]),
        record("d", env="Acrobot-v1"),
    ]
    assert list(shape(records[:1])) == ["a"], "a run alone is called by its name"
    twins = [records[0], record("a1", seed=1)]
    assert list(shape(twins)) == ["CartPole-v1, state, preset state"]
    assert list(shape(records[:2])) == ["n_step=5", "n_step=7"], "one key of two is enough"
    assert list(shape(records[1:3])) == ["target_update=soft", "target_update=hard"], "a part's name comes first"
    assert list(shape([records[0], records[3]])) == ["env=CartPole-v1", "env=Acrobot-v1"]
    assert list(shape(records)) == [
        "env=CartPole-v1, target_update=soft, n_step=5",
        "env=CartPole-v1, target_update=soft, n_step=7",
        "env=CartPole-v1, target_update=hard, n_step=7",
        "env=Acrobot-v1, target_update=soft, n_step=3",
    ]


def test_an_ambiguous_end_of_a_key_is_told_with_what_is_before(record: Write) -> None:
    records = [
        record("a", sets=["steps=7"]),
        record("b", sets=["steps=8", "agent.exploration.steps=9"]),
    ]
    assert list(shape(records, "steps", "agent.exploration.steps")) == [
        "steps=7, exploration.steps=2000",
        "steps=8, exploration.steps=9",
    ]


def test_groups_by_what_is_asked_for(record: Write) -> None:
    records = [
        record("a", seed=0, sets=["agent.optimiser.lr=0.01"]),
        record("b", seed=0, sets=["agent.n_step=1"]),
        record("c", seed=1),
    ]
    assert shape(records, "lr") == {"lr=0.01": ["a"], "lr=0.002": ["b", "c"]}
    assert shape(records, "agent.optimiser") == {"optimiser=adam": ["a", "b", "c"]}
    assert shape(records, "optimiser", "lr") == {
        "optimiser=adam, lr=0.01": ["a"],
        "optimiser=adam, lr=0.002": ["b", "c"],
    }
    assert shape(records, "env") == {"env=CartPole-v1": ["a", "b", "c"]}
    assert shape(records, "seed") == {"seed=0": ["a", "b"], "seed=1": ["c"]}
    assert shape(records, "run") == {"a": ["a"], "b": ["b"], "c": ["c"]}
    assert shape(records, "all") == {"all runs": ["a", "b", "c"]}
    assert shape([]) == shape([], "all") == {}


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("lrr", "--group-by lrr: no run has such a key. Did you mean 'lr'?"),
        ("agent.optimizer.lr", "Did you mean 'agent.optimiser.lr'?"),
        ("qqq", "`config.toml` in a run's folder has the keys there are."),
        ("name", "agent.name, agent.network.name"),
    ],
)
def test_a_key_that_is_none_gets_a_sentence(record: Write, key: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        group_records([record("a")], [key])
    assert words in str(caught.value)


def test_wrappers_and_missing_keys(record: Write) -> None:
    records = [record("w", sets=['observation=[{wrapper="resize",height=40}]']), record("p")]
    assert records[0].settings["observation.0.wrapper"] == "resize"
    assert list(shape(records)) == ["observation.0=resize", "observation.0=none"]


def test_runs_of_one_name_are_told_by_their_folders(record: Write) -> None:
    assert list(shape([record("x/r"), record("y/r"), record("y/s")], "run")) == ["x/r", "y/r", "s"]
    far = [record("one/x/q"), record("two/x/q")]
    assert list(shape(far, "run")) == [str(one.path) for one in far]


def test_what_cannot_be_read_is_refused(record: Write) -> None:
    folder = record("r").path
    (folder / "metrics.jsonl").unlink()
    with pytest.raises(RunFolderError, match="writes no metrics"):
        read_record(folder)
    shutil.rmtree(folder)
    with pytest.raises(RunFolderError, match=r"holds no config\.toml"):
        read_record(folder)


def test_a_shared_agent_is_no_record_and_says_why(record: Write, tmp_path: Path) -> None:
    shared = shutil.copytree(Path(__file__).parents[2] / "examples" / "trained" / "state", tmp_path / "given")
    with pytest.raises(RunFolderError, match="given is a shared agent, which holds no metrics"):
        read_records([shared], print)
    record("mine")
    warned: list[str] = []
    assert [found.name for found in read_records([tmp_path], warned.append)] == ["mine"]
    assert warned == ["left out: given is a shared agent, which holds no metrics."]


def test_what_has_an_effect() -> None:
    assert [key for key in ("seed", "threads", "env.vector", "checkpoint.every_steps") if has_effect(key)] == []
    assert all(has_effect(key) for key in ("steps", "env.id", "env.vector_size", "agent.exploration.seeds", "preset"))


def test_trials_of_variants_are_grouped_and_labelled_by_their_names(record: Write) -> None:
    sets = {"default": [], "no-double": ["agent.double=false", "agent.n_step=1"]}
    records = [record(f"{name},seed={seed}", seed=seed, sets=sets[name]) for name in sets for seed in range(2)]
    expected = {name: [f"{name},seed=0", f"{name},seed=1"] for name in sets}
    assert shape(records) == shape(records, "variant") == expected
    other = record("lr=0.1,seed=0", sets=["agent.optimiser.lr=0.1"])
    assert "variant" not in other.settings
    assert list(shape([*records, other])) == [*sets, "variant=none"]
