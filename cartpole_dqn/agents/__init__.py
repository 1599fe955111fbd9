"""Built-in agents: `dqn.DqnAgent`."""
