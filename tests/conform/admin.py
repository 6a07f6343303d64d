"""An admin's connection: one request, one answer; and a daemon to start, kill and start again."""
import os
import signal
import socket
import subprocess
import time

import wire
from wire import c
from proto import admin_pb2 as a


PATIENCE_S = 15  # for an answer


def busy(response):
    """A limit is reached, perhaps by somebody else: whoever asks may always be told so."""
    return response.WhichOneof("result") == "error" and response.error.code == a.ERROR_BUSY


class Admin:
    def __init__(self, address, secret=b"", timeout=30):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.frames, self.id = wire.Frames(), 0
        self.send(a.Request(hello=c.Hello(version_min=1, version_max=1, kind=c.PEER_ADMIN, secret=secret)))
        self.welcome = self.receive().welcome

    def send(self, request):
        self.socket.sendall(wire.frame(request))

    def receive(self):
        while True:
            body = self.frames.next()
            if body is not None:
                return a.Response.FromString(body)
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the daemon closed the connection")
            self.frames.feed(data)

    def ask(self, **call):
        """The result, or the Error. BUSY means "try again", and that is what is done."""
        end = time.monotonic() + PATIENCE_S
        while True:
            self.id += 1
            self.send(a.Request(id=self.id, **call))
            r = self.receive()
            assert r.id == self.id, (r, self.id)
            result = getattr(r, r.WhichOneof("result"))
            if not busy(r) or time.monotonic() > end:
                return result
            time.sleep(0.05)

    def close(self):
        self.socket.close()


START_S = 60  # to start, and to stop


class Daemon:
    """tidemarkd in a folder of its own, on the same port after each start."""

    def __init__(self, program, folder, config=""):
        self.program, self.folder, self.port, self.process = program, folder, 0, None
        os.makedirs(folder, exist_ok=True)
        self.config = os.path.join(folder, "conf")
        with open(self.config, "w") as f:
            f.write(config)
        self.start()

    def start(self):
        port_file = os.path.join(self.folder, "data", "port")
        if os.path.exists(port_file):
            os.unlink(port_file)
        with open(os.path.join(self.folder, "daemon.log"), "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "--config", self.config, "--data", os.path.join(self.folder, "data"),
                 "--listen", "127.0.0.1:%d" % self.port], stderr=log, stdin=subprocess.DEVNULL)
        give_up = time.monotonic() + START_S
        while not os.path.exists(port_file):
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError("%s does not start; see daemon.log" % self.program)
            time.sleep(0.01)
        with open(port_file) as f:
            self.port = int(f.read())
        self.address = ("127.0.0.1", self.port)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """In good order; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(START_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9
