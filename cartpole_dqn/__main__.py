"""`python -m cartpole_dqn`."""

from cartpole_dqn.cli import main

if __name__ == "__main__":
    main()
