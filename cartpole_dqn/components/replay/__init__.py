"""Replay buffers.

* `uniform`: draws all transitions with the same probability.
* `first_kept`: draws uniformly, and never overwrites the first transitions of a run.
* `ring_replay`: the base of replays that store in a ring.
* `ring`: stores transitions, each observation once. It uses `layout`, `frames` and `order`.
"""
