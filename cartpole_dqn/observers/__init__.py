"""Built-in observers: they hear of a run and change nothing in it.

* `display`: a live panel in the terminal, or plain lines. `tracker` keeps what it shows; `panel` and `braille` draw it.
* `notebook`: the same in a Jupyter notebook, kept by the same `tracker`; `notebook_card` and a template draw it.
* `metrics`: `metrics.csv` and `metrics.jsonl` in the run folder.
"""
