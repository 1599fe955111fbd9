"""From a configuration to environments: ids, wrappers by name and by module, and what cannot be learned here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.envs.chain import frame_stack
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.ids import find_spec
from cartpole_dqn.errors import ConfigError, UnsuitableEnvError, UserError
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.assembly import make_agent, used_components
from cartpole_dqn.training.resolve import resolve_config

HOST = load_plugins(allowed=())


class Odd(gymnasium.Env[Any, Any]):
    """An environment of any spaces; it cannot be drawn."""

    def __init__(self, observations: Any = None, actions: Any = None) -> None:
        self.observation_space = observations or spaces.Box(0, 1, (2,))
        self.action_space = actions or spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}


class Continuous(Odd):
    """One that would offer discrete actions if it was asked to."""

    def __init__(self, continuous: bool = True) -> None:
        super().__init__(actions=spaces.Box(-1, 1, (2,)) if continuous else spaces.Discrete(4))


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = set(gymnasium.registry)
    yield
    for name in set(gymnasium.registry) - before:
        if name.startswith("tests/"):
            del gymnasium.registry[name]


def resolve(env_id: str, obs: str = "state", sets: list[str] | None = None) -> RunConfig:
    return resolve_config(HOST, flags={"env": {"id": env_id}, "obs": obs}, sets=sets or [])[0]


def make(env_id: str, obs: str = "state", *sets: str) -> gymnasium.Env[Any, Any]:
    return EnvFactory(resolve(env_id, obs, list(sets)), HOST).make()


def refusal(env_id: str, obs: str = "state", *sets: str) -> str:
    with pytest.raises(UnsuitableEnvError) as caught:
        make(env_id, obs, *sets)
    return str(caught.value)


def test_a_wrapper_for_training_only_is_left_out_of_evaluation() -> None:
    entry = {"wrapper": "transform", "name": "GaussianNoise", "options": {"sigma": 0.2}, "training_only": True}
    config, _ = resolve_config(HOST, flags={"obs": "pixels", "observation": [{"wrapper": "render"}, entry]})
    assert config.observation[-1] == entry, "the run's configuration keeps the mark"
    factory = EnvFactory(config, HOST)
    training, evaluating = factory.make(), factory.make(evaluating=True)
    assert training.observation_space == evaluating.observation_space
    noisy, clean = training.reset(seed=1)[0], evaluating.reset(seed=1)[0]
    assert not np.array_equal(noisy, clean)
    assert np.array_equal(clean, training.unwrapped.render())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"wrapper": "resize", "height": 40, "training_only": True}, "training_only is for wrappers that keep the"),
        ({"wrapper": "flatten", "training_only": "yes"}, "training_only: expected true or false, got 'yes'"),
        ({"wrapper": "flatten", "trainingonly": True}, "Did you mean 'training_only'"),
    ],
)
def test_a_mark_that_does_not_fit_is_refused(entry: dict[str, Any], words: str) -> None:
    def made() -> Any:
        config, _ = resolve_config(HOST, flags={"obs": "pixels", "observation": [{"wrapper": "render"}, entry]})
        return EnvFactory(config, HOST).make()

    with pytest.raises(ConfigError, match=words):
        made()


# What cannot be learned -----------------------------------------------------------------------------------------------

CAMERA = spaces.Box(0, 255, (2, 2), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"actions": spaces.Box(-1, 1, (2,))},
            ["action space Box", "finite number of actions", '"gymnasium.wrappers:DiscretizeAction"'],
        ),
        ({"actions": spaces.MultiDiscrete([3, 4, 2])}, ["MultiDiscrete", "Number its 24 combinations"]),
        ({"actions": spaces.MultiBinary(4)}, ["Number its 16 combinations", '"module:Class"']),
        ({"actions": spaces.Dict(a=spaces.Discrete(2))}, ["action space Dict", "a few fixed actions"]),
        (
            {"observations": spaces.Sequence(spaces.Discrete(3))},
            ["the observation (Sequence) varies in shape from step to step", "of your own", "--obs pixels"],
        ),
        (
            {"observations": spaces.Graph(spaces.Box(0, 1, (2,)), None)},
            ["the observation (Graph) varies in shape", "arrays of one shape"],
        ),
        ({"observations": spaces.Text(9)}, ["the observation is text"]),
        (
            {"observations": spaces.Dict(camera=CAMERA, mission=spaces.Text(9), place=spaces.Discrete(4))},
            ["`mission` is text", 'filter_keys = ["camera", "place"]', "--obs pixels"],
        ),
        ({"observations": spaces.Tuple((CAMERA, spaces.Text(9)))}, ["`1` is text", "of your own"]),
    ],
)
def test_what_cannot_be_learned_gets_a_sentence(arguments: dict[str, Any], words: list[str]) -> None:
    gymnasium.register("tests/Odd-v0", Odd, kwargs=arguments)
    text = refusal("tests/Odd-v0")
    assert text.startswith("tests/Odd-v0 ")
    for word in words:
        assert word in text


def test_observations_that_a_replay_cannot_hold_are_refused_at_once() -> None:
    gymnasium.register("tests/Odd-v0", Odd, kwargs={"observations": spaces.Box(0, 255, (4000, 3000), np.uint8)})
    config = resolve("tests/Odd-v0", obs="state")
    words = r"a replay with 90000000 slots of uint8 \[4000, 3000\] would take 1,080 TB of memory, but "
    with pytest.raises(UserError, match=words):
        EnvFactory(config, HOST, slots=90_000_000).make()
    for slots in (0, 1):
        EnvFactory(config, HOST, slots=slots).make().close()


def test_what_the_sentences_advise_works() -> None:
    gymnasium.register("tests/Odd-v0", Odd, kwargs={"observations": spaces.Dict(camera=CAMERA, mission=spaces.Text(9))})
    advice = refusal("tests/Odd-v0").split("--set '")[1].split("'")[0]
    assert make("tests/Odd-v0", "state", advice).observation_space == spaces.Box(0, 255, (4,), np.uint8)
    entry = '{wrapper = "gymnasium.wrappers:DiscretizeAction", bins = 5}'
    assert make("Pendulum-v1", "state", f"observation=[{entry}]").action_space == spaces.Discrete(5)
    gymnasium.register("tests/Continuous-v0", Continuous)
    advice = refusal("tests/Continuous-v0").split("--set ")[1]
    assert make("tests/Continuous-v0", "state", advice).action_space == spaces.Discrete(4)


@pytest.mark.parametrize("accepts", [True, False])
def test_what_cannot_be_drawn_gets_a_sentence(accepts: bool) -> None:
    class Blind(Odd):
        metadata = {"render_modes": ["ansi"] if accepts else []}  # noqa: RUF012

        def __init__(self, **given: Any) -> None:
            assert accepts or not given
            self.render_mode = given.get("render_mode")
            super().__init__()

    gymnasium.register("tests/Blind-v0", Blind if accepts else Odd)
    text = refusal("tests/Blind-v0", "pixels")
    assert "tests/Blind-v0 cannot be drawn: it has no render mode rgb_array" in text
    assert f"its modes: {'ansi' if accepts else 'none'}" in text
    assert "--obs state" in text


# Ids ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        ("Foo-v1", "`Foo` doesn't exist. If a package registers it, name the package too: --env PACKAGE:Foo-v1"),
        ("CartPol-v1", "`CartPol` doesn't exist. Did you mean 'CartPole-v1'?"),
        ("nobody/Foo-v0", "package for nobody? If a package registers it"),
        ("json:Foo-v1", "doesn't exist. The module json was imported and does not register it."),
        ("no_such_module:Foo-v1", "No module named 'no_such_module'."),
    ],
)
def test_an_unknown_id_says_what_may_help(env_id: str, words: str) -> None:
    with pytest.raises(UnsuitableEnvError) as caught:
        EnvFactory(resolve("CartPole-v1", sets=[f'env.id="{env_id}"']), HOST).base()
    text = str(caught.value)
    assert text.endswith(words) or words in text
    assert not any(odd in text for odd in ("?.", "..", "? Did"))


@pytest.mark.parametrize("env_id", ["Pong-v5", "pong"])
def test_the_name_of_an_atari_game_is_enough_for_a_suggestion(env_id: str) -> None:
    pytest.importorskip("ale_py", reason="the extra atari brings it")
    with pytest.raises(UnsuitableEnvError, match=r"Did you mean 'ALE/Pong-v5'\?"):
        find_spec(env_id)


def test_a_typo_in_a_class_of_ones_own_gets_a_suggestion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_games.py").write_text("import gymnasium\n\n\nclass Catch20(gymnasium.Env):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    for env_id in ("own_games:Catch", "own_games:catch20"):
        with pytest.raises(UnsuitableEnvError, match=r"does not register it\. Did you mean 'Catch20'"):
            find_spec(env_id)


def test_a_file_in_place_of_its_class_gets_a_suggestion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    games = "raise SystemExit\nclass Help: ...\nclass Catch(Env):\n    def step(self, action): ...\n"
    (tmp_path / "cartpole.py").write_text(games)  # which is not imported
    (tmp_path / "bare.py").write_text("class Catch(Base): ...\nclass Dodge(Base): ...\n")
    (tmp_path / "broken.py").write_text("class\n")
    for env_id in ("cartpole", "cartpole.py", "cartpole.Catch"):
        assert refusal(env_id).endswith(" cartpole.py, which is in the current folder, write --env cartpole:Catch")
    assert refusal("bare").endswith("write --env bare:Catch or --env bare:Dodge")
    assert refusal("broken").endswith("--env PACKAGE:broken")


@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "ale_py:ALE/Pong-v5"])
def test_atari_games_without_their_package_name_the_extra(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    text = refusal(env_id, "pixels")
    assert "ale_py" in text
    assert "pip install 'cartpole-dqn[atari]'" in text


def test_box2d_games_without_their_package_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "Box2D", None)
    text = refusal("LunarLander-v3")
    assert "LunarLander-v3 needs a package that is not installed" in text
    assert "pip install 'cartpole-dqn[box2d]'" in text


def test_one_argument_more_keeps_those_of_the_preset() -> None:
    config = resolve("ALE/Pong-v5", "pixels", ["env.kwargs.difficulty=1"])
    assert config.env.kwargs == {"frameskip": 1, "difficulty": 1}
    assert resolve("ALE/Pong-v5", "pixels", ["env.kwargs.frameskip=2"]).env.kwargs == {"frameskip": 2}


def test_atari_games_have_presets_of_their_own() -> None:
    for env_id in ("ALE/Pong-v5", "ale_py:ALE/Breakout-v5"):
        assert resolve(env_id, "pixels").preset == "atari"
        assert resolve(env_id, "state").preset == "atari-ram"


@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "ale_py:ALE/Pong-v5"])
def test_atari_games_from_the_screen(env_id: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The picture is the maximum of two raw frames, resized, in shades of grey; the action is repeated four times."""
    pytest.importorskip("ale_py")
    env = make(env_id, "pixels", "env.kwargs.repeat_action_probability=0.0")
    assert env.observation_space == spaces.Box(0, 255, (4, 84, 84, 1), np.uint8)
    env.reset(seed=3)
    first = np.array(env.unwrapped.ale.getFrameNumber())  # type: ignore[attr-defined]
    for _ in range(20):
        obs, *_ = env.step(2)
    assert env.unwrapped.ale.getFrameNumber() - first == 80  # type: ignore[attr-defined]
    screen = env.unwrapped.ale.getScreenGrayscale()  # type: ignore[attr-defined]
    rows = np.arange(84) * 210 // 84
    far = np.abs(obs[-1, :, :, 0].astype(int) - screen[rows][:, np.arange(84) * 160 // 84].astype(int)) > 40
    assert far.mean() < 0.05, "the last frame must look like the screen"
    assert "A.L.E" not in "".join(capfd.readouterr()), "no greetings in the midst of a display"
    env.close()
    assert make("ALE/Pong-v5", "state").observation_space == spaces.Box(0, 255, (128,), np.uint8)


# Environments by module -----------------------------------------------------------------------------------------------


@pytest.fixture
def own_envs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of a dict of a picture and a text, drawn in floats; with `alone`, it can exist once."""
    (tmp_path / "own_envs.py").write_text(
        "import gymnasium\n"
        "import numpy as np\n"
        "from gymnasium import spaces\n"
        "class Cameras(gymnasium.Env):\n"
        "    metadata = {'render_modes': ['rgb_array'], 'render_fps': 30}\n"
        "    observation_space = spaces.Dict(camera=spaces.Box(0, 255, (9, 8, 3), np.uint8), said=spaces.Text(5))\n"
        "    action_space = spaces.Discrete(2)\n"
        "    alive = renders = 0\n"
        "    def __init__(self, render_mode=None, alone=False, draws=True):\n"
        "        if alone and Cameras.alive:\n"
        "            raise OSError('the port is taken')\n"
        "        Cameras.alive += 1\n"
        "        self.render_mode, self.draws = render_mode, draws\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        super().reset(seed=seed)\n"
        "        return {'camera': np.full((9, 8, 3), 7, np.uint8), 'said': 'a'}, {}\n"
        "    def step(self, action):\n"
        "        return self.reset()[0], 1.0, False, False, {}\n"
        "    def render(self):\n"
        "        Cameras.renders += 1\n"
        "        if not self.draws:\n"
        "            raise RuntimeError('no context')\n"
        "        return np.full((6, 5, 3), 0.5)\n"
        "    def close(self):\n"
        "        Cameras.alive -= 1\n"
        "class Bytes(gymnasium.Wrapper):\n"
        "    def __init__(self, env, most=255):\n"
        "        super().__init__(env)\n"
        "        self.most = most\n"
        "    def render(self):\n"
        "        return (self.most * self.env.render()).astype(np.uint8)\n"
        "gymnasium.register('Cameras-v0', Cameras)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_envs", raising=False)
    monkeypatch.setattr("gymnasium.envs.registration.registry", dict(gymnasium.registry))


CAMERAS = "own_envs:Cameras-v0"
BYTES, RENDER, SELECT = ({"wrapper": "own_envs:Bytes"}, {"wrapper": "render"}, {"wrapper": "select", "key": "camera"})


def cameras(*observation: dict[str, Any], **kwargs: Any) -> RunConfig:
    flags = {"env": {"id": CAMERAS, "kwargs": kwargs}, "obs": "pixels", "observation": list(observation)}
    return resolve_config(HOST, flags=flags)[0]


def test_a_picture_inside_a_dict_is_selected(own_envs: None) -> None:
    env = EnvFactory(cameras(SELECT, {"wrapper": "crop", "rows": [2, 5]}), HOST).make()
    assert env.observation_space.shape == (3, 8, 3)
    assert env.reset(seed=0)[0].max() == 7


def test_a_rendering_wrapper_of_ones_own_counts_for_the_agent_and_for_those_who_watch(own_envs: None) -> None:
    config = cameras(BYTES, RENDER)
    assert EnvFactory(config, HOST).make().observation_space == spaces.Box(0, 255, (6, 5, 3), np.uint8)
    shown: Any = EnvFactory(config, HOST, for_viewing=True).make()
    module = sys.modules["own_envs"]
    module.Cameras.renders = 0
    observation = shown.reset(seed=0)[0]
    assert np.array_equal(observation, shown.render())
    assert module.Cameras.renders == 1, "each moment is drawn once"


def test_a_function_that_takes_no_render_mode_may_draw_all_the_same() -> None:
    gymnasium.register("tests/Drawn-v0", lambda: gymnasium.make("CartPole-v1", render_mode="rgb_array").unwrapped)
    assert make("tests/Drawn-v0", "pixels").observation_space.shape is not None


def test_a_renderer_that_fails_is_called_once_and_its_environment_closed(own_envs: None) -> None:
    config = cameras(RENDER, draws=False)
    with pytest.raises(ConfigError, match=r"observation\[0\] \(render\): .* RuntimeError: no context"):
        EnvFactory(config, HOST).make()
    module = sys.modules["own_envs"]
    assert (module.Cameras.renders, module.Cameras.alive) == (1, 0)


def test_one_that_can_exist_only_once_is_refused_before_the_run(own_envs: None) -> None:
    factory = EnvFactory(cameras(SELECT, alone=True), HOST)
    env = factory.make()
    with pytest.raises(
        UnsuitableEnvError,
        match=r"not once more to evaluate in: .*the port is taken \(own_envs.py, line \d+\)\. .*every=0",
    ):
        factory.require_another()
    env.close()
    factory.require_another()
    assert sys.modules["own_envs"].Cameras.alive == 0


# Wrappers by module ---------------------------------------------------------------------------------------------------


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_wrappers.py").write_text(
        "import gymnasium\n"
        "class Doubled(gymnasium.ObservationWrapper):\n"
        "    def __init__(self, env, times=2):\n"
        "        super().__init__(env)\n"
        "        self.times = times\n"
        "    def observation(self, obs):\n"
        "        return obs * self.times\n"
        "class Inside:\n"
        "    doubled = Doubled\n"
        "def forgets(env):\n"
        "    env.reset()\n"
        "def raises(env):\n"
        "    raise KeyError('camera')\n"
        "number = 3\n"
    )
    (tmp_path / "broken_wrappers.py").write_text("import no_such_package_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)


def entry(name: str, **options: Any) -> str:
    table = ", ".join([f'wrapper = "{name}"', *(f"{key} = {value}" for key, value in options.items())])
    return f"observation=[{{{table}}}]"


@pytest.mark.parametrize("name", ["own_wrappers:Doubled", "own_wrappers:Inside.doubled"])
def test_a_wrapper_may_be_anybodys(own_module: None, name: str) -> None:
    config = resolve("CartPole-v1", sets=[entry(name)])
    assert config.observation == [{"wrapper": name, "times": 2}], "defaults are filled in"
    assert used_components(config, HOST.registry)[f"wrapper/{name}"] == "own_wrappers.py"
    env, plain = make("CartPole-v1", "state", entry(name, times=3)), gymnasium.make("CartPole-v1")
    assert np.array_equal(env.reset(seed=1)[0], 3 * plain.reset(seed=1)[0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_wrappers:Dubled", "has no Dubled. Did you mean 'Doubled'?"),
        ("no_wrappers_here:Doubled", "there is no module no_wrappers_here"),
        ("broken_wrappers:Doubled", "No module named 'no_such_package_at_all'"),
        ("own_wrappers:", "expected module:Class"),
        (":Doubled", "expected module:Class"),
        ("own_wrappers:number", "expected a class, got a int"),
        ("own_wrappers:forgets", "expected it to return a gymnasium.Env, got a NoneType"),
        ("own_wrappers:raises", "KeyError: 'camera'"),
        ("gymnasium.wrappers:FilterObservation", "expected a value for filter_keys"),
    ],
)
def test_a_wrapper_by_module_that_does_not_fit_gets_a_sentence(own_module: None, name: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        make("CartPole-v1", "state", entry(name))
    assert words in str(caught.value)


# Frames ---------------------------------------------------------------------------------------------------------------

STACK = '{wrapper = "stack", stack_size = 3}'


@pytest.mark.parametrize(
    ("env_id", "observation", "expected"),
    [
        ("CartPole-v1", f"[{STACK}]", 3),
        ("CartPole-v1", '[{wrapper = "gymnasium.wrappers:FrameStackObservation", stack_size = 4}]', 4),
        ("CartPole-v1", f'[{STACK}, {{wrapper = "flatten"}}]', 1),
        ("CartPole-v1", "[]", 1),
        ("FrozenLake-v1", f"[{STACK}]", 1),
    ],
)
def test_a_stack_is_known_where_its_frames_can_be_shared(env_id: str, observation: str, expected: int) -> None:
    config = resolve(env_id, sets=[f"observation={observation}", "agent.replay.capacity=100"])
    env = EnvFactory(config, HOST).make()
    space: Any = env.observation_space
    assert frame_stack(config.observation, HOST.registry, space) == expected
    agent: Any = make_agent(config, HOST, space, env.action_space)
    assert agent._replay.ring.frame_stack == expected


def test_a_list_of_toml_is_a_tuple_for_a_wrapper_that_wants_one() -> None:
    entry = {"wrapper": "gymnasium.wrappers:ReshapeObservation", "shape": [2, 2]}
    config = resolve_config(HOST, flags={"obs": "state", "observation": [entry]})[0]
    assert config.observation == [entry]
    assert EnvFactory(config, HOST).make().observation_space.shape == (2, 2)
