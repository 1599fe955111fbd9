"""Replay buffers.

* `uniform`: draws every transition with the same probability.
* `first_kept`: the same, with a share of its slots for the first transitions of a run.
* `ring_replay`: the base of replays over a ring.
* `ring`: stores transitions, each observation once; `layout`, `frames` and `order` say where things are in it.
"""
