"""Built-in observers. They watch a run and change nothing in it.

* `display`: a live panel in the terminal, or plain lines.
* `notebook`: the same in a Jupyter notebook. `wording`: what both say.
* `metrics`: `metrics.csv` and `metrics.jsonl` in the run folder. `line_file`: a file that grows by whole lines.
* `points`: the base of observers that write curves. `remote`, `remote_process`: of those that send them to a service.
"""
