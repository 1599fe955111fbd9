"""What the id of an environment means.

* `make_env`: makes the environment. `find_spec`: what Gymnasium knows of an id. `full_id`: the id with its version.
* `use_env`: the id of an environment given as a function, a class or an `EnvSpec`. `env_source`: its file.
* `specs_to_send`: what another process needs to know of an id.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.error import DependencyNotInstalled, UnregisteredEnv
from gymnasium.error import Error as GymnasiumError

from cartpole_dqn.envs.guard import close_env
from cartpole_dqn.errors import UnsuitableEnvError, UserError, did_you_mean, error_line, sentence, suggestion
from cartpole_dqn.plugin.registry import (
    find_reference,
    how_to_bring,
    is_installed,
    reference_to,
    search_here,
    source_of,
)

Env = gymnasium.Env[Any, Any]

_OLD_ATARI = r"(NoFrameskip|Deterministic)$"
"""Ends names of Atari games, of which ALE/ has only one variant."""


def make_env(env_id: str, kwargs: Mapping[str, Any], *, renders: bool) -> Env:
    """Return a new environment. If it `renders`, its `render()` returns pictures.

    Raises:
        UnsuitableEnvError: it is unknown, cannot be made, or cannot render although it must.
    """
    spec = find_spec(env_id)
    with _explained(env_id), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is not in the possible render_modes.*")  # checked below
        if renders and _takes_render_mode(spec.entry_point):
            kwargs = {**kwargs, "render_mode": "rgb_array"}
        env: Env = gymnasium.make(spec, **kwargs)
    modes = env.metadata.get("render_modes") or []
    if not renders or "rgb_array" in modes:
        return env
    close_env(env)
    offered = ", ".join(map(str, modes)) or "none"
    raise UnsuitableEnvError(
        f"{env_id} cannot be drawn: it has no render mode rgb_array (its modes: {offered}). Use --obs state for its "
        f"own observations, and `cartpole-dqn evaluate` to play a run without pictures."
    )


def find_spec(env_id: str) -> EnvSpec:
    """Return what is registered for an id. Imports the module of `module:Id`.

    Raises:
        UnsuitableEnvError: there is no such environment.
    """
    with _explained(env_id):
        if env_id.startswith(("ALE/", "ale_py:")):
            ale_py = importlib.import_module("ale_py")  # This registers the Atari games.
            # Otherwise each game prints a banner to stderr, into the display.
            ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        spec = _own_spec(env_id)
        module, _, name = env_id.rpartition(":")
        if spec is None and module:
            importlib.import_module(module)
        return spec or gymnasium.spec(full_id(name))


def full_id(env_id: str) -> str:
    """Return an id with its version, so that presets for it apply and a later version does not change the run."""
    module, _, name = env_id.rpartition(":")
    versions = [spec for spec in gymnasium.registry.values() if spec.id.rpartition("-v")[0] == name]
    spec = gymnasium.registry.get(name) or max(versions, key=lambda spec: spec.version or 0, default=None)
    return env_id if spec is None else f"{module}:{spec.id}".lstrip(":")


def use_env(env: Any, env_id: str = "") -> str:
    """Return the id of an environment. Register it with Gymnasium if needed.

    Args:
        env: an id, "module:Id", a function or a class that makes an environment, or an `EnvSpec`.
        env_id: the id for it; by default its own, or "module:name".

    Raises:
        UserError: it is something else, or Gymnasium has another spec of that id.
    """
    if isinstance(env, str):
        return env
    if isinstance(env, EnvSpec):
        if gymnasium.registry.setdefault(env_id or env.id, env) != env:
            raise UserError(f"env: {env.id} is registered with another spec: give yours another id.")
        return env_id or env.id
    if isinstance(env, gymnasium.Env) or not callable(env):
        kind = "an environment itself" if isinstance(env, gymnasium.Env) else repr(env)
        raise UserError(
            f"env: expected an id, a function or class that makes an environment, or an EnvSpec, got {kind}. "
            f"Training and evaluation need an environment each: lambda: ... makes one."
        )
    reference = reference_to(env)
    env_id = env_id or re.sub(r"[^\w:.-]", "", reference)
    while "<" in reference and env_id in gymnasium.registry and gymnasium.registry[env_id].entry_point is not env:
        env_id += "_"  # Two inner functions or lambdas may have the same name.
    gymnasium.registry[env_id] = EnvSpec(env_id, entry_point=env)
    return env_id


def env_source(env_id: str) -> str:
    """Return the file of the function or class that "module:Name" names; "" for any other id."""
    spec = _own_spec(env_id)
    return "" if spec is None else source_of(spec.entry_point)


def specs_to_send(env_id: str) -> list[EnvSpec]:
    """Return the registered specs that an id may mean and that another process can use.

    Such a process finds an entry point by its name. Lambdas and inner functions need a fork.
    """
    specs = [spec for spec in gymnasium.registry.values() if env_id in (spec.id, spec.id.rpartition("-v")[0])]
    return [spec for spec in specs if "<" not in str(getattr(spec.entry_point, "__qualname__", spec.entry_point))]


def _own_spec(env_id: str) -> EnvSpec | None:
    """Return a spec for "module:Name" if this names an environment class, or a function of the user's that makes one.

    Functions of installed packages are not called: an untrusted configuration could choose their arguments.
    """
    if ":" not in env_id or env_id.startswith("ale_py:"):
        return None
    search_here()
    try:
        target = find_reference(env_id)
    except LookupError as error:
        spec = gymnasium.registry.get(env_id)
        if spec is None and env_id.startswith("__main__:"):
            bring = how_to_bring("env", env_id)
            raise UnsuitableEnvError(f"{env_id} cannot be found: {error.args[0]}{bring}") from None
        return spec
    except (Exception, SystemExit) as error:
        raise UnsuitableEnvError(f"cannot import what registers {env_id}: {error_line(error)}") from error
    is_registered = env_id.partition(":")[2] in gymnasium.registry
    return None if is_registered or not _makes_envs(target) else EnvSpec(env_id, entry_point=target)


def _makes_envs(target: Any) -> bool:
    if isinstance(target, type):
        return issubclass(target, gymnasium.Env)
    code = getattr(target, "__code__", None)
    return code is not None and not is_installed(Path(code.co_filename).resolve())


def _takes_render_mode(entry_point: Any) -> bool:
    make = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    parameters = inspect.signature(make).parameters
    return "render_mode" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


@contextlib.contextmanager
def _explained(env_id: str) -> Iterator[None]:
    """Turn any error inside the block into an `UnsuitableEnvError` that says what to do."""
    try:
        yield
    except UserError:
        raise
    except (ModuleNotFoundError, GymnasiumError) as error:
        raise UnsuitableEnvError(_explanation(env_id, error)) from None
    except Exception as error:
        raise UnsuitableEnvError(f"cannot make the environment {env_id}: {error_line(error)}") from error


def _explanation(env_id: str, error: ModuleNotFoundError | GymnasiumError) -> str:
    text = sentence(str(error))
    if isinstance(error, DependencyNotInstalled):
        return f"{env_id} needs a package that is not installed: {text}" + _extra("box2d") * ("box2d" in text.lower())
    if isinstance(error, ModuleNotFoundError):
        return f"cannot import what registers {env_id}: {text}" + _extra("atari") * (error.name == "ale_py")
    if isinstance(error, UnregisteredEnv):
        # Gymnasium may suggest a name too, without a version.
        text = sentence(str(error).partition(" Did you mean")[0]) + _registration_hint(env_id)
    return f"cannot make the environment {env_id}: {text}"


def _registration_hint(env_id: str) -> str:
    """Return a hint at a registered id with nearly this name, or at packages that register their own."""
    name = env_id.rpartition(":")[2]
    stem = env_id.partition(".")[0]
    if ":" not in env_id and (classes := _classes_in(Path(f"{stem}.py"))):
        choices = " or ".join(f"--env {stem}:{cls}" for cls in classes)
        return f" For a class in {stem}.py, which is in the current folder, write {choices}"
    with contextlib.suppress(ImportError):  # Not before: it is needed for its own ids only.
        importlib.import_module("ale_py")
    newest = {}
    for spec in sorted(gymnasium.registry.values(), key=lambda spec: spec.version or 0):
        if spec.namespace or not str(spec.entry_point).startswith("ale_py"):  # "Pong-v4" would not import ale_py.
            newest[spec.id.rpartition("-v")[0] or spec.id] = spec.id
    wanted = re.sub(_OLD_ATARI, "", name.rpartition("-v")[0] or name)
    matches = difflib.get_close_matches(wanted, newest, n=1, cutoff=0.75)
    matches += [stem for stem in newest if stem.rpartition("/")[2].lower() == wanted.lower()]  # "Pong" is "ALE/Pong"
    if matches:
        return suggestion(newest[matches[0]])
    if ":" in env_id:
        module = env_id.rpartition(":")[0]
        defined = vars(sys.modules[module]).items()
        env_classes = [key for key, value in defined if isinstance(value, type) and _makes_envs(value)]
        return f" The module {module} was imported and does not register it.{did_you_mean(name, env_classes)}"
    return f" If a package registers it, name the package too: --env PACKAGE:{env_id}"


def _classes_in(file: Path) -> list[str]:
    """Return the classes in a file that define `step`, or else all of them, without importing it."""
    try:
        classes = [node for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.ClassDef)]
    except (OSError, SyntaxError, ValueError):
        return []
    stepping = [cls for cls in classes if any(getattr(node, "name", "") == "step" for node in cls.body)]
    return [cls.name for cls in stepping or classes]


def _extra(name: str) -> str:
    return f" Install the extra {name}: pip install 'cartpole-dqn[{name}]'"
