"""Presets that extend others, and files that do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.config.presets import layers_of, parse_preset
from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.errors import ConfigError, UserError
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.plugin.registry import Registry
from cartpole_dqn.training.resolve import named_settings, resolve_config

HOST = load_plugins(allowed=())
EDITS = """
extends = "pixels"
seed = 7

[observation.resize]
height = 60

[observation.grayscale]
after = "render"
keep_dim = true

[observation.channel]
drop = true

[agent.network]
hidden = 64
"""


def resolved(**given: Any) -> RunConfig:
    return resolve_config(HOST, **given)[0]


def names(config: RunConfig) -> list[str]:
    return [entry["wrapper"] for entry in config.observation]


def test_a_file_extends_a_preset_and_changes_single_wrappers(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(EDITS)
    config, pixels = resolved(config_file=file), resolved(preset="pixels")
    assert (config.preset, config.seed, config.agent["network"]["hidden"]) == ("pixels", 7, 64)
    assert names(config) == ["render", "grayscale", "resize", "frame-difference", "centered-crop"]
    assert config.observation[2] == {**pixels.observation[2], "height": 60}
    assert config.observation[3:] == pixels.observation[3:]
    assert config.agent["replay"] == pixels.agent["replay"]
    file.write_text('preset = "state"\n' + EDITS)
    with pytest.raises(ConfigError, match="preset and extends mean the same"):
        resolved(config_file=file)


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The presets `acme`, which extends `pixels`, and `acme-small`, which extends that."""
    (tmp_path / "acme_presets").mkdir()
    (tmp_path / "acme_presets" / "__init__.py").write_text("")
    small = 'extends = "acme"\nepisodes = 9\n[observation.grayscale]\ndrop = true\n[agent.target_update]\nname = "hard"'
    for name, text in (("acme", EDITS), ("acme-small", small), ("lost", 'extends = "pixles"')):
        (tmp_path / "acme_presets" / f"{name}.toml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    monkeypatch.setattr(HOST, "registry", registry)
    for component in load_plugins(allowed=()).registry.components():
        registry.add(component.kind, component.name, component.reference, component.summary)
    for name in ("acme", "acme-small", "lost"):
        registry.add("preset", name, f"acme_presets:{name}.toml", "")


@pytest.mark.usefixtures("acme")
def test_presets_extend_presets() -> None:
    config, notes = resolve_config(HOST, preset="acme-small")
    assert (config.preset, config.seed, config.steps, config.episodes) == ("acme-small", 7, None, 9)
    assert names(config) == ["render", "resize", "frame-difference", "centered-crop"]
    assert config.obs == "pixels"
    assert config.agent["target_update"]["name"] == "hard"
    assert notes == [], "the author of the preset knows"
    with pytest.raises(UserError, match="preset 'acme' observes pixels, not state"):
        resolved(preset="acme", flags={"obs": "state"})
    with pytest.raises(UserError, match=r"preset 'lost', extends: unknown preset 'pixles'\. Did you mean 'pixels'"):
        resolved(preset="lost")


def test_presets_in_a_circle_get_a_sentence() -> None:
    texts = {"a": 'extends = "b"', "b": 'extends = "a"'}
    with pytest.raises(ConfigError, match="preset 'a': presets extend each other in a circle: a -> b -> a"):
        layers_of(parse_preset("a", texts["a"]), texts.__getitem__)
    with pytest.raises(ConfigError, match="preset 'a': expected texts as summary and extends"):
        parse_preset("a", "extends = 3")


def test_options_and_arguments_change_single_wrappers_too() -> None:
    sets = [
        "observation.resize.height=60",
        "observation.channel.drop=true",
        "observation.grayscale.after=render",
        "observation.grayscale.keep_dim=true",
    ]
    by_set = resolved(preset="pixels", sets=sets)
    changes = {
        "resize": {"height": 60},
        "channel": {"drop": True},
        "grayscale": {"after": "render", "keep_dim": True},
    }
    by_name = resolved(preset="pixels", flags=named_settings(HOST.registry, {"wrappers": changes}))
    assert by_name == by_set
    assert names(by_set) == ["render", "grayscale", "resize", "frame-difference", "centered-crop"]
    # A whole list, and then a change to it.
    whole = ['observation=[{wrapper="render"}, {wrapper="resize", height=30}]', "observation.resize.height=20"]
    assert [entry.get("height") for entry in resolved(preset="pixels", sets=whole).observation] == [None, 20]


def test_added_observers_may_have_options_or_go() -> None:
    config = resolved(preset="state", observers=[("display", {"curve": False})], sets=["observer.metrics.drop=true"])
    assert [(entry["name"], entry["curve"]) for entry in config.observer] == [("display", False)]
