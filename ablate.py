"""Regenerates a table of the paper: python ablate.py --table=counts; see --help."""

from dkse_jax.cli.ablate import run

if __name__ == "__main__":
    run()
