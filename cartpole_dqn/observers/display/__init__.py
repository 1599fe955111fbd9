"""A run's live display: `display` is the observer, `tracker` holds its data, `panel` and `braille` draw it."""
