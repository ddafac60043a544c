"""Checkpoints of arrays that lie on several devices."""

import jax
import numpy as np

from dkse_jax import runtime, sharding
from dkse_jax.workdir import checkpoint


def test_what_every_device_holds_is_saved_without_compiling_anything(tmp_path):
    mesh = runtime.default_mesh()
    values = np.arange(16 * 24, dtype=np.float32).reshape(16, 24)
    state = jax.device_put({"params": values}, sharding.replicated(mesh))
    jax.block_until_ready(state)
    compiled = []

    def listen(event, seconds, **more):
        compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        checkpoint.save(tmp_path, 3, state, state, {})
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not [event for event in compiled if "compile" in event]
    target = sharding.abstract(state, mesh)
    step, variables, _ = checkpoint.restore_newest(tmp_path, target, target)
    assert step == 3
    np.testing.assert_array_equal(variables["params"], values)
    assert variables["params"].sharding == target["params"].sharding
