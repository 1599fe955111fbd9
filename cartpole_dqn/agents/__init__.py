"""Built-in agents.

* `dqn`: deep Q-learning. `greedy`: its policy. `augmentation`: batches of images, mirrored and shifted.
"""
