"""Plugins are installed, frozen and restored in an environment of their own, from local wheels, without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.errors import RunError, UserError
from cartpole_dqn.plugin import installer

ROOT = Path(__file__).parents[2]


def wheel(folder: Path, name: str, version: str, *, group: str = "cartpole_dqn") -> Path:
    """Write a wheel by hand: a module with a hook and its entry point."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    path = folder / f"{module}-{version}-py3-none-any.whl"
    files = {
        f"{module}.py": "import cartpole_dqn\n\n@cartpole_dqn.hookimpl\ndef register_components(registry): ...\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[{group}]\n{name} = {module}\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)
    return path


# Lines ----------------------------------------------------------------------------------------------------------------


def described(**versions: str) -> list[dict[str, Any]]:
    return [{"distribution": name, "version": version, "components": []} for name, version in versions.items()]


def test_a_run_s_plugins_are_lines() -> None:
    failed = {"distribution": "broken", "version": "1", "state": "failed", "components": []}
    twice = described(Acme_Two="1.0") + described(Acme_Two="1.0")
    pinned = installer.frozen([*described(**{"cartpole-dqn": "0.1.0", "zeta": "2.0rc1"}), *twice, failed])
    assert pinned == ["acme-two==1.0", "zeta==2.0rc1"]


@pytest.mark.parametrize(
    "line",
    [
        "acme", "acme>=1", "acme==1.*", "acme===1", "acme[all]==1", "acme @ https://example.org/a.whl", "-r other.txt",
        "--index-url=https://example.org", "../acme", "acme==1; python_version > '3'", "acme==1,==1.0",
        "acme== 1 --pre",
    ],
)  # fmt: skip
def test_nothing_but_a_name_and_a_version_is_taken_from_a_file_or_a_run(line: str, tmp_path: Path) -> None:
    (tmp_path / "plugins.txt").write_text(f"# mine\n\nfine==1.0  # so\n{line}\n")
    with pytest.raises(UserError, match="expected a distribution and its version"):
        installer.read_frozen(tmp_path / "plugins.txt")
    name, _, version = line.partition("==")
    with pytest.raises(UserError, match="expected a distribution and its version"):
        installer.frozen(described(**{name: version}))


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "plugins.txt").write_text("# mine\n\nZeta==1.0  # so\nacme == 2\n")
    assert installer.read_frozen(tmp_path / "plugins.txt") == ["acme==2", "zeta==1.0"]
    with pytest.raises(UserError, match="cannot be read"):
        installer.read_frozen(tmp_path / "nowhere.txt")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match="expected text"):
        installer.read_frozen(tmp_path / "bytes")


def test_a_run_s_plugins_are_printed_and_asked_for(call: Callable[..., Any], tmp_path: Path) -> None:
    """From `environment.json` alone: the configuration of a run without its plugins cannot be read."""
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "config.toml").write_text("")
    result = call("plugins", "freeze", str(run), code=2)
    assert "does not say which plugins" in result.err
    (run / "environment.json").write_text(json.dumps({"plugins": described(**{"cartpole-dqn": "0", "acme": "1.0"})}))
    assert call("plugins", "freeze", str(run)).out == "acme==1.0\n"
    result = call("plugins", "restore", str(run), "--dry-run", "--", "--no-index")
    assert "install" in result.out
    assert result.out.endswith("acme==1.0 --no-index\n")
    assert "acme==1.0: to be installed" in result.err
    (run / "environment.json").write_text(json.dumps({"plugins": described(**{"--index-url=x": "1.0"})}))
    result = call("plugins", "restore", str(run), code=2)
    assert "expected a distribution and its version" in result.err


# Which installer ------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An environment that uv or venv made, with or without pip in it, and uv on the path or not."""

    def make(*, uv: bool, by_uv: bool, pip: bool) -> list[str]:
        (tmp_path / "pyvenv.cfg").write_text("home = /usr\n" + "uv = 0.9\n" * by_uv)
        monkeypatch.setattr(sys, "prefix", str(tmp_path))
        monkeypatch.setattr(installer.shutil, "which", lambda name: "/opt/uv" if uv else None)
        monkeypatch.setattr(installer.importlib.util, "find_spec", lambda name: object() if pip else None)
        return installer.command("uninstall", ["acme"])

    return make


def test_the_environment_s_own_installer_is_used(machine: Any) -> None:
    pip = [sys.executable, "-m", "pip", "uninstall", "--yes", "acme"]
    uv = ["/opt/uv", "pip", "uninstall", "--python", sys.executable, "acme"]
    assert machine(uv=False, by_uv=False, pip=True) == pip
    assert machine(uv=True, by_uv=False, pip=True) == pip
    assert machine(uv=True, by_uv=True, pip=True) == uv
    assert machine(uv=True, by_uv=True, pip=False) == uv
    assert machine(uv=False, by_uv=True, pip=True) == pip
    with pytest.raises(UserError, match="no pip, and there is no uv"):
        machine(uv=False, by_uv=True, pip=False)


@pytest.mark.process
def test_an_installer_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer, "installer", lambda: ["/nowhere/at/all"])
    with pytest.raises(RunError, match="cannot be started"):
        installer.install(["acme"])


# In an environment ----------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_install_freeze_uninstall_and_restore(tmp_path: Path) -> None:
    """A whole story with pip, in a virtual environment that sees this package and what it needs."""
    pytest.importorskip("pip")
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", tmp_path / "venv"], check=True)
    wheels = tmp_path / "wheels"
    for name, version in (("acme-one", "1.0"), ("acme-one", "1.1"), ("acme-two", "2.0")):
        wheel(wheels, name, version)
    wheel(wheels, "acme-none", "1.0", group="others")
    offline = ["--", "--no-index", "--find-links", str(wheels), "--no-deps", "--disable-pip-version-check"]
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    inherited = [path for path in sys.path if path.endswith("site-packages")]
    (site / "inherited.pth").write_text("\n".join(inherited))

    def cartpole_dqn(*arguments: str) -> tuple[int, list[str], str]:
        line = [tmp_path / "venv" / "bin" / "python", "-P", "-m", "cartpole_dqn", "plugins", *arguments]
        own = {"PYTHONPATH": str(ROOT), "CARTPOLE_DQN_PLUGINS": "acme-one,acme-two"}
        done = subprocess.run(
            line, cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True, check=False
        )
        ours = [text for text in done.stdout.splitlines() if "acme" in text or "pip" in text]
        return done.returncode, ours, done.stderr

    code, out, _ = cartpole_dqn("install", "acme-one==1.0", "acme-two", "--dry-run", *offline)
    assert (code, len(out)) == (0, 1)
    assert "pip install acme-one==1.0 acme-two --no-index" in out[0]
    assert cartpole_dqn("freeze")[1] == []

    assert cartpole_dqn("install", "acme-one==1.0", "acme-two", *offline)[:2] == (0, ["acme-one 1.0", "acme-two 2.0"])
    code, frozen, _ = cartpole_dqn("freeze")
    assert frozen == ["acme-one==1.0", "acme-two==2.0"]
    (tmp_path / "plugins.txt").write_text("\n".join(frozen))

    code, out, err = cartpole_dqn("install", "acme-none", *offline)
    assert (code, out) == (0, [])
    assert "No plugin came or changed" in err

    assert cartpole_dqn("install", str(wheels / "acme_one-1.1-py3-none-any.whl"), *offline)[1] == ["acme-one 1.1"]
    assert cartpole_dqn("uninstall", "acme-two")[0] == 0
    assert cartpole_dqn("freeze")[1] == ["acme-one==1.1"]
    code, _, err = cartpole_dqn("uninstall", "acme-two")
    assert code == 2
    assert "no installed distribution with plugins is named 'acme-two'" in err

    code, out, err = cartpole_dqn("restore", "plugins.txt", "--dry-run", *offline)
    assert "acme-one==1.0: to be installed" in err
    assert cartpole_dqn("restore", "plugins.txt", *offline)[:2] == (0, ["acme-one 1.0", "acme-two 2.0"])
    assert cartpole_dqn("freeze")[1] == frozen
    code, out, err = cartpole_dqn("restore", "plugins.txt", *offline)
    assert (code, out) == (0, [])
    assert "Nothing to install." in err
    code, out, err = cartpole_dqn("install", "acme-of-tomorrow", *offline)
    assert code == 1
    assert "the installer failed with exit code 1" in err
