"""What people measure.

* `evaluation`: a run's model on report seeds.
* `grouping`: which runs belong together. `comparison`: runs and groups beside each other. `estimates`: their figures.
* `learning`: a preset over many seeds.
* `ablation`: a default without each of its choices.
* `sweep`: seeds times settings. `sweep_plan`: what was asked for; `sweep_space`, `sweep_search`: settings by grid, by
  draws, by search; `sweep_progress`: how far a trial is; `local_engine`: trials on this
  machine; `trial_launcher`, `trial_server`, `trial_process`: their processes.
* `doctor`: whether what is installed works; `doctor_checks`, `doctor_probe`: thing by thing.
* `speed`: presets beside the notebooks' loops.
* `notebook_loops`: those loops, as plain scripts.
"""
