"""Load plugins, each in isolation: a broken plugin is rolled back and reported, and the others load.

* `load_plugins`: loads the built-ins and every installed plugin into a `PluginHost`.
* `PluginHost`: the registry, a `PluginRecord` for each plugin, and the environments of plugins.
* `PluginError`: a plugin failed, in strict mode.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import PurePath
from typing import Any, Literal

import pluggy
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from cartpole_dqn.errors import UnknownComponentError, UserError, bad, did_you_mean, error_line
from cartpole_dqn.plugin import hookspecs
from cartpole_dqn.plugin.discovery import (
    COMMAND_GROUP,
    DISTRIBUTION,
    GROUP,
    WHY_OFF,
    IncompatibleError,
    allowed_names,
    find_entry_points,
    import_entry_point,
    origin,
    require_version,
    stdout_kept_clean,
    switched_off,
)
from cartpole_dqn.plugin.registry import Component, PluginError, Registry, owner_text
from cartpole_dqn.system import __version__

__all__ = ["PluginError", "PluginHost", "PluginRecord", "load_plugins"]

PluginState = Literal["loaded", "failed", "blocked", "not-allowed", "incompatible"]

# By name: this module may not import the built-ins, and they load like any other plugin.
_BUILTINS = EntryPoint(name="builtins", value="cartpole_dqn.plugin.builtins", group=GROUP)
_HOOKS = ("register_components", "register_environments")
_SIGNATURES = "register_components(registry) and register_environments()"


@dataclass
class PluginRecord:
    """A plugin, and whether it loaded."""

    name: str
    """The name of its entry point."""
    distribution: str
    version: str
    state: PluginState = "loaded"
    error: str = ""
    """Why it did not load, or failed later; one line."""
    components: tuple[Component, ...] = ()
    """The components that it registered."""
    cause: BaseException | None = field(default=None, repr=False, compare=False)
    """The exception behind `error`, with its traceback."""
    hooks: pluggy.PluginManager | None = field(default=None, repr=False, compare=False)
    """Calls its hooks. Each plugin has a manager of its own, so that none affects the calls of another."""

    @property
    def label(self) -> str:
        """The plugin, for messages."""
        return f"'{self.name}' of {owner_text(self.distribution, self.version)}"


class PluginHost:
    """The loaded plugins, and those that failed. Made by `load_plugins`."""

    def __init__(self, *, strict: bool = False) -> None:
        self.registry = Registry()
        """The components of all loaded plugins."""
        self.plugins: list[PluginRecord] = []
        """The built-ins, then every installed plugin, sorted by distribution and name."""
        self.strict = strict
        self._packages: dict[str, set[str]] = {}
        self.notes: list[str] = []
        """Further warnings: a name of the user's that no plugin has, a plugin's use of a hook that is to go, or an
        observer that a run cannot bring."""
        self._environments_registered = False

    def failures(self) -> list[PluginRecord]:
        """Return the plugins that failed, without those that the user disabled."""
        return [record for record in self.plugins if record.state in ("failed", "incompatible")]

    def warnings(self) -> list[str]:
        """Return a line for each failed plugin, and each note."""
        return [*(f"plugin {record.label} failed: {record.error}" for record in self.failures()), *self.notes]

    def describe(self) -> list[dict[str, Any]]:
        """Return every plugin as plain data, for a run folder and `expect`."""
        return [
            {
                "name": record.name,
                "distribution": record.distribution,
                "version": record.version,
                "state": record.state,
                "error": record.error,
                "components": [f"{component.kind}/{component.name}" for component in record.components],
            }
            for record in self.plugins
        ]

    def expect(self, described: Iterable[Mapping[str, Any]], sources: Mapping[str, Any] | None = None) -> None:
        """Note what an earlier run was made with: errors about missing components then name it.

        Args:
            described: its plugins, from `describe`.
            sources: the files of its other parts, from `RunConfig.sources`.
        """
        for reference, file in (sources or {}).items():
            kind, _, name = reference.partition("/")
            self.registry.remember(kind, name, str(file))
        for plugin in described:
            distribution, version = str(plugin["distribution"]), str(plugin["version"])
            origin = f"{owner_text(distribution, version)}{self._now(distribution, str(plugin['name']))}"
            for reference in plugin.get("components", ()):
                kind, _, name = str(reference).partition("/")
                self.registry.remember(kind, name, origin)

    def _now(self, distribution: str, name: str) -> str:
        """Return why components of a plugin that was there earlier may be missing now, and what to do."""
        record = next((r for r in self.plugins if (r.distribution, r.name) == (distribution, name)), None)
        if record is None:
            return ": install that, or see `cartpole-dqn plugins list`"
        if record.state == "loaded":
            return f", and version {record.version}, which is installed, does not have it"
        if record.state == "blocked":
            return f", which is {record.error}: leave out -p no:{name}"
        return f", which is {record.error}" if record.state == "not-allowed" else ", which failed to load"

    def find(self, name: str) -> Component | PluginRecord:
        """Return the component, plugin or distribution that NAME or KIND/NAME means.

        Raises:
            UnknownComponentError: nothing has this name.
            UserError: several components have it, and no plugin.
        """
        kind, slash, component_name = name.partition("/")
        if slash:
            return self.registry.component(kind, component_name)
        if ":" in name:
            raise UserError(f"'{bad(name)}': of which kind is it? Expected KIND/{name}, such as network/{name}.")
        matches = [component for component in self.registry.components() if component.name == name]
        if len(matches) == 1:
            return matches[0]
        for record in self.plugins:
            if name in (record.name, record.distribution):
                return record
        if matches:
            candidates = ", ".join(f"{component.kind}/{name}" for component in matches)
            raise UserError(f"'{bad(name)}' names several components: say which of {candidates}.")
        names = [c.name for c in self.registry.components()] + [r.name for r in self.plugins]
        hint = did_you_mean(name, names)
        hint += f" These plugins failed: {'; '.join(self.registry.unavailable)}" if self.failures() else ""
        raise UnknownComponentError(f"no component or plugin is named '{bad(name)}'.{hint}")

    def register_environments(self) -> None:
        """Call the `register_environments` hooks, once. `EnvFactory` does so before it makes an environment.

        If a plugin raises or replaces an environment, its registrations are undone and it is recorded as failed. Its
        components stay.

        Raises:
            PluginError: a plugin failed, in strict mode.
        """
        if self._environments_registered:
            return
        self._environments_registered = True
        before = len(self.failures())
        for record in self.plugins:
            if record.hooks is None or not record.hooks.hook.register_environments.get_hookimpls():
                continue
            try:
                _guard_environments(functools.partial(_call, record.hooks, "register_environments"))
            except (Exception, SystemExit) as error:
                self._fail(record, error, "register_environments: ")
        if len(self.failures()) > before:
            self._refuse_if_strict()

    def owner_of_failure(self, error: BaseException) -> str | None:
        """Return the distribution of the plugin whose code raised `error` or its cause; None if no plugin did."""
        owner = None
        trace = (error.__cause__ or error).__traceback__
        while trace is not None:
            module = str(trace.tb_frame.f_globals.get("__name__", ""))
            while module and module not in self._packages:
                module = module.rpartition(".")[0]
            owners = self._packages.get(module, set()) - {DISTRIBUTION}
            # A namespace package of several distributions names none of them.
            owner = next(iter(owners)) if len(owners) == 1 == len(self._packages[module]) else owner
            trace = trace.tb_next
        return owner

    # Loading, for `load_plugins` ------------------------------------------------------------------------------------

    def _load(self, entry: EntryPoint) -> None:
        """Load one entry point and record the result."""
        distribution, version = (DISTRIBUTION, __version__) if entry is _BUILTINS else origin(entry)
        record = PluginRecord(entry.name, distribution, version)
        scratch = Registry(distribution, version)
        try:
            hooks = self._hooks_of(import_entry_point(entry), record)
            _call(hooks, "register_components", registry=scratch)
            self.registry.merge(scratch)
        except (Exception, SystemExit) as error:
            if entry is _BUILTINS:
                raise
            self._fail(record, error)
        else:
            record.hooks, record.components = hooks, tuple(scratch.components())
            module = entry.value.partition(":")[0].strip()
            for package in {module, module.partition(".")[0]}:
                self._packages.setdefault(package, set()).add(distribution)
        self.plugins.append(record)

    def _fail(self, record: PluginRecord, error: BaseException, what: str = "") -> None:
        """Note that a plugin failed."""
        record.state = "incompatible" if isinstance(error, IncompatibleError) else "failed"
        record.error, record.cause = f"{what}{error_line(error)}", error
        self.registry.unavailable.append(f"{record.label}: {record.error}")

    def _hooks_of(self, plugin: Any, record: PluginRecord) -> pluggy.PluginManager:
        """Return a manager that calls the hooks of this plugin, and note hooks and parameters that are to go."""
        if isinstance(plugin, type):
            raise PluginError(f"its entry point names the class {plugin.__name__}: name the module, or an instance.")
        _require_attribute(plugin)
        for other in self.plugins:
            if other.hooks is not None and other.hooks.get_name(plugin) is not None:
                owner = f"entry point '{other.name}' of {other.distribution}"
                raise PluginError(f"{owner} names the same module: drop one of the two.")
            if other.hooks is not None and (other.distribution, other.name) == (record.distribution, record.name):
                raise PluginError("its distribution has another entry point of that name.")
        hooks = pluggy.PluginManager(hookspecs.PROJECT)
        hooks.add_hookspecs(hookspecs)
        try:
            with warnings.catch_warnings(record=True) as deprecations:
                warnings.simplefilter("always")
                hooks.register(plugin, record.name)
        except pluggy.PluginValidationError as error:
            found = [(hook, getattr(plugin, hook, None)) for hook in _HOOKS]
            signatures = ", ".join(f"{hook}{inspect.signature(f)}" for hook, f in found if callable(f))
            raise PluginError(f"a hook does not fit: expected {_SIGNATURES}, got {signatures}.") from error
        for warning in deprecations:
            place = f"{PurePath(warning.filename).name}, line {warning.lineno}"
            self.notes.append(f"plugin '{record.name}' of {record.distribution}: {warning.message} ({place})")
        callers = hooks.get_hookcallers(plugin) or []
        for caller in callers:
            if caller.name not in _HOOKS and not all(impl.optionalhook for impl in caller.get_hookimpls()):
                raise PluginError(f"there is no hook '{bad(caller.name)}'.{did_you_mean(caller.name, _HOOKS)}")
        hooks.check_pending()
        if not callers:
            subject = f"{type(plugin).__name__} {getattr(plugin, '__name__', '')}".rstrip()
            raise PluginError(
                f"the {subject} implements no hook: expected {_SIGNATURES}, one or both, under @cartpole_dqn.hookimpl."
            )
        return hooks

    def _refuse_if_strict(self) -> None:
        failures = self.failures()
        if self.strict and failures:
            raise PluginError("\n".join(self.warnings()[: len(failures)])) from failures[0].cause


def load_plugins(
    *, blocked: Collection[str] = (), allowed: Collection[str] | None = None, strict: bool = False
) -> PluginHost:
    """Load the built-ins, then every installed plugin.

    Args:
        blocked: plugins to leave out, by the name of their entry point or distribution.
        allowed: the only plugins to load. None loads those in the environment variable `CARTPOLE_DQN_PLUGINS`, or all
            if it is not set. The built-ins always load.
        strict: raise `PluginError` if a plugin fails.

    Raises:
        PluginError: a plugin failed, in strict mode.
        UserError: `blocked` names the built-ins.
    """
    allowed = allowed_names() if allowed is None else allowed
    for name in blocked:
        if canonicalize_name(name) in (_BUILTINS.name, DISTRIBUTION):
            raise UserError(f"'{bad(name)}' cannot be blocked: the built-in components are always there.")
    host = PluginHost(strict=strict)
    host._load(_BUILTINS)
    entries, unreadable = find_entry_points(GROUP)
    for distribution, problem in unreadable:
        record = PluginRecord("?", distribution, "")
        host._fail(record, PluginError(problem))
        host.plugins.append(record)
    for entry in entries:
        distribution, version = origin(entry)
        off = switched_off([entry.name, distribution], blocked, allowed)
        if off is None:
            host._load(entry)
        else:
            host.plugins.append(PluginRecord(entry.name, distribution, version, off, WHY_OFF[off]))
    host.notes += _unmatched(entries, blocked, allowed or ())
    host._refuse_if_strict()
    return host


def _call(hooks: pluggy.PluginManager, hook: str, **arguments: Any) -> None:
    """Call a hook of one plugin, if the plugin implements it."""
    with stdout_kept_clean():
        results = getattr(hooks.hook, hook)(**arguments)
    for result in results:
        if hasattr(result, "close"):
            result.close()
        raise PluginError(f"{hook} returned a {type(result).__name__}: expected a function that returns nothing.")


def _require_attribute(plugin: Any) -> None:
    """Raise `IncompatibleError` if the plugin's attribute `requires_cartpole_dqn` asks for another version."""
    required = getattr(plugin, "requires_cartpole_dqn", None) or ""
    try:
        specifier = SpecifierSet(required)
    except (InvalidSpecifier, TypeError, AttributeError):
        raise PluginError(f"requires_cartpole_dqn: expected a specifier such as '>=0.2', got {required!r}.") from None
    require_version(specifier)


def _guard_environments(register: Callable[[], None]) -> None:
    """Call `register`. Undo its registrations if it raises or replaces an environment."""
    from gymnasium.envs.registration import registry

    before = dict(registry)
    try:
        with warnings.catch_warnings():
            # A second run in this process registers the same environments again. Other changes raise below.
            warnings.filterwarnings("ignore", message=".*Overriding environment")
            register()
        for env_id, spec in before.items():
            if registry.get(env_id) != spec:
                raise PluginError(f"it replaces the environment {env_id}, which was there first.")
    except BaseException:
        registry.clear()
        registry.update(before)
        raise


def _unmatched(entries: list[EntryPoint], blocked: Collection[str], allowed: Collection[str]) -> list[str]:
    """Return a line for each blocked or allowed name that matches no plugin."""
    if not blocked and not allowed:
        return []
    installed = {
        name for e in [*entries, *find_entry_points(COMMAND_GROUP)[0]] for name in (e.name, origin(e)[0]) if name
    }
    canonical = {canonicalize_name(name) for name in installed}
    return [
        str(UserError(f"no plugin '{name}' is installed that could be {verb}.{did_you_mean(name, installed)}"))
        for names, verb in ((blocked, "blocked"), (allowed, "allowed"))
        for name in names
        if canonicalize_name(name) not in canonical
    ]
