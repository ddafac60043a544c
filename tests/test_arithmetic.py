"""How bfloat16 is computed on a CPU, and that a run keeps it."""

import json

import jax
import jax.numpy as jnp
import pytest

from dkse_jax import arithmetic, runtime, sharding
from dkse_jax.config import default_config
from dkse_jax.trained import load
from dkse_jax.training.loop import train
from dkse_jax.workdir import description
from tests.conftest import thin_config


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """`processor(flags)`: makes this one a processor with the given flags."""

    def pretend(flags):
        path = tmp_path / "cpuinfo"
        path.write_text(f"processor\t: 0\nflags\t\t: fpu {flags} sse2\n")
        monkeypatch.setattr(runtime, "CPU_INFO", path)

    return pretend


@pytest.fixture
def mesh():
    return sharding.make_mesh(jax.devices()[:1])


def config(dtype="bfloat16", ops="auto"):
    chosen = default_config().unlock()
    chosen.model.dtype, chosen.model.ops = dtype, ops
    return chosen


@pytest.mark.parametrize("flags", ["avx512f avx512_bf16", "amx_bf16 amx_tile"])
def test_a_processor_with_products_of_bfloat16_uses_them(flags, processor, mesh, capsys):
    processor(flags)
    assert arithmetic.choose(config(), mesh, None) == "bfloat16"
    network = arithmetic.network(config(), 5, mesh, "bfloat16")
    assert network.target.bfloat16
    assert network.dtype == jnp.bfloat16
    assert capsys.readouterr().out == ""


def test_another_computes_in_float32_and_says_so(processor, mesh, capsys):
    processor("avx512f avx2")
    assert arithmetic.choose(config(), mesh, None) == "float32"
    network = arithmetic.network(config(), 5, mesh, "float32")
    assert network.dtype == jnp.float32
    assert network.target.compiler_options == {}
    assert capsys.readouterr().out == (
        "this processor has no products of bfloat16 (avx512_bf16, amx_bf16);"
        " config.model.dtype=bfloat16 is computed in float32\n"
    )


def test_a_run_keeps_its_arithmetic_where_it_can(processor, mesh, capsys):
    processor("amx_bf16")
    assert arithmetic.choose(config(), mesh, "float32") == "float32"
    assert capsys.readouterr().out == ""
    processor("avx2")
    assert arithmetic.choose(config(), mesh, "bfloat16") == "float32"
    assert "from here on its numbers differ a little" in capsys.readouterr().out


@pytest.mark.parametrize("chosen", [config("float32"), config(ops="plain")])
def test_float32_and_plain_are_as_written(chosen, mesh):
    assert arithmetic.choose(chosen, mesh, None) is None


@pytest.mark.usefixtures("short")
def test_the_arithmetic_of_a_run_is_recorded_and_kept(processor, mesh, tmp_path):
    processor("avx2")
    run = thin_config()
    run.model.dtype, run.train.epochs = "bfloat16", 1
    workdir = tmp_path / "run"
    train(run, workdir, mesh)
    recorded = json.loads((workdir / description.INPUTS_FILE).read_text())["arithmetic"]
    assert recorded == description.begun_arithmetic(workdir) == "float32"
    processor("amx_bf16")
    assert load(workdir, mesh=mesh).network.dtype == jnp.float32
    run.train.epochs = 2
    train(run, workdir, mesh)  # as begun, though this processor has products
    assert description.begun_arithmetic(workdir) == "float32"
