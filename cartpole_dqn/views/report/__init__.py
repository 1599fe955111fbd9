"""A run on one page.

* `gather`: collects what the page shows. `content`, `course`, `setup`, `pictures`: its sections. `page`: the HTML.
"""
