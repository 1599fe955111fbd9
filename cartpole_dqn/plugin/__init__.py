"""Plugins: where they are found, how they are loaded, and what they register.

* `hookspecs`: the two hooks.
* `discovery`: installed distributions and their entry points.
* `host`: loads plugins, each alone, and keeps what they registered.
* `registry`: components by kind and name.
* `builtins`: the components of this package, registered through the same hooks.
* `template`: the files that `plugins new` starts a project from.
"""
