"""Train DQN on CartPole from its four numbers with a few changed settings, and plot the curves."""

import argparse

from cartpole_dqn import train

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=20_000)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default=None)
arguments = parser.parse_args()

settings = {"agent": {"n_step": 5, "network": {"hidden": [64, 64]}}, "evaluation": {"every": 2_000}}
run = train(obs="state", steps=arguments.steps, seed=arguments.seed, out=arguments.out, settings=settings)
report = run.evaluate(episodes=20)
print(f"mean return {report.mean:.1f}, curves in {run.plot()}")
