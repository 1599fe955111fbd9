"""Pictures, pages and tables for people.

* `curves`: a run's history as a picture. `overlay`: groups of runs over each other. `chart`: what both share.
  `colours`: those of all pictures.
* `comparison_tables`: a comparison as text, and a sweep's results. `sweep_table`: a running sweep.
* `preview`: what an agent sees, stage by stage. `preview_drawing`: the same as one picture. `attribution`: where the
  value of an action comes from.
* `watch`, `record`: a model at play, in a window or as a file. `progress`: models of several stages side by side.
  `playback`: their episodes. `scene`: one moment as a picture. `animation`: GIF and MP4 files.
* `panels`: the drawing of observations, for all of these.
* `report`: a run on one page. `share`: a model as a folder and a zip to pass on.
* `in_notebook`: files and runs in notebooks.
"""
