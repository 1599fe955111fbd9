"""The live display of a run in the terminal.

* `display`: the observer. `panel`: what it draws. `tracker`: what it remembers. `braille`: the curve.
"""
