"""Damage in the cache of compiled programs, with JAX's own compression and with none."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import compilation_cache

from dkse_jax import compiled

SETTINGS = {"jax_persistent_cache_min_compile_time_secs": 0.0}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A verified cache of its own, without JAX's compression, whose checksum would notice too."""
    for name in ("compress_executable", "decompress_executable"):
        monkeypatch.setattr(compilation_cache, name, lambda executable: executable)
    monkeypatch.setattr(compilation_cache, "get_file_cache", compilation_cache.get_file_cache)
    assert compiled.verify_entries()
    settings = SETTINGS | {"jax_compilation_cache_dir": str(tmp_path / "cache")}
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield tmp_path / "cache"
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def result():
    """Compiles anew, or takes the cached program, and runs it."""
    jax.clear_caches()
    return np.asarray(jax.jit(lambda x: jnp.sin(x) * 3 + 1)(np.float32([0.25, 2.0])))


def only(cache):
    (file,) = cache.glob("*lambda*-cache")
    return file


def flipped(content, seed):
    position = int(np.random.default_rng(seed).integers(8 * len(content)))
    damaged = bytearray(content)
    damaged[position // 8] ^= 1 << position % 8
    return bytes(damaged)


DAMAGES = {
    **{f"bit {seed}": lambda content, seed=seed: flipped(content, seed) for seed in range(4)},
    "digest": lambda content: flipped(content[:32], 0) + content[32:],
    "cut": lambda content: content[:-1],
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "longer": lambda content: content + b"x",
    "of an earlier version": lambda content: content[32:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_program_is_compiled_again(cache, capsys, damage):
    expected = result()
    whole = only(cache).read_bytes()
    np.testing.assert_array_equal(result(), expected)  # from the cache
    assert capsys.readouterr().out == ""
    only(cache).write_bytes(DAMAGES[damage](whole))
    np.testing.assert_array_equal(result(), expected)
    line = f"a compiled program in {cache} is damaged; it is compiled again\n"
    assert capsys.readouterr().out == line
    np.testing.assert_array_equal(result(), expected)
    assert capsys.readouterr().out == ""  # the new entry is whole
    assert len(list(cache.iterdir())) == len({path.name.split(".")[0] for path in cache.iterdir()})


def test_the_whole_program_of_another_name_is_damage(cache, capsys):
    """As after a copy or a damaged folder: its digest alone would be right."""
    expected = result()
    file = only(cache)
    jax.jit(lambda x: jnp.cos(x) * 7)(np.float32([0.25, 2.0]))
    (other,) = set(cache.glob("*lambda*-cache")) - {file}
    file.write_bytes(other.read_bytes())
    np.testing.assert_array_equal(result(), expected)
    assert "is damaged; it is compiled again\n" in capsys.readouterr().out


def test_whoever_writes_at_the_same_time_is_never_seen_half(tmp_path):
    """Between any two writes of a process, another finds an entry whole, or none."""
    seen = []

    class Cache:
        _path = tmp_path

        def get(self, key):
            file = tmp_path / f"{key}-cache"
            return file.read_bytes() if file.exists() else None

        def put(self, key, value):
            for end in (1, len(value) // 2, len(value)):
                (tmp_path / f"{key}-cache").write_bytes(value[:end])
                seen.append(compiled.Verified(Cache()).get("program"))

    cache = compiled.Verified(Cache())
    cache.put("program", b"one" * 100)
    cache.put("program", b"two" * 100)
    assert seen == [None] * 3 + [b"one" * 100] * 3
    assert cache.get("program") == b"two" * 100
    assert [path.name for path in tmp_path.iterdir()] == ["program-cache"]


@pytest.mark.parametrize("missing", [types.SimpleNamespace(), None])
def test_another_jax_without_the_hook_is_left_alone(monkeypatch, missing):
    import jax._src as private

    if missing is None:
        monkeypatch.delattr(private, "compilation_cache")
        monkeypatch.setitem(__import__("sys").modules, "jax._src.compilation_cache", None)
    else:
        monkeypatch.setattr(private, "compilation_cache", missing)
    assert not compiled.verify_entries()
