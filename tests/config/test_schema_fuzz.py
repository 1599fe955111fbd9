"""Thousands of broken configurations: each is a complete configuration, or refused by a sentence; none is imported."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from cartpole_dqn.config.schema import RunConfig, to_toml
from cartpole_dqn.errors import UserError
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.training.resolve import read_config, resolve_config

HOST = load_plugins(allowed=())
Random = np.random.Generator
WORDS = [
    b"=",
    b"[",
    b"]",
    b"[[x]]\n",
    b"\n",
    b'"',
    b"'",
    b"0x",
    b"1e999",
    b"nan",
    b"\xff",
    b"\0",
    b"\\u001b",
    b"#",
    b".",
]
TEXTS = [
    "", "x", "dqn", "uniform", "pixels", "../x", "\x1b[2J", "\x00", "\u202e", "y" * 3000, "a:b", "os:abort", "%s{}"
]  # fmt: skip


def complete_texts() -> list[bytes]:
    return [to_toml(resolve_config(HOST, preset=name)[0]).encode() for name in HOST.registry.names("preset")]


# Breaking -------------------------------------------------------------------------------------------------------------


def mangle(text: bytes, chance: Random) -> bytes:
    out = bytearray(text)
    for _ in range(int(chance.integers(1, 4))):
        at, to = sorted(int(i) for i in chance.integers(0, len(out) + 1, 2))
        match int(chance.integers(5)):
            case 0 if at < len(out):
                out[at] ^= 1 << int(chance.integers(8))
            case 1:
                del out[at : min(to, at + 30)]
            case 2:
                out[at:at] = out[at : min(to, at + 200)]
            case 3 if chance.random() < 0.1:
                del out[at:]
            case _:
                out[at : at + 1] = WORDS[int(chance.integers(len(WORDS)))]
    return bytes(out)


def any_value(chance: Random, depth: int = 0) -> Any:
    choices: list[Callable[[], Any]] = [
        lambda: bool(chance.integers(2)),
        lambda: int(chance.integers(-3, 100)),
        lambda: int(chance.choice([-(2**62), 2**62, 0, 2**31])),
        lambda: float(chance.choice([0.0, -0.0, 0.5, 1e300, float("nan"), float("inf"), -float("inf")])),
        lambda: TEXTS[int(chance.integers(len(TEXTS)))],
        lambda: {TEXTS[int(chance.integers(len(TEXTS)))]: any_value(chance, depth + 1)},
        lambda: {"name": any_value(chance, depth + 1)},
        lambda: [any_value(chance, depth + 1) for _ in range(int(chance.integers(4)))] if depth < 4 else [],
        lambda: nested(int(chance.integers(1, 60))),
    ]
    return choices[int(chance.integers(len(choices)))]()


def nested(depth: int) -> Any:
    value: Any = 0
    for i in range(depth):
        value = [value] if i % 2 else {"name": value}
    return value


def places_in(node: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from places_in(node[key])


def edit(text: bytes, chance: Random) -> bytes:
    """Change up to three places of the table; what TOML cannot hold is written as text."""
    table = tomllib.loads(text.decode())
    for _ in range(int(chance.integers(1, 4))):
        places = list(places_in(table))
        node, key = places[int(chance.integers(len(places)))]
        match int(chance.integers(5)):
            case 0:
                del node[key]
            case 1 if isinstance(node, dict):
                node[TEXTS[int(chance.integers(len(TEXTS)))]] = node.pop(key)
            case 2:
                other, name = places[int(chance.integers(len(places)))]
                node[key] = tomllib.loads(tomli_w.dumps({"x": other[name] if is_in(name, other) else 0}))["x"]
            case _:
                node[key] = any_value(chance)
    return tomli_w.dumps(table).encode()


def is_in(key: Any, node: Any) -> bool:
    return key in node if isinstance(node, dict) else key < len(node)


# Trying ---------------------------------------------------------------------------------------------------------------


def try_broken(folder: RunFolder, texts: list[bytes], seed: int) -> bool:
    """Break a configuration as `seed` says, and load it as `run --config` and as `resume` do."""
    chance = np.random.default_rng(seed)
    text = texts[int(chance.integers(len(texts)))]
    folder.config.write_bytes(mangle(text, chance) if seed % 3 == 0 else edit(text, chance))
    ways: list[Callable[[], Any]] = [
        lambda: resolve_config(HOST, config_file=folder.config)[0],
        lambda: read_config(folder, HOST),
    ]
    refused = 0
    for load in ways:
        try:
            assert isinstance(load(), RunConfig)
        except UserError as error:
            refused += 1
            _check_message(str(error), seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    return refused == len(ways)


def _check_message(message: str, seed: int) -> None:
    assert message.isprintable(), f"seed {seed}: a terminal would take it for more than text: {message!r}"
    assert len(message) < 20_000, f"seed {seed}: {message}"


def try_many(place: Path, seeds: range) -> None:
    folder = RunFolder.create(place / "run", env_id="CartPole-v1", obs="pixels")
    texts = complete_texts()
    modules = set(sys.modules)
    refused = sum(try_broken(folder, texts, seed) for seed in seeds)
    assert 0.4 * len(seeds) < refused < 0.99 * len(seeds), f"{refused} of {len(seeds)} were refused"
    assert not {name for name in set(sys.modules) - modules if not name.startswith(("cartpole_dqn", "torch"))}


def test_some_hundred_broken_configurations(tmp_path: Path) -> None:
    try_many(tmp_path, range(400))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_broken_configurations(tmp_path: Path) -> None:
    try_many(tmp_path, range(1_000, 11_000))
