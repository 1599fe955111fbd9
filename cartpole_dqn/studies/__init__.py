"""What people do with finished runs: measure, compare, export; and sweeps and the doctor.

* `grouping`: groups of runs. `comparison`: compares them. `playing`: plays their models for that. `estimates`: the
  statistics, and scores that are claimed.
* `sweep`: runs settings with seeds. `sweep_plan`: its request. `sweep_space`, `sweep_search`: its settings.
* `local_engine`: runs trials on this machine. `trial_process`, `trial_preload`: their processes.
* `export`: a run's model as one file for other programs. `scoring`: its score, beside one that is claimed.
* `doctor`, `doctor_checks`, `doctor_probe`: check the installation.
"""
