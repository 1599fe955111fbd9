"""What people look at.

* `curves`: a run's history from its metrics, drawn as a picture.
* `preview`: what an agent sees, stage by stage.
"""
