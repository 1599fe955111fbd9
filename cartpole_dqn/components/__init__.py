"""The built-in parts of an agent, one file per family. Each is imported when a configuration uses it.

* `replay`: `UniformReplay`, and the base of other replays: `RingReplay`, `TransitionRing`.
* `networks`: `TutorialConv`, `Conv`, `Mlp`.
* `target_updates`: `HardTargetUpdate`, `SoftTargetUpdate`.
* `exploration`: `ExponentialEpsilon`, `LinearEpsilon`.
* `optimisers`: `RmsProp`, `Adam`, `AdamW`.
"""
