"""Shared agents as strangers make them: a hostile zip or folder gets a sentence, and nothing is written elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.errors import CartpoleDqnError, CheckpointError, ConfigError, UserError
from cartpole_dqn.runs.catalogue import find_run
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.shared import Score, pack_folder, read_claim, require_no_code, unpack_folder, write_claim

SCORE = Score(mean=480.0, std=20.0, low=470.0, high=490.0, episodes=100, seed=0)
CONFIG = '[env]\nid = "CartPole-v1"\n'
Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def agent(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "agent")
    (folder.best).mkdir(parents=True)
    folder.write_config(CONFIG)
    (folder.best / "state.json").write_text("{}")
    (folder.best / "policy-1.safetensors").write_bytes(b"weights")
    (folder.path / "README.md").write_text("# A card")
    write_claim(folder, SCORE)
    return folder


def zipped(path: Path, *entries: tuple[str | zipfile.ZipInfo, str | bytes], sound: bool = True) -> Path:
    """A zip of these entries, beside those of a sound agent."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        if sound:
            table = {"format": "cartpole-dqn shared agent", "layout": 1, "score": vars(SCORE)}
            target.writestr("x/shared.json", json.dumps(table))
            target.writestr("x/config.toml", CONFIG)
        for name, content in entries:
            target.writestr(name, content)
    return path


def test_a_claim_comes_back(agent: RunFolder) -> None:
    assert read_claim(agent) == SCORE
    assert read_claim(RunFolder(agent.best)) is None


def test_a_zip_is_opened_where_a_folder_is(agent: RunFolder, tmp_path: Path) -> None:
    archive = tmp_path / "of mine.zip"
    pack_folder(agent.path, archive)
    first = archive.read_bytes()
    pack_folder(agent.path, archive)
    assert archive.read_bytes() == first, "the same files are the same bytes"
    assert {path.name for path in tmp_path.iterdir()} == {"agent", "of mine.zip"}
    run_folder = find_run(archive)
    assert run_folder.path.name == "of mine"
    assert run_folder.config.read_text() == CONFIG
    assert read_claim(run_folder) == SCORE
    assert (run_folder.best / "policy-1.safetensors").read_bytes() == b"weights"
    assert not (run_folder.path / "README.md").exists(), "what is for people is not unpacked"
    assert run_folder.product("record.gif") == tmp_path / "of mine-record.gif"
    home = run_folder.path.parent
    assert home.exists()
    del run_folder
    assert not home.exists()


@pytest.mark.parametrize("top", ["", "some folder/"])
def test_a_zip_made_by_hand_may_hold_more(top: str, agent: RunFolder, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as target:
        for path in agent.path.rglob("*"):
            target.write(path, top + str(path.relative_to(agent.path)))
        target.writestr(f"{top}.gitattributes", "x")
        target.writestr("__MACOSX/._config.toml", "x")
    unpacked = unpack_folder(tmp_path / "a.zip")
    assert {path.name for path in unpacked.path.iterdir()} == {"config.toml", "shared.json", "best"}


def link(name: str, to: str) -> tuple[zipfile.ZipInfo, str]:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, to


HOSTILE: dict[str, tuple[list[tuple[str | zipfile.ZipInfo, str | bytes]], str]] = {
    "above": ([("x/../../evil.txt", "evil")], "no plain name inside a folder"),
    "from the root": ([("/tmp/evil.txt", "evil")], "no plain name inside a folder"),
    "a drive": ([("C:/evil.txt", "evil")], "no plain name inside a folder"),
    "backslashes": ([("x\\..\\..\\evil.txt", "evil")], "no plain name inside a folder"),
    "control characters": ([("x/\x1b[2Jevil", "evil")], "'x/\\x1b[2Jevil', which is no plain name"),
    "a link": ([link("x/best", "/etc")], "is a link or a device"),
    "a bomb": ([("x/best/policy-1.safetensors", bytes(50_000_000))], "and would unpack to 50 MB"),
    "a bomb that is not read": ([("x/README.md", bytes(50_000_000))], "and would unpack to 50 MB"),
    "two agents": ([("y/shared.json", "{}")], "expected one shared.json at its top or in a folder there, got 2"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_zip_gets_a_sentence(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries, words = HOSTILE[case]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    archive = zipped(tmp_path / "a.zip", *entries)
    with pytest.raises(CheckpointError) as caught:
        find_run(archive)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    del caught
    assert {path.name for path in tmp_path.rglob("*")} == {"temporary", "a.zip"}


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = zipped(tmp_path / "a.zip", ("x/config.toml", "other"))
    with pytest.raises(CheckpointError, match=r"holds 'x/config\.toml' twice"):
        find_run(archive)


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("x/environment.json", bytes(50_000_000)))
    data = archive.read_bytes()
    archive.write_bytes(data.replace((50_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises(CheckpointError, match="is not a sound zip: BadZipFile"):
        find_run(archive)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"no zip", os.urandom(1000)], ids=["", "start", "text", "noise"]
)
def test_what_is_no_zip_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a sound zip"):
        find_run(tmp_path / "a.zip")


def test_any_damage_to_a_zip_is_a_sentence_or_harmless(agent: RunFolder, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    pack_folder(agent.path, archive)
    sound = archive.read_bytes()
    for place in range(0, len(sound), 29):
        archive.write_bytes(sound[:place] + bytes([sound[place] ^ 0x55]) + sound[place + 1 :])
        with contextlib.suppress(CartpoleDqnError):
            find_run(archive)


def test_another_zip_is_told_how_one_is_made(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", ("config.toml", CONFIG), sound=False)
    with pytest.raises(CheckpointError, match=r"is not a shared agent: .* `cartpole-dqn share` makes such a zip"):
        find_run(archive)


CLAIMS: dict[str, tuple[str, str]] = {
    "empty": ("", "is not what `cartpole-dqn share` writes"),
    "deep": ("[" * 100_000, "is not what `cartpole-dqn share` writes"),
    "another format": ('{"format": "x", "layout": 1}', "its format is another"),
    "another layout": ('{"format": "cartpole-dqn shared agent", "layout": 2}', "has layout 2, but this version"),
    "a layout that speaks": (
        '{"format": "cartpole-dqn shared agent", "layout": "\\u001b[2J"}',
        "has layout '\\x1b[2J', but this version",
    ),
    "no score": ('{"format": "cartpole-dqn shared agent", "layout": 1}', "score.mean: expected a value, got nothing"),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_a_claim_that_cannot_be_read_gets_a_sentence(case: str, agent: RunFolder) -> None:
    text, words = CLAIMS[case]
    agent.shared.write_text(text)
    with pytest.raises(UserError) as caught:
        find_run(agent.path)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean": "high"}, "score.mean: expected a valid number"),
        ({"mean": float("nan")}, "score.mean: expected"),
        ({"episodes": 0}, "score.episodes: expected"),
        ({"mean": 500.0}, "its mean is outside its own interval"),
        ({"extra": 1}, "unknown option .*score.extra"),
    ],
)
def test_a_score_that_cannot_be_is_refused(change: dict[str, Any], words: str, agent: RunFolder) -> None:
    table = json.loads(agent.shared.read_text())
    table["score"].update(change)
    agent.shared.write_text(json.dumps(table))
    with pytest.raises((ConfigError, CheckpointError), match=words):
        find_run(agent.path)


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege elsewhere")
@pytest.mark.parametrize("name", ["shared.json", "config.toml"])
def test_links_are_not_followed(name: str, agent: RunFolder, tmp_path: Path) -> None:
    (agent.path / name).rename(tmp_path / name)
    (agent.path / name).symlink_to(tmp_path / name)
    with pytest.raises(UserError, match=f"{name} cannot be read: it is a symbolic link"):
        find_run(agent.path)


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege elsewhere")
def test_a_description_that_never_ends_is_not_read(agent: RunFolder) -> None:
    agent.environment.symlink_to("/dev/zero")
    assert find_run(agent.path).plugins() == []


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ('[env]\nid = "antigravity:Fly-v0"', "env.id"),
        ('[env]\nid = "CartPole-v1"\n[[observation]]\nwrapper = "antigravity:Fly"', r"observation\[0\].wrapper"),
        ('[env]\nid = "CartPole-v1"\n[agent]\nname = "antigravity:Fly"', "agent.name"),
        ('[env]\nid = "CartPole-v1"\n[agent.network]\nname = "fly.py:Fly"', "agent.network.name"),
        ('[env]\nid = "CartPole-v1"\n[[observer]]\nname = "antigravity:Fly"', r"observer\[0\].name"),
        ('[env]\nid = "CartPole-v1"\n[agent.worker.inner]\nname = "a:B"', "agent.worker.inner.name"),
    ],
)
def test_a_configuration_that_names_code_is_refused(config: str, place: str, agent: RunFolder, tmp_path: Path) -> None:
    agent.write_config(config)
    pack_folder(agent.path, tmp_path / "a.zip")
    for given in (agent.path, tmp_path / "a.zip"):
        with pytest.raises(UserError, match=f"names code to import, {place} = .*, which a shared agent must not"):
            find_run(given)
    agent.shared.unlink()
    assert find_run(agent.path).path == agent.path, "one's own runs may"


def test_registered_names_are_no_code() -> None:
    require_no_code({"env": {"id": "ALE/Pong-v5"}, "agent": {"name": "dqn"}, "other": "a:B"}, "x")
