"""Environments, made from a configuration and stepped.

* `factory`: makes environments with their wrappers, one or several side by side.
* `ids`: what an environment's id means. `chain`: the observation wrappers of a configuration.
* `lanes`: steps environments side by side and keeps each one's episode; the built-in collector.
* `stages`: an observation as pictures. `names`: of actions and numbers.
* `guard`: checks what an environment returns.
* `workers`: runs each environment in its own process.
"""
