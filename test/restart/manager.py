"""A service manager's end of the notification socket."""

import os
import socket
import threading


class Manager:
    """Reads whatever it is told, in order: `said` are lines NAME=VALUE."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.environment = {"NOTIFY_SOCKET": path}
        self.said = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            message, fds, _, _ = socket.recv_fds(self.socket, 1 << 16, 64)
            # A barrier is passed when its descriptor is closed.
            for fd in fds:
                os.close(fd)
            self.said += message.decode().splitlines()

    def main_process(self):
        """The last that it was told of; None before that."""
        return next((int(line.split("=")[1]) for line in reversed(self.said) if line.startswith("MAINPID=")), None)
