"""A run on one page.

* `gather`: collects the content (`content`) and writes the page.
* `page`: renders it by the template `report.html.jinja`, from the tables and pictures of `course`, `setup`, `pictures`.
"""
