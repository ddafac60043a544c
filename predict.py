"""Predicts a collection: python predict.py --workdir=W --out=OUT IMAGES; see --help."""

from dkse_jax.cli.predict import run

if __name__ == "__main__":
    run()
