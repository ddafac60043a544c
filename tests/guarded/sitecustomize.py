"""Refuses every connection of a Python process and its children, but those of Unix sockets.

A folder of its own for PYTHONPATH: Python imports this module at its start. Each attempt is a line
of the file that CONNECTIONS names, also where the program passes over the error.
"""

import os
import socket
import sys

EVENTS = {
    *("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"),
    *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
}


def refuse(event: str, arguments: tuple) -> None:
    if event not in EVENTS or getattr(arguments[0], "family", None) == socket.AF_UNIX:
        return
    with open(os.environ["CONNECTIONS"], "a", encoding="utf-8") as file:
        file.write(f"{event} {arguments[1:] or arguments}\n")
    raise OSError(f"{event} is refused")


sys.addaudithook(refuse)
