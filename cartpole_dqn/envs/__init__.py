"""From a configuration to environments that are stepped.

* `factory`: makes environments with their wrappers, one or several side by side.
* `lanes`: steps environments side by side and keeps each one's episode; the built-in collector.
* `guard`: checks what an environment returns, and brings it into one form.
* `workers`: an environment in a process of its own.
"""
