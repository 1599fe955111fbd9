"""What people look at.

* `curves`: a run's history, drawn as a picture. `overlay`: groups of runs over each other. `chart`: what both share.
* `comparison_tables`: a comparison as tables and JSON. `text_table`: tables for a terminal, a pipe, a page.
* `preview`: what an agent sees, stage by stage.
* `watch`, `record`: a model at play, in a window or as a file. `playback`: its episodes, moment by moment; `scene`: one
  moment as a picture, with `names` of actions and numbers; `animation`: files that pictures are streamed to.
"""
