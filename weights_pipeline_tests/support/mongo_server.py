"""A MongoDB server for tests: its wire protocol over mongomock's collections, with faults on demand.

No Debian or Python package brings a ``mongod``. The driver under test is the real one.
"""

import socketserver
import struct
import threading

import bson
import mongomock

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
HELLO = {
    "ok": 1.0,
    "isWritablePrimary": True,
    "ismaster": True,
    "helloOk": True,
    "maxBsonObjectSize": 16 << 20,
    "maxMessageSizeBytes": 48 << 20,
    "maxWriteBatchSize": 100_000,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "readOnly": False,
}


class MongoServer:
    """One server. `fault` sees each command and may return an error document, or "reset" to drop the connection."""

    def __init__(self):
        self.data = mongomock.MongoClient(tz_aware=True)
        self.fault = None
        self.commands = []
        self._cursors = {}
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                while head := self._exactly(16):
                    size, number, _, kind = struct.unpack("<iiii", head)
                    if (answer := outer._answer(kind, self._exactly(size - 16))) is None:
                        return
                    kind, body = answer
                    self.request.sendall(struct.pack("<iiii", 16 + len(body), 0, number, kind) + body)

            def _exactly(self, size):
                data = b""
                while len(data) < size:
                    if not (more := self.request.recv(size - len(data))):
                        return b""
                    data += more
                return data

        class Threads(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self.server = Threads(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self):
        return f"mongodb://127.0.0.1:{self.server.server_address[1]}/desk"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def _answer(self, kind, body):
        if kind == OP_QUERY:  # the first greeting of a driver that knows nothing yet
            return OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(HELLO)
        command = bson.decode(body[5:], bson.CodecOptions(tz_aware=True))
        name = next(iter(command))
        if name in ("find", "getMore"):
            self.commands.append(command)
            fault = self.fault(command) if self.fault else None
            if fault == "reset":
                return None
            if fault:
                return OP_MSG, b"\0\0\0\0\0" + bson.encode({"ok": 0.0, **fault})
        return OP_MSG, b"\0\0\0\0\0" + bson.encode(getattr(self, f"_{name}", self._hello)(command))

    def _hello(self, command):
        return HELLO

    def _find(self, command):
        found = self.data[command["$db"]][command["find"]].find(command["filter"])
        ordered = list(found.sort(list(command["sort"].items())))
        rows = iter(ordered[: command["limit"]] if command.get("limit") else ordered)
        cursor = len(self._cursors) + 1
        self._cursors[cursor] = rows
        return self._batch(cursor, f"{command['$db']}.{command['find']}", command.get("batchSize", 101), "firstBatch")

    def _aggregate(self, command):
        rows = list(self.data[command["$db"]][command["aggregate"]].aggregate(command["pipeline"]))
        return {"ok": 1.0, "cursor": {"id": bson.Int64(0), "ns": command["aggregate"], "firstBatch": rows}}

    def _getMore(self, command):
        return self._batch(
            command["getMore"], f"{command['$db']}.{command['collection']}", command["batchSize"], "nextBatch"
        )

    def _batch(self, cursor, namespace, size, key):
        rows = [row for _, row in zip(range(size), self._cursors[cursor], strict=False)]
        left = cursor if len(rows) == size else 0
        return {"ok": 1.0, "cursor": {"id": bson.Int64(left), "ns": namespace, key: rows}}
