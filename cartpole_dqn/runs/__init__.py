"""A run on disk.

* `folder`: the files of a run. `lock`: one writer at a time.
* `catalogue`, `listing`: which runs there are.
* `history`: what `metrics.jsonl` tells.
* `checkpoint`: a run's state, with `state_tree` (nested values as JSON and tensors) and `tensors` (tensors on disk).
"""
