"""The built-in parts of an agent, one family a file. Nothing is imported here: parts are imported when chosen.

* `replay`: `UniformReplay`, and what other replays are built on: `RingReplay`, `TransitionRing`.
* `networks`: `TutorialConv`, `Conv`, `Mlp`.
* `target_updates`: `HardTargetUpdate`, `SoftTargetUpdate`.
* `exploration`: `ExponentialEpsilon`, `LinearEpsilon`.
* `optimisers`: `RmsProp`, `Adam`, `AdamW`.
"""
