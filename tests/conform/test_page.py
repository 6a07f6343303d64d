"""The examples of docs/protocol.md are what protobuf and XXH3 make of them; the page's numbers are
those of the code, its messages and fields those of the .proto files.

A block of an example is one line that names a message in protobuf's text form, and the frame in
hexadecimal; the block of values is one line each, told apart by how it begins.
"""
import glob
import os
import re
import struct
import unittest

import xxhash
from google.protobuf import text_format

import wire
from wire import c, w
from proto import admin_pb2 as a
from proto import manifest_pb2 as m

import reference

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
TYPES = {"FromWorker": w.FromWorker, "ToWorker": w.ToWorker, "Request": a.Request, "Response": a.Response,
         "JobSpec": c.JobSpec, "Join": w.Join}
FRAMES = ("FromWorker", "ToWorker", "Request", "Response")


def read(path):
    with open(os.path.join(TREE, path), encoding="utf-8") as f:
        return f.read()


def examples():
    text = read("docs/protocol.md").partition("\n## Examples\n")[2].partition("\n## ")[0]
    return re.findall(r"```\n(.*?)```", text, re.S)


def messages():
    """(type's name, message, bytes as the page has them) of each example."""
    for block in examples():
        m = re.match(r"(\w+) (\{.*?\})\n((?:[0-9a-f]{2}[ \n]*)+)$", block, re.S)
        if m:
            message = text_format.Parse(m.group(2)[1:-1], TYPES[m.group(1)]())
            yield m.group(1), message, bytes.fromhex(m.group(3))


def values():
    return dict(re.findall(r"^(.*?)  +([0-9a-fx ]+)$", [b for b in examples() if b.startswith("XXH3")][0], re.M))


class Page(unittest.TestCase):
    def test_frames(self):
        seen = 0
        for name, message, data in messages():
            body = message.SerializeToString()
            if name in FRAMES:
                self.assertEqual(data[:4], struct.pack("<I", len(data) - 4), message)
                data = data[4:]
            self.assertEqual(data.hex(" "), body.hex(" "), message)
            seen += 1
        self.assertGreaterEqual(seen, 14)
        self.assertEqual(seen + 1, len(examples()), "a block that is not read")

    def test_join_travels_in_the_part(self):
        by_name = {}
        for name, message, data in messages():
            by_name.setdefault(name, []).append((message, data))
        spec, canonical = by_name["JobSpec"][0]
        join, packed = by_name["Join"][0]
        part = [m.join for m, _ in by_name["FromWorker"] if m.WhichOneof("msg") == "join"][0]
        self.assertEqual(wire.canonical(spec), canonical)
        self.assertEqual(join.spec, spec)
        self.assertEqual([part], wire.parts(packed))

    def test_values(self):
        spec = [m for name, m, _ in messages() if name == "JobSpec"][0]
        job_id = bytes(range(16))
        group = wire.key_group(b"word", 128)
        low, high = wire.digest(b"")
        want = {
            "XXH3-128 of no bytes, low half": "%016x" % low,
            "XXH3-128 of no bytes, high half": "%016x" % high,
            'XXH3-128 of "word", as 16 bytes': wire.digest_bytes(b"word").hex(" "),
            'XXH3-64 of "word"': "%016x" % xxhash.xxh3_64_intdigest(b"word"),
            'key group of "word" among 128': "%02x" % group,
            "fingerprint of the spec": wire.fingerprint(spec).hex(" "),
            "job check of 00 01 ... 0f": "%08x" % wire.job_check(job_id),
            "barrier of round 300": wire.barrier(job_id, 300).hex(" "),
            "cancel marker of round 300": wire.barrier(job_id, 300, wire.FLAG_CANCEL).hex(" "),
            "end of a channel": wire.barrier(job_id, 0, wire.FLAG_END).hex(" "),
        }
        self.assertEqual(values(), want)
        self.assertEqual(wire.read_barrier(job_id, bytes.fromhex(want["end of a channel"])), (0, wire.FLAG_END))

    def test_key_groups_are_covered_once(self):
        for p in (1, 2, 3, 7, 100, 128):
            cut = [wire.key_groups_of(i, p, 128) for i in range(p)]
            self.assertEqual([g for first, n in cut for g in range(first, first + n)], list(range(128)))
            for i, (first, n) in enumerate(cut):
                self.assertTrue(all(g * p // 128 == i for g in range(first, first + n)))

    def test_every_message_and_field_is_listed(self):
        """As protoc reads the files, which says that reference.py reads them right."""
        before, have = reference.page()
        listed = {name: re.findall(r"^\| (\d+) \| `(\w+)` \|(?: ([^|,]*)(?:, one of `(\w+)`)? \|)? [^|]*\|$", body, re.M)
                  for name, body in re.findall(r"^\*\*(\w+)\*\*(.*?)(?=^\*\*|^### |\Z)", have, re.M | re.S)}
        for file in (c, w, a, m):
            for name, message in file.DESCRIPTOR.message_types_by_name.items():
                self.assertEqual(sorted((n, f, t, of) for n, f, t, of in listed.pop(name, ())),
                                 sorted(self.row(f) for f in message.fields), name)
            for name, enum in file.DESCRIPTOR.enum_types_by_name.items():
                self.assertEqual([(n, v) for n, v, *_ in listed.pop(name, ())],
                                 [(str(v.number), v.name) for v in enum.values], name)
        self.assertEqual(listed, {}, "no file has these")
        self.assertEqual(have, reference.section(), "out of date: tests/conform/reference.py --write")
        self.told(before)

    def row(self, f):
        kind = {f.TYPE_MESSAGE: f.message_type, f.TYPE_ENUM: f.enum_type}.get(f.type)
        name = kind.name if kind else [k for k in dir(f) if k.startswith("TYPE_") and getattr(f, k) == f.type][0][5:].lower()
        return (str(f.number), f.name, ("list of " if f.label == f.LABEL_REPEATED else "") + name,
                f.containing_oneof.name if f.containing_oneof else "")

    def told(self, text):
        """The text in front of the list tells of each message that is sent, and of each code of a refusal."""
        words = set(re.findall(r"\w+", text))
        for message in (w.FromWorker, w.ToWorker, a.Request):
            for field in message.DESCRIPTOR.fields:
                if field.message_type:
                    self.assertTrue(field.message_type.name in words, field.message_type.name)
        for enum in (c.RefusedCode, a.ErrorCode):
            for code in enum.keys()[1:]:
                self.assertTrue(code in words or code.partition("_")[2] in words, code)

    def test_limits_are_those_of_the_code(self):
        """(a folder, what is defined there, what the page says of it)"""
        page = " ".join(read("docs/protocol.md").split())
        for path, defined, said in (
                ("proto", "TIDE_FRAME_MAX (16u << 20)", "`Welcome.frame_max` (16 MiB)"),
                ("proto", "TIDE_FRAME_MAX_HELLO (64u << 10)", "at most 64 KiB before `Hello`"),
                ("proto", "TIDE_PARTS_MAX (256u << 20)", "At most 256 MiB in all"),
                ("proto", "TIDE_ARENA_MAX ((size_t)4 << 20)", "must fit in 4 MiB of memory"),
                ("proto", "TIDE_ARTIFACTS_PER_ACK_MAX 65536u", "at most 65,536 artifacts"),
                ("proto", "TIDE_HANDLE_MAX (64u << 10)", "A handle has at most 64 KiB"),
                ("proto", "TIDE_ARTIFACT_PATH_MAX 1024u", "of at most 1,024 bytes"),
                ("proto", "TIDE_TASKS_MAX (1u << 21)", "2,097,152 tasks"),
                ("proto", "TIDE_OPERATORS_MAX 4096u", "1 to 4,096 operators"),
                ("proto", "TIDE_EDGES_MAX 16384u", "at most 16,384 edges"),
                ("proto", "TIDE_LEASE_MAX_MS 86400000u", "and at most a day"),
                ("daemon/core", "ROUND_BYTES_MAX ((size_t)1 << 30)", "at most 1 GiB"),
                ("daemon/core", "OPERATIONS_QUEUED_MAX 64u", "Up to 64 may be queued"),
                ("daemon/core", "KEYS_REMEMBERED 1000u", "the newest 1,000 are remembered"),
                ("daemon/core", "WAIT_MAX_MS 60000u", "60,000 at most"),
                ("daemon", "LINGER_US 3000000u", "or 3 seconds later")):
            code = "".join(read(f) for f in sorted(glob.glob(os.path.join(TREE, path, "*.[ch]"))))
            self.assertTrue("#define " + defined in code, "%s: no #define %s" % (path, defined))
            self.assertTrue(said in page, "docs/protocol.md does not say: " + said)


if __name__ == "__main__":
    unittest.main()
