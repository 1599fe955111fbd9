"""Replay buffers.

* `uniform`: draws every transition with the same probability.
* `ring_replay`: the base of replays over a ring.
* `ring`: stores transitions, each observation once; `layout`, `frames` and `order` say where things are in it.
"""
