"""The fast path gives the bytes of `env.render()`, and stays away where it cannot."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pygame
import pygame.gfxdraw as gfxdraw
import pytest
from gymnasium.envs.classic_control import AcrobotEnv, CartPoleEnv, MountainCarEnv, PendulumEnv
from gymnasium.envs.toy_text import FrozenLakeEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from cartpole_dqn.wrappers import RenderObservation
from cartpole_dqn.wrappers.surface import Drawing, drawing_of, pixels, read

DRAWN_BY_PYGAME = ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1"]


def converted(surface: pygame.Surface) -> Any:
    return np.transpose(np.array(pygame.surfarray.pixels3d(surface)), axes=(1, 0, 2))


def assert_same_episode(fast: gymnasium.Env[Any, Any], plain: gymnasium.Env[Any, Any], seed: int, steps: int) -> None:
    """Play both alike; each observation must have the bytes of the other's one rendering."""
    plain.action_space.seed(seed)
    again, seeds = True, [seed]
    for _ in range(steps):
        if again:
            start = seeds.pop() if seeds else None
            observation, _ = fast.reset(seed=start)
            plain.reset(seed=start)
            assert observation.tobytes() == np.asarray(plain.render()).tobytes()
        action = plain.action_space.sample()
        observation, _, terminated, truncated, _ = fast.step(action)
        plain.step(action)
        assert observation.tobytes() == np.asarray(plain.render()).tobytes()
        again = terminated or truncated


def drawn(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(env_id, render_mode="rgb_array", **kwargs)


@pytest.mark.parametrize("env_id", DRAWN_BY_PYGAME)
@given(st.integers(0, 2**32), st.integers(3, 30))
@settings(max_examples=4)
def test_bytes_of_random_episodes(env_id: str, seed: int, length: int) -> None:
    plain, fast = drawn(env_id, max_episode_steps=length), drawn(env_id, max_episode_steps=length)
    assert drawing_of(type(plain.unwrapped).render) is not None
    assert_same_episode(RenderObservation(fast), plain, seed, 35)


def test_bytes_of_lunar_lander_whose_drawing_ages_its_sparks() -> None:
    pytest.importorskip("Box2D", reason="needs the box2d extra")
    plain = drawn("LunarLander-v3")
    assert drawing_of(type(plain.unwrapped).render) is not None
    for seed in (0, 1):  # Both crash within these steps and begin anew.
        assert_same_episode(RenderObservation(drawn("LunarLander-v3")), plain, seed, 110)


def test_several_alive_and_one_closed() -> None:
    fast = [RenderObservation(drawn(env_id)) for env_id in DRAWN_BY_PYGAME]
    plain = [drawn(env_id) for env_id in DRAWN_BY_PYGAME]
    for i in range(len(fast)):
        fast[i].reset(seed=i)
        plain[i].reset(seed=i)
        plain[i].action_space.seed(i)
    for step in range(12):
        if step == 6:  # Closing one ends pygame for the process; the others must not notice.
            fast.pop().close()
            plain.pop().close()
        for one, other in zip(fast, plain, strict=True):
            action = other.action_space.sample()
            observation = one.step(action)[0]
            other.step(action)
            assert observation.tobytes() == np.asarray(other.render()).tobytes()


# Environments that draw differently ----------------------------------------------------------------------------------


class PaintsOnTheArray(CartPoleEnv):
    """Changes the converted array, late in the episode only."""

    def render(self: Any) -> Any:
        frame = super().render()  # type: ignore[no-untyped-call]
        if self.state is not None and self.state[0] > 0.02:
            frame[170:200, 10:40] = 77
        return frame


class CutsTheArray(CartPoleEnv):
    def render(self: Any) -> Any:
        self.surf = pygame.Surface((60 + int(20 * abs(self.state[0])), 40))
        self.surf.fill((int(abs(self.state[1]) * 50) % 255, 20, 30))
        return np.transpose(np.array(pygame.surfarray.pixels3d(self.surf)), axes=(1, 0, 2))[:, -60:]


class DrawsMore(CartPoleEnv):
    """Draws on the surface after its parent, and converts as its parent does."""

    def render(self: Any) -> Any:
        super().render()  # type: ignore[no-untyped-call]
        pygame.draw.circle(self.screen, (10, 200, 30), (50, int(200 + 100 * self.state[2])), 20)
        return np.transpose(np.array(pygame.surfarray.pixels3d(self.screen)), axes=(1, 0, 2))


class ClearsBehindItself(CartPoleEnv):
    def render(self: Any) -> Any:
        super().render()  # type: ignore[no-untyped-call]
        try:
            return np.transpose(np.array(pygame.surfarray.pixels3d(self.screen)), axes=(1, 0, 2))
        finally:
            self.screen.fill((0, 0, 0))


class LooksAtItsDrawing(CartPoleEnv):
    """Ends as CartPole does, and draws where it finds its background."""

    def seen(self: Any) -> Any:
        return self.surf.get_at((5, 5))

    def render(self: Any) -> Any:
        x = self.state
        self.surf = pygame.Surface((self.screen_width, self.screen_height))
        self.surf.fill((255, 255, 255))
        gfxdraw.hline(self.surf, 0, self.screen_width, 200 + int(50 * x[2]), self.seen())
        self.surf = pygame.transform.flip(self.surf, False, True)
        self.screen.blit(self.surf, (0, 0))
        if self.render_mode == "human":
            pygame.event.pump()
            self.clock.tick(self.metadata["render_fps"])
            pygame.display.flip()

        elif self.render_mode == "rgb_array":
            return np.transpose(np.array(pygame.surfarray.pixels3d(self.screen)), axes=(1, 0, 2))


class Hilly(MountainCarEnv):
    """Draws differently through a helper that `render` calls."""

    def _height(self, xs: Any) -> Any:
        return np.cos(2 * xs) * 0.3 + 0.6


class Larger(CartPoleEnv):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.screen_width, self.screen_height = 701, 333


class SmallAcrobot(AcrobotEnv):
    SCREEN_DIM = 123


def decorated(render: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def darker(self: Any) -> Any:
        return render(self) // 2

    return darker


class Decorated(CartPoleEnv):
    render = decorated(CartPoleEnv.render)


@pytest.mark.parametrize(
    ("cls", "fast"),
    [
        (PaintsOnTheArray, False),
        (CutsTheArray, False),
        (ClearsBehindItself, False),
        (Decorated, False),
        (DrawsMore, True),
        (Hilly, True),
        (Larger, True),
        (SmallAcrobot, True),
    ],
)
def test_subclasses_that_draw_differently(cls: Any, fast: bool) -> None:
    assert (drawing_of(cls.render) is not None) == fast
    base = cls(render_mode="rgb_array")
    base.reset(seed=0)
    assert_same_episode(RenderObservation(base), cls(render_mode="rgb_array"), 3, 60)


def test_the_background_of_other_rows_is_left_out_only_where_nothing_looks_at_it() -> None:
    def upper_corner(cls: Any) -> tuple[int, ...]:
        env = cls(render_mode="rgb_array")
        env.screen = pygame.Surface((600, 400))
        env.reset(seed=0)
        draw = drawing_of(cls.render)
        assert draw is not None
        # The second drawing may reuse the surface of the first: what it leaves out keeps the mark.
        draw(env, slice(160, 320)).source.set_at((0, 399), (1, 2, 3))
        strip = draw(env, slice(160, 320))
        pixels = read(strip, slice(160, 320), slice(0, 600))
        assert np.array_equal(pixels, env.render()[160:320])
        return tuple(read(strip, slice(0, 1), slice(0, 1)).ravel().tolist())

    assert upper_corner(CartPoleEnv) == (1, 2, 3)
    assert upper_corner(LooksAtItsDrawing) == (255, 255, 255)


def test_rendering_redefined_on_the_instance_or_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    base: Any = CartPoleEnv(render_mode="rgb_array")
    base.reset(seed=0)
    env = RenderObservation(base)
    real = base.render()
    base.render = lambda: real // 2
    assert np.array_equal(env.step(0)[0], real // 2)
    del base.render
    monkeypatch.setattr(CartPoleEnv, "render", lambda self: real // 3)
    assert np.array_equal(env.step(0)[0], real // 3)


def test_module_values_count_as_they_are_now(monkeypatch: pytest.MonkeyPatch) -> None:
    base, plain = (AcrobotEnv(render_mode="rgb_array") for _ in range(2))
    base.reset(seed=0)
    fast = RenderObservation(base)
    before = fast.reset(seed=0)[0]
    plain.reset(seed=0)
    monkeypatch.setattr("gymnasium.envs.classic_control.acrobot.cos", lambda x: 0.5)
    after = fast.step(0)[0]
    plain.step(0)
    assert after.tobytes() == np.asarray(plain.render()).tobytes()
    assert not np.array_equal(before, after)


@pytest.mark.parametrize("cls", [CartPoleEnv, AcrobotEnv, MountainCarEnv, PendulumEnv])
def test_the_drawing_hands_over_a_surface_and_changes_nothing_else(cls: Any) -> None:
    env = cls(render_mode="rgb_array")
    env.reset(seed=0)
    draw = drawing_of(cls.render)
    assert draw is not None
    drawn = draw(env)
    assert isinstance(drawn, Drawing)
    assert (drawn.source is None) == (cls is PendulumEnv), "what ends as most do is not turned over for nobody"
    width, height = drawn.surface.get_size()
    assert np.array_equal(read(drawn, slice(0, height), slice(0, width)), env.render())
    assert drawing_of(cls.render) is draw, "compiled once"


def test_functions_that_do_not_convert_in_sight() -> None:
    assert drawing_of(FrozenLakeEnv.render) is None
    assert drawing_of(len) is None
    assert drawing_of(property(lambda self: None)) is None
    made_from_text: dict[str, Any] = {"np": np, "pygame": pygame}
    exec("def render(self): return np.zeros(3)", made_from_text)
    assert drawing_of(made_from_text["render"]) is None


MODULE = """
{imports}
import pygame


class Env:
    def render(self):
        if self.blank:
            return None
        return np.transpose(np.array(pygame.surfarray.pixels3d(self.screen)), axes=(1, 0, 2))
"""


def loaded(path: Path, text: str) -> Any:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_the_real_numpy_is_trusted(tmp_path: Path) -> None:
    real = loaded(tmp_path / "real.py", MODULE.format(imports="import numpy as np"))
    fake = loaded(tmp_path / "fake.py", MODULE.format(imports="class np:\n    array = transpose = print"))
    assert drawing_of(real.Env.render) is not None
    assert drawing_of(fake.Env.render) is None


def test_an_edited_source_is_not_trusted(tmp_path: Path) -> None:
    text = MODULE.format(imports="import numpy as np")
    module = loaded(tmp_path / "edited.py", text)
    (tmp_path / "edited.py").write_text(text.replace("return None", "return 7777"))
    assert drawing_of(module.Env.render) is None


# Reading surfaces -----------------------------------------------------------------------------------------------------


@st.composite
def surfaces(draw: st.DrawFn) -> tuple[pygame.Surface, slice, slice]:
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    kind = draw(st.sampled_from(["plain", "alpha", "24", "colorkey", "faint", "bgr"]))
    masks = (0xFF, 0xFF00, 0xFF0000, 0)
    surface = {
        "24": lambda: pygame.Surface((width, height), depth=24),
        "alpha": lambda: pygame.Surface((width, height), pygame.SRCALPHA, 32),
        "bgr": lambda: pygame.Surface((width, height), depth=32, masks=masks),
    }.get(kind, lambda: pygame.Surface((width, height), depth=32))()
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    pygame.surfarray.pixels3d(surface)[...] = random.integers(0, 256, (width, height, 3), np.uint8)
    if kind == "alpha":
        pygame.surfarray.pixels_alpha(surface)[...] = random.integers(0, 256, (width, height), np.uint8)
    if kind == "colorkey":
        surface.set_colorkey(surface.get_at((0, 0)))
    if kind == "faint":
        surface.set_alpha(100)
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    rows = slice(top, draw(st.integers(top + 1, height)))
    return surface, rows, slice(left, draw(st.integers(left + 1, width)))


@given(surfaces())
def test_read_is_the_conversion_of_a_part(case: tuple[pygame.Surface, slice, slice]) -> None:
    surface, rows, columns = case
    for drawing, picture in (
        (Drawing(surface), converted(surface)),
        (Drawing(pygame.Surface(surface.get_size()), surface), np.flipud(converted(surface))),
    ):
        frame = read(drawing, rows, columns)
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous
        assert frame.flags.writeable
        assert np.array_equal(frame, picture[rows, columns])
        found = pixels(drawing, rows, columns)
        if found is not None:
            view, red = found
            colours = view[..., [red, 1, 2 - red]]
            assert np.array_equal(colours if drawing.source is None else np.flipud(colours), picture[rows, columns])
            assert surface.get_locked()
            del view, found
        assert not surface.get_locked()


def test_read_while_somebody_else_holds_the_pixels() -> None:
    surface = pygame.Surface((7, 5))
    surface.fill((1, 2, 3))
    held = pygame.surfarray.pixels3d(surface)
    assert pixels(Drawing(surface), slice(0, 5), slice(0, 7)) is None
    assert np.array_equal(read(Drawing(surface), slice(0, 5), slice(0, 7)), np.transpose(held, (1, 0, 2)))


def test_a_drawing_that_is_held_stays_as_it_is() -> None:
    first, second = (RenderObservation(drawn("CartPole-v1"), rows=[160, 320]) for _ in range(2))
    first.reset(seed=0)
    held = first.pixels()
    assert isinstance(held, tuple)
    before = held[0].copy()
    second.reset(seed=1)  # draws on the same surface, if nobody reads it
    assert not np.array_equal(second.pixels()[0], before)
    assert np.array_equal(held[0], before)
