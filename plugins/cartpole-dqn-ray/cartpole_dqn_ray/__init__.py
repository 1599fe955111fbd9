"""cartpole-dqn on Ray: sweeps over the nodes of a cluster, and collection by many actors.

* `plugin`: the hooks. Neither this package nor `plugin` imports Ray.

The sweep engine "ray":

* `sweep`: `RaySweep`, the engine, and its options.
* `follower`: follows one trial from its start to its end, across nodes that die.
* `seats`: workers on the cluster, kept from trial to trial.
* `nodes`: which nodes there are, which can be used, and why others cannot.
* `connection`: the connection to a cluster, or a Ray of its own on this machine.
* `worker`: what runs on a node; `launch` is the process that it starts for a run.
* `run_files`: a run folder's files as they stood at one moment, and how they are put in place elsewhere.
* `versions`: what a node must have in common with the machine that the sweep was started on.

The collector "ray":

* `collection`: `RayCollector`, the collector, and its options.
* `collection_pace`: its rules, without Ray: staleness, epsilons, rates.
* `collection_team`: the actors, and what was asked of them.
* `collection_actor`: what runs in one.
"""
