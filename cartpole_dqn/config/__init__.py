"""What a run is configured by.

* `schema`: `RunConfig` with its sections, TOML in and out, layers of settings laid over each other.
* `presets`: whole configurations under a name, with their TOML files.
"""
