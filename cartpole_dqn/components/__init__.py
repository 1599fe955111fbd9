"""The built-in parts of an agent, one file per family. Each is imported when a configuration uses it.

`replay`, `networks`, `target_updates`, `exploration`, `optimisers`.
"""
