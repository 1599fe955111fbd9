"""cartpole-dqn on Ray: sweeps over the nodes of a cluster, and collection by many actors.

* `plugin`: the hooks. Neither this package nor `plugin` imports Ray.

The sweep engine "ray":

* `sweep`: `RaySweep`, the engine, and its options.
* `nodes`: the nodes of the cluster, and which of them can be used.
* `trial`: the task that runs a trial on a node.
* `home`: the actor that keeps the run folders on the sweep's machine.
* `run_files`: the files of a run folder on their way between machines.

Both:

* `connection`: the connection to a cluster, or to a Ray that is started on this machine.
* `versions`: the versions on a machine, and how those of two machines differ.

The collector "ray":

* `collection`: `RayCollector`, the collector, and its options.
* `collection_pace`: its rules, without Ray: staleness, epsilons, rates.
* `collection_team`: the actors, and what was asked of them.
* `collection_actor`: what runs in one.
"""
