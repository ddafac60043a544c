import jax
import numpy as np
import pytest

from dkse_jax import inference, runtime, sharding
from dkse_jax.data.sources import Source
from dkse_jax.data.transform import Transform, normalise
from dkse_jax.errors import UserError
from dkse_jax.evaluation.evaluate import check_finite, predict
from dkse_jax.evaluation.metrics import summarise
from dkse_jax.inference import make_forward
from dkse_jax.models.dkse_net import DKSENet

pytestmark = pytest.mark.usefixtures("short")


@pytest.fixture(scope="module")
def network():
    model = DKSENet(3, width=4)
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))
    return model, variables, make_forward(model, Transform(32), runtime.default_mesh())


def noise(examples):
    pictures = np.random.default_rng(0).integers(0, 256, (examples, 32, 32, 3), dtype=np.uint8)
    names = tuple(map(str, range(examples)))
    labels = np.zeros(examples, np.int32)
    return pictures, Source(("a", "b", "c"), names, labels, names, lambda i, side: pictures[i])


@pytest.mark.parametrize("examples", [1, 7, 8, 23])
def test_every_example_counts_once_whatever_the_batch(network, examples):
    model, variables, forward = network
    pictures, source = noise(examples)
    # 7 is not a multiple of the 8 devices: predict enlarges it to 8.
    mesh = runtime.default_mesh()
    result = predict(forward, variables, source, Transform(32), mesh, batch_size=7, threads=2)
    logits, _ = model.apply(variables, normalise(pictures, Transform(32)))
    assert result.shape == (examples, 3)
    np.testing.assert_allclose(result, jax.nn.log_softmax(logits), atol=1e-5)


def test_devices_give_one_devices_counts_exactly(network):
    """Counts are equal; the loss and the calibration are sums of rounded numbers."""
    model, variables, _ = network
    _, source = noise(23)
    labels = np.arange(23, dtype=np.int32) % 3

    def metrics(device_count, fsdp):
        mesh = sharding.make_mesh(jax.devices()[:device_count], fsdp=fsdp)
        forward = make_forward(model, Transform(32), mesh)
        placed = jax.device_put(variables, sharding.shardings(variables, mesh))
        found = predict(forward, placed, source, Transform(32), mesh, batch_size=8, threads=2)
        result = summarise(found, labels, source.ids, source.class_names, seed=0)
        return [result.pop("loss"), result.pop("ece")], result

    sums, counts = metrics(1, 1)
    assert counts["n"] == 23
    for device_count, fsdp in ((2, 1), (4, 2), (8, 8)):
        others, same = metrics(device_count, fsdp)
        assert same == counts
        np.testing.assert_allclose(others, sums, rtol=1e-6)


def test_an_example_that_gets_lost_is_noticed(network, monkeypatch):
    _, variables, forward = network
    _, source = noise(9)
    whole = inference.evaluation_batches

    def drops_the_remainder(*args, **named):
        return list(whole(*args, **named))[:-1]

    monkeypatch.setattr(inference, "evaluation_batches", drops_the_remainder)
    mesh = runtime.default_mesh()
    with pytest.raises(AssertionError, match="8 results for 9 examples"):
        predict(forward, variables, source, Transform(32), mesh, batch_size=8, threads=2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_counted_and_refused(value):
    scores = np.log(np.full((6, 3), 1 / 3))
    check_finite(scores, "test", "float32")
    scores[2, 1] = scores[2, 2] = scores[5, 0] = value
    for dtype, remedy in (("bfloat16", "model.dtype=float32"), ("float32", "learning_rate")):
        with pytest.raises(UserError, match=rf"^2 of the 6 images of test have .*{remedy}$"):
            check_finite(scores, "test", dtype)
