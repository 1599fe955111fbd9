"""The interfaces of every component, built in or from a plugin.

* `parts`: `ReplayBuffer`, `Network`, ..., `Agent`, their `Context`, and the data between them.
* `events`: the events of a run, and `Observer`. `pictures`: observations as pictures, for observers.
* `collector`: how a run collects its steps. `sweep_engine`: where the trials of a sweep run.
* `options`: how a component declares its options.
* `seeding`: named generators from the run's seed. `weights`: copy and load networks.
"""
