"""Searches for good settings with optuna, an optional dependency (`Search`, `require_optuna`).

The sampler is a tree-structured Parzen estimator (Bergstra et al. 2011). Each setting has its own sampler, seeded by
its number. So the next setting depends on the seed and the scores so far, also in a resumed sweep.
"""

from __future__ import annotations

import importlib
from typing import Any

from cartpole_dqn.config.layers import parse_value
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.errors import UserError
from cartpole_dqn.studies.sweep_space import Choice, Setting, Space, as_toml, numbered_setting, rounded

Params = dict[str, Any]
"""Unrounded numbers or TOML texts, by key."""


class Search:
    """A search in a space for the setting with the highest score. Raises `UserError` if optuna is missing.

    Args:
        space: ranges and choices.
        seed: of the samplers.
        total: how many settings to try.
    """

    def __init__(self, space: Space, seed: int, total: int) -> None:
        self._optuna = require_optuna()
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        self._space, self._total = space, total
        self._seeds = SeedTree(seed).child("search")
        self._distributions = {key: self._distribution(key) for key in space}
        self._study = self._optuna.create_study(direction="maximize", sampler=self._sampler(0))
        self.proposed: list[Params] = []
        """The settings so far, by their numbers."""

    def ask(self) -> Setting | None:
        """Choose the next setting to try. Return None if there were enough."""
        if len(self.proposed) == self._total:
            return None
        self._study.sampler = self._sampler(len(self.proposed))
        return self._next(self._study.ask(fixed_distributions=self._distributions).params)

    def take_back(self, params: Params) -> Setting:
        """Return the next setting of an earlier session, before any new one."""
        trial = self._optuna.trial.create_trial(
            params=params, distributions=self._distributions, state=self._optuna.trial.TrialState.RUNNING
        )
        self._study.add_trial(trial)
        return self._next(params)

    def tell(self, number: int, score: float | None) -> None:
        """Record the score of setting `number`; None if one of its trials failed."""
        states = self._optuna.trial.TrialState
        if score is None:
            self._study.tell(number, state=states.FAIL)
        else:
            self._study.tell(number, score, state=states.COMPLETE)

    def _next(self, params: Params) -> Setting:
        """Return the next setting, its values rounded to four significant digits."""
        number, values = len(self.proposed), dict[str, Any]()
        for key, value in params.items():
            entry = self._space[key]
            values[key] = parse_value(value) if isinstance(entry, Choice) else rounded(entry, float(value))
        self.proposed.append(params)
        return numbered_setting(values, number, self._total)

    def _sampler(self, number: int) -> Any:
        seed = self._seeds.integer(str(number)) & 0x7FFFFFFF
        # The constant liar treats running settings as bad, so that parallel trials spread out.
        return self._optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    def _distribution(self, key: str) -> Any:
        entry, kinds = self._space[key], self._optuna.distributions
        if isinstance(entry, Choice):
            return kinds.CategoricalDistribution(tuple(map(as_toml, entry.values)))
        if entry.int:
            return kinds.IntDistribution(int(entry.low), int(entry.high), log=entry.log)
        return kinds.FloatDistribution(entry.low, entry.high, log=entry.log)


def require_optuna() -> Any:
    """Return the module `optuna`. Raises `UserError` where it is not installed."""
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise UserError(
            f"--search optuna needs optuna, which cannot be imported ({error}): pip install 'cartpole-dqn[optuna]'"
        ) from None
