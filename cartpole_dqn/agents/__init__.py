"""Built-in agents.

* `dqn`: deep Q-learning. `augmentation`: batches of images, mirrored and shifted.
"""
