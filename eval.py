"""Evaluates a trained network: python eval.py --workdir=DIR; see --help."""

from dkse_jax.cli.eval import run

if __name__ == "__main__":
    run()
