"""The run that the faults are planted in: STEPS steps of a thin network, saved every 6 steps."""

import os

from ml_collections import ConfigDict

from configs import base

STEPS = 120 if os.environ.get("DKSE_FAULTS") == "full" else 40


def get_config() -> ConfigDict:
    config = base.get_config()
    config.model.width = 4
    config.data.image_size = 32
    config.data.synthetic.kinds = 3
    config.data.synthetic.train_per_kind = 16
    config.data.synthetic.val_per_kind = 5
    config.data.synthetic.test_per_kind = 7
    config.train.batch_size = 8
    config.train.epochs = STEPS / 6  # of 48 pictures in batches of 8
    config.train.evaluate_every_epochs = 4.0
    config.train.checkpoint_every_steps = 6
    config.eval.batch_size = 8
    config.log.tensorboard = False
    return config
