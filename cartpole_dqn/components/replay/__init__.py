"""Replay buffers.

* `uniform`: draws all transitions with the same probability.
* `ring_replay`: the base of replays that store in a ring.
* `ring`: stores transitions, each observation once. It uses `layout`, `frames` and `order`.
"""
