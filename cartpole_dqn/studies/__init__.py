"""What people measure.

* `grouping`: which runs belong together. `comparison`: runs and groups beside each other. `estimates`: their figures.
* `sweep`: seeds times settings. `sweep_plan`: what was asked for. `sweep_space`, `sweep_search`: which settings, by
  grid, by name, by draws or by search.
* `local_engine`: trials on this machine. `trial_process`: their processes; `trial_preload`: what these import first.
* `doctor`: whether what is installed works; `doctor_checks`, `doctor_probe`: thing by thing.
"""
