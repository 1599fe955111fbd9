"""Numbers, tables and names as text.

* `figures`: counts, scores, times and sizes; text that is safe to print.
* `tables`: tables for terminals, files and Markdown; JSON.
* `pages`: HTML from templates.
"""
