"""A run on one page.

* `gather`: collects what the page shows (`content`). `course`, `setup`, `pictures`: its parts as tables and pictures.
* `page`: the HTML, by the template `report.html.jinja`.
"""
