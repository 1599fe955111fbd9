"""The built-in parts of an agent, one family a file. Nothing is imported here: parts are imported when chosen.

* `ring`: `TransitionRing`, what replays store transitions in; `ring_layout`: its arrays.
* `replay`: `UniformReplay`.
* `networks`: `TutorialConv`, `Conv`, `Mlp`.
* `target_updates`: `HardTargetUpdate`, `SoftTargetUpdate`.
* `exploration`: `ExponentialEpsilon`, `LinearEpsilon`.
* `optimisers`: `RmsProp`, `Adam`, `AdamW`.
* `builtins`: the names under which they are registered.
* `memory`: how much memory is left, and a refusal in words where it does not suffice.
"""
