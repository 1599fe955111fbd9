"""A run on disk.

* `folder`: the files of a run. `lock`: one writer at a time.
* `catalogue`: finding and listing runs.
* `metrics`: the events in `metrics.jsonl`. `history`: the same as arrays.
* `saved`: what a run saves of its state. `shared`: a run made safe to pass on, as a folder or a zip.
* `checkpoint`: states on disk, with `state_tree` (nested values as JSON and tensors) and `tensors` (tensors on disk).
"""
