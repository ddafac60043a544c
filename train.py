"""Trains a network: python train.py --config=configs/dkse.py [--workdir=DIR]; see --help."""

from dkse_jax.cli.train import run

if __name__ == "__main__":
    run()
