"""cartpole-dqn on Ray: sweeps over the nodes of a cluster, and collection by many actors.

* `plugin`: the hooks. Neither this package nor `plugin` imports Ray.

The sweep engine "ray":

* `sweep`: `RaySweep`, the engine, and its options.
* `nodes`: which nodes there are, which can be used, and why others cannot.
* `connection`: the connection to a cluster, or a Ray of its own on this machine.
* `trial`: the task that runs a trial on a node.
* `home`: the actor that keeps the run folders where the sweep is.
* `run_files`: a run folder's files as they stood at one moment, and how they are put in place elsewhere.
* `versions`: what a node must have in common with the machine that the sweep was started on.

The collector "ray":

* `collection`: `RayCollector`, the collector, and its options.
* `collection_pace`: its rules, without Ray: staleness, epsilons, rates.
* `collection_team`: the actors, and what was asked of them.
* `collection_actor`: what runs in one.
"""
