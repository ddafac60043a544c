"""No command makes a connection; check, predict and sort: see test_windows.py."""

import pytest
from PIL import Image

from tests import offline

ATTEMPTS = """
import contextlib, socket
with contextlib.suppress(OSError):
    socket.create_connection(("192.0.2.1", 80), 1)
with contextlib.suppress(OSError):
    socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80))
with contextlib.suppress(OSError):
    socket.socket(type=socket.SOCK_DGRAM).sendto(b"a", ("192.0.2.1", 53))
with contextlib.suppress(OSError):
    socket.gethostbyname("example.org")
"""


def test_the_guard_notices_connections_whose_failure_is_passed_over(tmp_path):
    with pytest.raises(AssertionError) as caught:
        offline.run(tmp_path, "-c", ATTEMPTS, namespace=False)
    names = [line.split()[0] for line in str(caught.value).splitlines()[:4]]
    assert names == [
        *("socket.getaddrinfo", "socket.connect", "socket.sendto", "socket.gethostbyname"),
    ]


@pytest.mark.skipif(not offline.has_namespaces(), reason="the system has no network namespaces")
@pytest.mark.parametrize("host", ["192.0.2.1", "127.0.0.1"])
def test_the_namespace_has_no_way_out(tmp_path, host):
    program = f"import socket; socket.create_connection(({host!r}, 80), 1)"
    process = offline.run(tmp_path, "-c", program, guard=False)
    assert "Network is unreachable" in process.stderr


def test_unix_sockets_are_none_of_the_network(tmp_path):
    process = offline.run(tmp_path, "-c", "import socket; a, b = socket.socketpair(); a.send(b'a')")
    assert process.returncode == 0, process.stderr


@pytest.mark.full
def test_training_evaluation_packing_and_tables(tmp_path):
    workdir, pictures = tmp_path / "run", tmp_path / "pictures"
    for name, colour in (("ink", "white"), ("oil", "red")):
        (pictures / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (40, 40 + i), colour).save(pictures / name / f"{i}.png")
    for command in (
        ("train.py", "--config=tests/faults/thin.py", f"--workdir={workdir}"),
        ("eval.py", f"--workdir={workdir}", "--gradcam=1"),
        ("ablate.py", "--table=counts", f"--workdir={tmp_path / 'tables'}"),
        ("-m", "dkse_jax.cli.pack", str(pictures), str(tmp_path / "records")),
    ):
        process = offline.run(tmp_path, *command)
        assert process.returncode == 0, process.stderr
