"""Train: from settings to a finished run.

* `resolve`: combines preset, file and flags into a complete configuration.
* `json_schema`: what a configuration file may hold, for editors.
* `assembly`: builds a run from its configuration. `session`: starts or resumes it in its folder.
* `runner`: the training loop. `observer_group`: calls the observers.
* `evaluator`: plays greedy episodes. `selection`: chooses the best model. `models`: loads and evaluates a saved model.
* `initial_weights`: finds the weights of another run to start from.
* `rollout`: acts with a copy of the policy, for collectors with other processes.
"""
