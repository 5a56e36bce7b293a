#!/usr/bin/env python3
"""A webhook inbox: takes what others post, keeps it in SQLite, hands it out again.

POST   /hooks/NAME           keeps the body; 201 with its id (200 when the same delivery came before)
GET    /hooks                all names with their counts
GET    /hooks/NAME           what came, newest first; ?limit= (1 to 500), ?before=ID for the next page
GET    /hooks/NAME/ID        one with its headers and body
GET    /hooks/NAME/ID/body   the very bytes that came
DELETE /hooks/NAME/ID        one; DELETE /hooks/NAME: all of that name
And the service contract: /health /capabilities /state /dependencies /message

With the variable WEBHOOK_SECRET set, a delivery is taken only with a right X-Hub-Signature-256 or X-Signature (the
HMAC-SHA256 of the body, hexadecimal) or with the secret itself in X-Gitlab-Token or X-Webhook-Token.

Exit codes: 0 ended by a signal, 1 could not start, 2 wrong usage.
"""

import argparse
import base64
import hmac
import json
import os
import re
import sqlite3
import sys
import threading
import time

from contract import Answer, Problem, Service, allow, log, now, same_signature, serve

VERSION = "1.0.0"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
ID_MAX = 2 ** 63 - 1
HEADERS_MAX = 16 * 1024       # characters of headers that are kept
SMALL = 5_000                 # a limit up to this is kept at every moment
SWEEP_S = 60                  # seconds between two looks for what is too old
SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie", "x-gitlab-token", "x-webhook-token", "x-api-key",
                  "x-hub-signature", "x-hub-signature-256", "x-signature"}
DELIVERY = ["Idempotency-Key", "X-GitHub-Delivery", "Webhook-Id"]
SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
  id INTEGER PRIMARY KEY AUTOINCREMENT, hook TEXT NOT NULL, received_at TEXT NOT NULL, received_s INTEGER NOT NULL,
  content_type TEXT NOT NULL, headers TEXT NOT NULL, delivery TEXT, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS deliveries_by_hook ON deliveries (hook, id);
CREATE INDEX IF NOT EXISTS deliveries_by_age ON deliveries (received_s);
CREATE UNIQUE INDEX IF NOT EXISTS deliveries_once ON deliveries (hook, delivery) WHERE delivery IS NOT NULL;
"""


def main(argv):
    options = arguments(argv)
    try:
        inbox = Inbox(options)
    except sqlite3.Error as error:
        print("webhook-inbox: cannot open the database %s: %s" % (options.database, error), file=sys.stderr)
        return 1
    features = ["hooks", "paging", "retention", "deduplication"] + (["signatures"] if inbox.secret else [])
    service = Service("webhook-inbox", VERSION, features, inbox.answer, inbox.check,
                      commands={"prune": lambda _: {"deleted": inbox.prune()}},
                      queries={"hooks": lambda _: inbox.names(), "count": lambda _: sum(h["count"] for h in inbox.names())})
    return serve(service, options.host, options.port, inbox.close)


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="webhook-inbox", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on (default: %(default)s)")
    parser.add_argument("--database", default="/state/inbox.db", help="SQLite file (default: %(default)s)")
    parser.add_argument("--max-bytes", type=int, default=1_000_000, help="largest body that is taken (default: %(default)s)")
    parser.add_argument("--keep-seconds", type=int, default=0, help="older deliveries are deleted (default: none)")
    parser.add_argument("--keep-count", type=int, default=100_000, help="at most so many are kept, the newest (default: %(default)s)")
    parser.add_argument("--hook", action="append", default=[], metavar="NAME", help="take only this name; may be given several times (default: any)")
    options = parser.parse_args(argv)
    if not 0 < options.port < 65_536:
        parser.error("--port must be from 1 to 65535")
    if not 1 <= options.max_bytes <= 64_000_000:
        parser.error("--max-bytes must be from 1 to 64000000")
    if options.keep_seconds < 0 or options.keep_count < 1:
        parser.error("--keep-seconds cannot be negative, --keep-count must be at least 1")
    for name in options.hook:
        if not NAME.match(name):
            parser.error("--hook %s: a name is letters, digits, '.', '_' and '-', at most 64" % name)
    return options


class Inbox:
    """The deliveries. One connection, one writer at a time."""

    def __init__(self, options):
        self.options = options
        self.secret = os.environ.get("WEBHOOK_SECRET", "")
        self.lock = threading.Lock()
        self.swept = 0.0
        self.db = sqlite3.connect(options.database, check_same_thread=False, timeout=10, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.executescript(SCHEMA)
        log("%d deliveries kept, %d pruned" % (self.one("SELECT count(*) FROM deliveries")[0], self.prune()))

    def close(self):
        with self.lock:
            self.db.close()

    def check(self):
        with self.lock:
            self.db.execute("SELECT 1 FROM deliveries LIMIT 1").fetchone()

    def one(self, sql, *values):
        with self.lock:
            return self.db.execute(sql, values).fetchone()

    def all(self, sql, *values):
        with self.lock:
            return self.db.execute(sql, values).fetchall()

    def answer(self, request):
        parts = request.parts
        if parts[0] != "hooks" or len(parts) > 4 or (len(parts) == 4 and parts[3] != "body"):
            return None
        if len(parts) == 1 or parts[1:] == [""]:
            allow(request, "GET")
            return Answer(200, {"hooks": self.names()})
        hook = parts[1]
        if not NAME.match(hook):
            raise Problem(400, "bad_name", "a hook's name is letters, digits, '.', '_' and '-', at most 64")
        if len(parts) == 2:
            allow(request, "GET", "POST", "DELETE")
            return {"POST": self.take, "DELETE": self.clear}.get(request.method, self.list)(request, hook)
        if not (parts[2].isascii() and parts[2].isdigit() and 0 < len(parts[2]) < 19):
            raise Problem(404, "not_found", "a delivery's id is a number")
        if len(parts) == 4:
            allow(request, "GET")
            row = self.row(hook, int(parts[2]))
            return Answer(200, bytes(row["body"]), headers={"Content-Security-Policy": "sandbox; default-src 'none'"})
        allow(request, "GET", "DELETE")
        if request.method == "DELETE":
            return self.delete(hook, int(parts[2]))
        return Answer(200, whole(self.row(hook, int(parts[2]))))

    def names(self):
        rows = self.all("SELECT hook, count(*) AS n, max(received_at) AS last FROM deliveries GROUP BY hook ORDER BY hook LIMIT 10000")
        return [{"hook": row["hook"], "count": row["n"], "last_received_at": row["last"]} for row in rows]

    def take(self, request, hook):
        if self.options.hook and hook not in self.options.hook:
            raise Problem(404, "not_found", "there is no hook %s here" % hook)
        body = request.body(self.options.max_bytes)
        self.check_sender(request, body)
        headers = {}
        for name, value in request.headers.items():
            if name.lower() not in SECRET_HEADERS and sum(map(len, headers)) + len(value) < HEADERS_MAX:
                headers[name.lower()] = value[:4096]
        delivery = next((request.headers[name][:200] for name in DELIVERY if request.headers.get(name)), None)
        kind = (request.headers.get("Content-Type") or "")[:200]
        at = now()
        with self.lock:
            before = delivery and self.db.execute(
                "SELECT id, received_at FROM deliveries WHERE hook = ? AND delivery = ?", (hook, delivery)).fetchone()
            if before:
                return Answer(200, {"id": before["id"], "hook": hook, "received_at": before["received_at"], "duplicate": True})
            try:
                number = self.db.execute(
                    "INSERT INTO deliveries (hook, received_at, received_s, content_type, headers, delivery, body) VALUES (?,?,?,?,?,?,?)",
                    (hook, at, int(time.time()), kind, json.dumps(headers), delivery, body)).lastrowid
            except sqlite3.Error as error:
                log("error: cannot keep a delivery of %d bytes: %s" % (len(body), error))
                raise Problem(503, "not_kept", "the delivery could not be kept; send it again later")
        if self.options.keep_count <= SMALL or time.monotonic() - self.swept > SWEEP_S:
            self.prune()
        return Answer(201, {"id": number, "hook": hook, "received_at": at, "size": len(body)},
                      headers={"Location": "/hooks/%s/%d" % (hook, number)})

    def check_sender(self, request, body):
        """Refuses a delivery that does not know the secret."""
        if not self.secret:
            return
        signatures = [request.headers.get(name) for name in ("X-Hub-Signature-256", "X-Signature")]
        tokens = [request.headers.get(name) or "" for name in ("X-Gitlab-Token", "X-Webhook-Token")]
        known = any(same_signature(self.secret, body, given) for given in signatures)
        if not known and not any(hmac.compare_digest(self.secret.encode(), token.encode("utf-8", "replace")) for token in tokens):
            raise Problem(401, "bad_signature", "the signature of the delivery is missing or wrong")

    def list(self, request, hook):
        limit = request.number("limit", 50, 1, 500)
        before = request.number("before", ID_MAX, 1, ID_MAX)
        rows = self.all("SELECT id, hook, received_at, content_type, length(body) AS size FROM deliveries"
                        " WHERE hook = ? AND id < ? ORDER BY id DESC LIMIT ?", hook, before, limit + 1)
        items = [dict(row) for row in rows[:limit]]
        total = self.one("SELECT count(*) FROM deliveries WHERE hook = ?", hook)[0]
        return Answer(200, {"items": items, "total": total, "next_before": items[-1]["id"] if len(rows) > limit else None})

    def row(self, hook, number):
        row = self.one("SELECT * FROM deliveries WHERE hook = ? AND id = ?", hook, number)
        if row is None:
            raise Problem(404, "not_found", "there is no delivery %d of %s" % (number, hook))
        return row

    def delete(self, hook, number):
        with self.lock:
            gone = self.db.execute("DELETE FROM deliveries WHERE hook = ? AND id = ?", (hook, number)).rowcount
        if not gone:
            raise Problem(404, "not_found", "there is no delivery %d of %s" % (number, hook))
        return Answer(204)

    def clear(self, _request, hook):
        with self.lock:
            gone = self.db.execute("DELETE FROM deliveries WHERE hook = ?", (hook,)).rowcount
        return Answer(200, {"deleted": gone})

    def prune(self):
        """Deletes what is too old or too much; how many."""
        self.swept = time.monotonic()
        with self.lock:
            gone = 0
            if self.options.keep_seconds:
                oldest = int(time.time()) - self.options.keep_seconds
                gone += self.db.execute("DELETE FROM deliveries WHERE received_s < ?", (oldest,)).rowcount
            gone += self.db.execute(
                "DELETE FROM deliveries WHERE id <= (SELECT id FROM deliveries ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (self.options.keep_count,)).rowcount
            return gone


def whole(row):
    """A delivery with its body: as text where it is text, as JSON where it says so and is, else in base64."""
    item = {name: row[name] for name in ("id", "hook", "received_at", "content_type")}
    body = bytes(row["body"])
    item.update(size=len(body), headers=json.loads(row["headers"]), body=None, body_base64=None, json=None)
    try:
        item["body"] = body.decode("utf-8")
        if "json" in row["content_type"].lower():
            item["json"] = json.loads(item["body"])
    except UnicodeDecodeError:
        item["body_base64"] = base64.b64encode(body).decode("ascii")
    except (ValueError, RecursionError):
        pass
    return item


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
