"""No command makes a connection."""

import pytest

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
