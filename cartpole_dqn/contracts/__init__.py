"""The contracts that every part keeps, built in or from a plugin.

* `parts`: the data (`Transition`, `Batch`), the parts (`ReplayBuffer`, `Network`, ..., `Agent`) and their `Context`.
* `events`: what a run tells, and `Observer`.
* `collector`: how a run gets its steps.
* `sweep_engine`: where a sweep's trials run.
* `options`: how a part declares its options.
* `seeding`: generators by name, all derived from the run's seed.
* `weights`: copies of networks, and loading saved weights into them.
"""
