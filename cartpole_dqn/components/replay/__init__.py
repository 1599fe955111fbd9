"""Replay buffers.

* `uniform`: draws every transition with the same probability.
* `ring`: stores transitions, each observation once; `layout`, `frames` and `order` say where things are in it.
"""
