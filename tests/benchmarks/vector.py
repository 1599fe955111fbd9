"""How many steps a second environments side by side make, in one process and each in a process of its own.

    python tests/benchmarks/vector.py
    python tests/benchmarks/vector.py --obs pixels --num-envs 4 --seconds 5

Random actions are taken through the lanes that a run has, episodes begun anew where they end; nothing is learned. Each
timing is a process of its own, and the ways take turns, so that a machine that grows busy slows all of them.
"""

from __future__ import annotations

import argparse
import json
import time

from timing import machine, spread, timed

WAYS = ("sync", "async")
_WARM_UP = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", default="CartPole-v1", help="a Gymnasium id")
    parser.add_argument("--obs", action="append", help="state or pixels; both by default; may be repeated")
    parser.add_argument("--num-envs", type=int, action="append", help="1, 2, 4 and 8 by default; may be repeated")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each timing takes")
    parser.add_argument("--repeats", type=int, default=3, help="timings of each")
    parser.add_argument("--time", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.time:
        [obs], [count] = given.obs, given.num_envs
        print(json.dumps({"rate": time_lanes(given.env, obs, given.time, count, seconds=given.seconds)}))
        return
    print(f"{given.env}, environment steps a second over all environments, random actions, nothing learned.\n")
    print("| observation | environments | sync | async | ratio |\n|---|--:|--:|--:|--:|")
    for obs in given.obs or ("state", "pixels"):
        for count in given.num_envs or (1, 2, 4, 8):
            what = ["--env", given.env, "--obs", obs, "--num-envs", count, "--seconds", given.seconds]
            pairs = [[timed("vector.py", *what, "--time", way)["rate"] for way in WAYS] for _ in range(given.repeats)]
            rates = " | ".join(spread(figures) for figures in zip(*pairs, strict=True))
            print(f"| {obs} | {count} | {rates} | {spread([b / a for a, b in pairs], 2)} |", flush=True)
    print(f"\n{machine()}")


def time_lanes(env: str, obs: str, way: str, num_envs: int, *, seconds: float) -> float:
    """Return the steps a second of `num_envs` environments, over all of them."""
    import torch

    from cartpole_dqn.contracts.seeding import SeedTree
    from cartpole_dqn.envs.factory import EnvFactory
    from cartpole_dqn.envs.lanes import Lanes, training_seeds
    from cartpole_dqn.plugin.host import load_plugins
    from cartpole_dqn.training.assembly import resolve_config

    torch.set_num_threads(1)
    host = load_plugins()
    flags = {"obs": obs, "steps": 1, "env": {"id": env, "num_envs": num_envs, "vector": way}}
    config, _ = resolve_config(host, flags=flags)
    envs = EnvFactory(config, host).make_vector()
    actions = int(envs.single_action_space.n)
    generator = SeedTree(0).numpy("actions")
    lanes = Lanes(envs, seeds=training_seeds(0))
    try:
        lanes.start()
        began, steps = 0.0, -_WARM_UP
        while steps <= 0 or time.perf_counter() - began < seconds:
            if steps == 0:
                began = time.perf_counter()
            chosen = generator.integers(actions, size=num_envs)
            if lanes.mask is not None:
                chosen = (generator.random((num_envs, actions)) * lanes.mask).argmax(1)
            _, endings = lanes.step(chosen)
            if endings:
                lanes.begin([ending.env for ending in endings])
            steps += 1
        return steps * num_envs / (time.perf_counter() - began)
    finally:
        lanes.close()


if __name__ == "__main__":
    main()
