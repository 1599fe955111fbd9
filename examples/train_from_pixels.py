"""Train DQN on CartPole from its rendered screen, then evaluate the best model on held-out seeds."""

import argparse

from cartpole_dqn import train

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=20_000)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default=None)
arguments = parser.parse_args()

run = train(obs="pixels", steps=arguments.steps, seed=arguments.seed, out=arguments.out)
report = run.evaluate(episodes=20)
print(f"{run.path}: mean return {report.mean:.1f} over {len(report.returns)} greedy episodes")
