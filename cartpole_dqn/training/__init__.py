"""A run from its configuration to its end.

* `resolve`: what the user gives -> a complete configuration.
* `assembly`: configuration and registry in, a run that is ready to start out.
* `session`: what starting and resuming share.
* `runner`: the loop over steps. `watchers`: the observers of a run.
* `evaluator`: greedy episodes. `selection`: which model is the best. `models`: the model that a run kept.
* `initial_weights`: the weights that a run starts from.
* `rollout`: acts with a copy of the policy in another process.
"""
