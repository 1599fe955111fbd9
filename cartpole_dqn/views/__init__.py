"""What people look at.

* `curves`: a run's history, drawn as a picture. `overlay`: groups of runs over each other. `chart`: what both share.
* `comparison_tables`: a comparison as tables and JSON. `sweep_table`, `sweep_results`: a sweep under way, and its end.
* `preview`: what an agent sees, stage by stage; `preview_drawing`: as one picture.
* `watch`, `record`: a model at play, in a window or as a file. `playback`: its episodes, moment by moment; `scene`: one
  moment as a picture, with `names` of actions and numbers; `animation`: files that pictures are streamed to.
* `panels`: how an observation is drawn, for all of these.
* `report`: a run on one page. `in_notebook`: what a notebook shows.
"""
