"""The opening exchange: versions, kinds, the secret, and everything that is not a Hello."""
import time

import wire
from peer import PATIENCE_S, Peer, check, field, make_spec, unknown_field, vector
from wire import c, w
from proto import admin_pb2 as a

WELCOME = "Welcome gives the version that holds from here on, the store's id, the daemon's incarnation"
FIRST = "A first frame that is no Hello is refused with MALFORMED"
VERSION = "The daemon chooses the highest version that both speak; if there is none it answers VERSION"
SECRET = "A secret that is missing or wrong is answered with SECRET"
KIND = "An unknown kind, or a software that is not a text of at most 64 bytes, is MALFORMED"
LATE = "Whoever has not sent a whole Hello within the daemon's limit (10 s by default) is refused with STATE"
NEWER = "A message that version 2 added, on a connection on which version 1 was chosen, is answered by STATE"
NEWER_JOB = "A Join for a job whose spec needs version 2 is answered by VERSION there"
SECOND = "a message that this state of the connection does not allow (an ack before Join, a second Hello)"


@vector("welcome", WELCOME)
def welcome(ctx):
    first, second = ctx.peer().welcomed(), ctx.peer().welcomed()
    m = first.welcome
    check(m.version == 1, "version %d" % m.version)
    check(len(m.store_id) == 16 and m.incarnation >= 1 and m.nonce, "welcome: %s" % m)
    check(m.frame_max == 16 << 20, "frame_max is %d" % m.frame_max)
    check(m == second.welcome, "another connection is told something else")
    admin = ctx.admin()
    check(m == admin.welcome, "an admin is told something else")


def versions(low, high, fine):
    @vector("versions %d to %d" % (low, high), VERSION)
    def play(ctx):
        p = ctx.peer().hello(version_min=low, version_max=high)
        if fine:
            check(p.expect("welcome").version == min(high, 2), "another version")
        else:
            p.refused(c.REFUSED_VERSION, str(low))


for _low, _high, _fine in ((1, 1, True), (0, 1, True), (1, 9, True), (0, 0xFFFFFFFF, True),
                           (2, 2, True), (2, 9, True), (0, 0, False), (3, 9, False), (9, 1, False)):
    versions(_low, _high, _fine)


@vector("a message of version 2 on a connection of version 1", NEWER)
def newer_message(ctx):
    p = ctx.peer().welcomed()
    p.send(backlog=w.Backlog(attempt=1))
    p.refused(c.REFUSED_STATE, "version 2")


@vector("a job of version 2 on a connection of version 1", NEWER_JOB)
def newer_job(ctx):
    p = ctx.worker(spec=make_spec(ctx.job(), max_concurrent=1)).welcomed()
    p.join()
    p.refused(c.REFUSED_VERSION, "version 2")


def kinds(number):
    @vector("kind %d" % number, KIND)
    def play(ctx):
        p = ctx.peer()
        h = c.Hello(version_min=1, version_max=1, secret=ctx.secret)
        body = h.SerializeToString() + (b"\x18" + bytes([number]) if number else b"")
        p.send(field(1, body))
        p.refused(c.REFUSED_MALFORMED, "kind")


for _number in (0, 3, 100):
    kinds(_number)


def software(name, text, fine):
    @vector("software: " + name, KIND)
    def play(ctx):
        p = ctx.peer().hello(software=text)
        if fine:
            p.expect("welcome")
        else:
            p.refused(c.REFUSED_MALFORMED, "software")


software("empty", b"", True)
software("64 bytes", b"x" * 64, True)
software("65 bytes", b"x" * 65, False)
software("not UTF-8", b"\xff\xfe", False)
software("with NUL", b"a\0b", False)


def secrets(name, change):
    @vector("secret: " + name, SECRET, needs="secret")
    def play(ctx):
        ctx.peer().hello(secret=change(ctx.secret)).refused(c.REFUSED_SECRET, "secret")


secrets("missing", lambda s: b"")
secrets("another", lambda s: b"x" * len(s))
secrets("its beginning", lambda s: s[:-1])
secrets("with a byte more", lambda s: s + b"x")
secrets("with its line end", lambda s: s + b"\n")
secrets("twice", lambda s: s + s)
secrets("60,000 bytes", lambda s: b"x" * 60000)


@vector("secret: an admin's", SECRET, needs="secret")
def secret_admin(ctx):
    Peer(ctx, c.PEER_ADMIN).hello(secret=b"wrong").refused(c.REFUSED_SECRET, "secret")


def before_hello(name, message):
    @vector("before Hello: " + name, FIRST)
    def play(ctx):
        p = ctx.peer()
        p.send(message)
        p.refused(c.REFUSED_MALFORMED, "Hello")


for _member in [f.name for f in w.FromWorker.DESCRIPTOR.fields if f.name != "hello"]:
    _m = w.FromWorker()
    getattr(_m, _member).SetInParent()
    before_hello(_member, _m)
for _member in ("list_jobs", "status", "savepoint"):
    _m = a.Request(id=1)
    getattr(_m, _member).SetInParent()
    before_hello("Request." + _member, _m)
before_hello("an unknown member", field(99, b""))
before_hello("nothing", b"")
before_hello("garbage", b"\xff" * 40)
before_hello("a Hello cut off", field(1, b"\x22\x7f")[:3])
before_hello("a Hello that is a number", b"\x08\x01")


@vector("unknown field in Hello", "Unknown fields are ignored")
def hello_unknown(ctx):
    p = ctx.peer()
    h = c.Hello(version_min=1, version_max=1, kind=c.PEER_WORKER, secret=ctx.secret)
    p.send(field(1, h.SerializeToString() + unknown_field()))
    p.expect("welcome")


@vector("id beside an admin's Hello", "Of a Request that carries a Hello, id is ignored")
def hello_id(ctx):
    p = Peer(ctx, c.PEER_ADMIN)
    h = c.Hello(version_min=1, version_max=1, kind=c.PEER_ADMIN, secret=ctx.secret)
    p.send(a.Request(id=7, hello=h))
    p.expect("welcome")
    p.ask(status=a.GetStatus())


@vector("second Hello: worker", SECOND)
def second_worker(ctx):
    ctx.peer().welcomed().hello().refused(c.REFUSED_STATE, "Hello")


@vector("second Hello: admin", SECOND)
def second_admin(ctx):
    ctx.admin().hello().refused(c.REFUSED_STATE, "Hello")


@vector("second Hello: after Join", SECOND)
def second_joined(ctx):
    ctx.worker().joined().hello().refused(c.REFUSED_STATE, "Hello", skip=("alive", "start"))


@vector("Hello never comes", LATE)
def never(ctx):
    begun = time.monotonic()
    p = ctx.peer()
    p.refused_late = p.expect("refused", ctx.hello_timeout_s + PATIENCE_S)
    check(p.refused_late.code == c.REFUSED_STATE, "the code is %d" % p.refused_late.code)
    p.reason(p.refused_late.reason, ("Hello",))
    check(time.monotonic() - begun > ctx.hello_timeout_s * 0.8, "too early")
    p.ends()


@vector("Hello, a byte now and then", LATE)
def slow(ctx):
    """The limit is for the whole, not for each byte."""
    p = ctx.peer()
    data = wire.frame(w.FromWorker(hello=c.Hello(version_min=1, version_max=1, kind=c.PEER_WORKER,
                                                 secret=ctx.secret, software=b"slow" * 15)))
    pause = ctx.hello_timeout_s / 8
    sent, end = 0, time.monotonic() + ctx.hello_timeout_s * 1.5
    try:
        while time.monotonic() < end and sent < len(data) - 1:
            p.raw(data[sent:sent + 1])
            sent += 1
            time.sleep(pause)
    except OSError:
        pass
    m = p.expect("refused")
    check(m.code == c.REFUSED_STATE, "the code is %d" % m.code)
    p.reason(m.reason, ("Hello",))
