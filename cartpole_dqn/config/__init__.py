"""`schema`: the configuration of a run. `presets`: named configurations, as TOML files."""
