"""Thousands of broken configurations: each is a complete configuration, or refused by a sentence; none is imported."""

from __future__ import annotations

import copy
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from cartpole_dqn.config.schema import RunConfig, to_toml
from cartpole_dqn.errors import UserError
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.training.resolve import read_config, resolve_config
from hostile import places_in

HOST = load_plugins(allowed=())
WORDS = [
    b"", b"=", b"[", b"]", b"[[x]]\n", b"\n", b'"', b"'", b"0x", b"1e999", b"nan", b"\xff", b"\0", b"\\u001b", b"#",
    b".",
]  # fmt: skip
TEXTS = [
    "", "x", "dqn", "uniform", "pixels", "../x", "\x1b[2J", "\x00", "\u202e", "y" * 3000, "a:b", "os:abort", "%s{}"
]  # fmt: skip


def nested(depth: int) -> Any:
    value: Any = 0
    for i in range(depth):
        value = [value] if i % 2 else {"name": value}
    return value


VALUES = st.recursive(
    st.booleans()
    | st.integers(-3, 100)
    | st.integers(-(2**62), 2**62)
    | st.floats()
    | st.sampled_from(TEXTS)
    | st.integers(1, 60).map(nested),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", *TEXTS]), inner, min_size=1, max_size=1)
    ),
    max_leaves=6,
)


@st.composite
def mangled(draw: st.DrawFn, text: bytes) -> bytes:
    """Up to three places of the text are deleted, written twice, or something else."""
    out = bytearray(text)
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(out))), draw(st.integers(0, 30))
        twice = bytes(out[at : at + 200])
        out[at : at + length] = draw(st.sampled_from([*WORDS, twice]) | st.binary(max_size=1))
    return bytes(out)


@st.composite
def edited(draw: st.DrawFn, text: bytes) -> bytes:
    """Up to three places of the table are deleted, renamed, or have another value."""
    table = tomllib.loads(text.decode())
    for _ in range(draw(st.integers(1, 3))):
        places = places_in(table)
        node, key = draw(st.sampled_from(places))
        value = node.pop(key)
        if isinstance(node, list):
            node.append(draw(VALUES))
        elif draw(st.booleans()):
            node[key] = draw(VALUES | st.sampled_from(places).map(lambda place: copy.deepcopy(found_at(*place))))
        elif draw(st.booleans()):
            node[draw(st.sampled_from(TEXTS))] = value
    return tomli_w.dumps(table).encode()


def found_at(node: Any, key: Any) -> Any:
    """What is at a place, if that is still there."""
    return node[key] if key in (node if isinstance(node, dict) else range(len(node))) else 0


def is_refused(folder: RunFolder, text: bytes) -> bool:
    """Load a configuration as `run --config` and as `resume` do."""
    folder.config.write_bytes(text)
    ways: list[Callable[[], Any]] = [
        lambda: resolve_config(HOST, config_file=folder.config)[0],
        lambda: read_config(folder, HOST),
    ]
    messages = []
    for load in ways:
        try:
            assert isinstance(load(), RunConfig)
        except UserError as error:
            messages.append(str(error))
    for message in messages:
        assert message.isprintable(), "a terminal would take it for more than text"
        assert len(message) < 20_000
    return len(messages) == len(ways)


def try_many(place: Path, count: int) -> None:
    folder = RunFolder.create(place / "run", env_id="CartPole-v1", obs="pixels")
    texts = [to_toml(resolve_config(HOST, preset=name)[0]).encode() for name in HOST.registry.names("preset")]
    modules, refused = set(sys.modules), []

    @settings(max_examples=count)
    @given(st.sampled_from(texts).flatmap(lambda text: mangled(text) | edited(text)))
    def load(text: bytes) -> None:
        refused.append(is_refused(folder, text))

    load()
    assert 0.4 * len(refused) < sum(refused) < 0.99 * len(refused)
    assert not {
        name for name in set(sys.modules) - modules if not name.startswith(("cartpole_dqn", "torch", "hypothesis"))
    }


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_broken_configurations(tmp_path: Path, count: int) -> None:
    try_many(tmp_path, count)
