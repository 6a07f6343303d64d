"""A daemon played by a script: speaks the admins' protocol, answers what a test tells it to."""
import os
import socket
import struct
import threading

from proto import admin_pb2 as admin
from proto import common_pb2 as common

STORE = bytes(range(16))


class HangUp(Exception):
    """Raised by a handler: close the connection without an answer."""


class Fake:
    """Answers each call by the handler of its name: handler(call, request) -> a result, by field name.

    `seen` holds every call, in order. stop() closes the port and every connection, as a daemon does that
    dies; start() again takes the same port."""

    def __init__(self, handlers=None, secret=b"", store=STORE):
        self.handlers = dict(handlers or {})
        self.secret, self.store = secret, store
        self.port = 0
        self.seen, self.hellos = [], []
        self.lock = threading.Lock()
        self.start()

    def start(self):
        self.connections = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        self.listener.listen()
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        # shutdown() wakes the thread that accepts; close() alone would leave the port open under it
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for c in self.connections:
                try:
                    c.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def address(self):
        return "127.0.0.1:%d" % self.port

    def accept(self, listener):
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections.append(c)
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        try:
            with c:
                if self.greet(c):
                    while self.answer(c, self.receive(c)):
                        pass
        except (OSError, EOFError, HangUp):
            pass

    @staticmethod
    def read(c, n):
        data = b""
        while len(data) < n:
            piece = c.recv(n - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def receive(self, c):
        (n,) = struct.unpack("<I", self.read(c, 4))
        assert n <= 16 << 20
        return admin.Request.FromString(self.read(c, n))

    @staticmethod
    def send(c, response):
        body = response.SerializeToString()
        c.sendall(struct.pack("<I", len(body)) + body)

    def greet(self, c):
        request = self.receive(c)
        assert request.WhichOneof("call") == "hello"
        self.hellos.append(request.hello)
        handler = self.handlers.get("hello")
        if handler:
            handler(request.hello, c)
        if request.hello.secret != self.secret:
            self.send(c, admin.Response(refused=common.Refused(
                code=common.REFUSED_SECRET, reason=b"the secret is missing or wrong")))
            return False
        self.send(c, admin.Response(id=request.id, welcome=common.Welcome(
            version=1, store_id=self.store, incarnation=1700000000000000, nonce=7, frame_max=16 << 20)))
        return True

    def answer(self, c, request):
        name = request.WhichOneof("call")
        call = getattr(request, name)
        self.seen.append((name, call))
        if name not in self.handlers:
            result = error(admin.ERROR_UNSUPPORTED, "not supported yet: %s" % name)
        else:
            result = self.handlers[name](call, request)
        if isinstance(result, bytes):  # raw, for answers that are wrong
            c.sendall(result)
            return True
        result.id = request.id
        self.send(c, result)
        return True


def error(code, text):
    return admin.Response(error=admin.Error(code=code, text=text.encode()))


def write_port(fake, directory):
    with open(os.path.join(directory, "port"), "w") as f:
        f.write("%d\n" % fake.port)
