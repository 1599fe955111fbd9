from __future__ import annotations

from cartpole_dqn.plugin import hookspecs
from cartpole_dqn.plugin.host import PluginHost


def test_a_host_has_every_hook_and_each_says_when_who_and_what_wins() -> None:
    hooks = {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "cartpole_dqn_spec")}
    called = {name for name in vars(PluginHost()._manager.hook) if not name.startswith("_")}
    assert set(hooks) == called == {"register_components", "register_environments"}
    for hook in hooks.values():
        for heading in ("When: ", "Who: ", "What wins: "):
            assert heading in hook.__doc__
