"""A run's live display: `display` is the observer, `tracker` holds its data, `panel`, `braille` and `eye` draw it, and
`screen` puts the drawing on a terminal.
"""
