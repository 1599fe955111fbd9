"""How numbers, tables and names look to people.

* `figures`: counts, times and rates.
* `tables`: tables in text, Markdown, CSV and JSON.
* `markup`: text that is safe to print.
"""
