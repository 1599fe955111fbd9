"""Find and load plugins, and register components.

* `hookspecs`: the two hooks. `discovery`: finds the entry points of installed distributions.
* `host`: loads each plugin in isolation. `registry`: components by kind and name.
* `builtins`: registers the components of this package through the same hooks.
* `installer`: installs plugins into this environment, and writes down which ones it has.
* `project`: writes a new plugin project from the files in `template`.
"""
