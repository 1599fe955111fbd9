"""Built-in observers: they hear of a run and change nothing in it.

* `display`: a live panel in the terminal, or plain lines. `tracker` keeps what it shows; `panel`, `braille` and
  `figures` draw it.
* `notebook`: the same in a Jupyter notebook; `notebook_card` and `markup` draw it.
* `metrics`: `metrics.csv` and `metrics.jsonl` in the run folder.
"""
