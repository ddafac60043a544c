"""Settings that cannot train are refused, and odd ones told, by what the network does."""

import pytest

from dkse_jax.errors import UserError
from dkse_jax.models import configured_model
from dkse_jax.training.limits import check_norms, check_warmup, fewest_values, odd_settings


def model_of(config):
    return configured_model(config.model, 3)


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ({"batch_size": 1}, 1),
        ({"batch_size": 8, "accumulate": 8}, 1),
        pytest.param({"batch_size": 8, "accumulate": 2}, 4, marks=pytest.mark.full),
        pytest.param({"batch_size": 1, "image_size": 64}, 4, marks=pytest.mark.full),
        ({"batch_size": 1, "image_size": 64, "attention": "sk"}, 1),
        ({"batch_size": 8}, 8),
        pytest.param(
            *({"batch_size": 1, "frozen": "separable_13,separable_14"}, 4), marks=pytest.mark.full
        ),
    ],
)
def test_norms_of_one_value_are_refused_and_of_few_told(config, fields, values):
    config.frozen = fields.pop("frozen", "")
    config.data.image_size = fields.pop("image_size", 32)
    config.model.attention = fields.pop("attention", "dkse")
    config.train.update(fields)
    model = model_of(config)
    assert fewest_values(config, model)[1] == values
    if values == 1:
        name = "sk_6/reduce/norm" if config.model.attention == "sk" else "separable_13/norm"
        with pytest.raises(UserError, match=f"^the norm {name} sees one value a channel in a"):
            check_norms(config, model)
        return
    check_norms(config, model)
    told = odd_settings(config, model, 200, round(200 * 3 / config.train.batch_size))
    assert [f"sees only {values} values" in line for line in told] == [True] * (values < 8)


@pytest.mark.parametrize(("percent", "steps"), [(99.0, 10), (60.0, 1), (99.9, 400)])
def test_a_run_of_warm_up_alone_is_refused(config, percent, steps):
    config.optimizer.warmup_percent = percent
    with pytest.raises(UserError, match=rf"warmup_percent is {percent}.* all {steps} steps"):
        check_warmup(config, steps)
    check_warmup(config, 3000)
    config.optimizer.warmup_percent = 5.0
    check_warmup(config, 1)


@pytest.mark.parametrize(
    ("batch_size", "examples", "epochs", "steps", "told"),
    [
        (200, 41, 3.0, 1, "is 4.88 epochs of 41 images: this run takes 1 step, 4.88 epochs where"),
        (
            64,
            40,
            100.0,
            62,
            "is 1.6 epochs of 40 images: this run takes 62 steps, 99.2 epochs",
        ),
        (32, 400, 0.01, 1, "takes 1 step, 0.08 epochs where config.train.epochs is 0.01"),
        (32, 400, 3.0, 38, ""),
        (8, 27, 0.3, 1, ""),
    ],
)
def test_a_step_of_many_epochs_is_told(config, batch_size, examples, epochs, steps, told):
    config.train.batch_size, config.train.epochs = batch_size, epochs
    found = odd_settings(config, model_of(config), examples, steps)
    assert [told in line for line in found] == [True] * bool(told)
