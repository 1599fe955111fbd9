"""The README names what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import cartpole_dqn_rainbow

from cartpole_dqn import Registry

PROJECT = Path(__file__).parents[1]


def test_the_commands_in_the_readme_name_what_there_is() -> None:
    registry = Registry("cartpole-dqn-rainbow", "0.1.0")
    cartpole_dqn_rainbow.register_components(registry)
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"--(network|exploration) ([\w-]+)", text)
    assert set(named) - {("exploration", "linear")} == {(part.kind, part.name) for part in registry.components()}
    # Each run of flags about one network: what it sets must be among that network's options.
    for line in text.splitlines():
        for name in re.findall(r"--network ([\w-]+)", line):
            options = registry.load("network", name).Options
            for key, value in re.findall(r"agent\.network\.(\w+)=(\S+)", line.replace("`", "")):
                options(**{key: tomllib.loads(f"value = {value}")["value"]})
