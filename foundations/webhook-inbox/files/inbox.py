#!/usr/bin/env python3
"""A service that receives webhooks and stores them in SQLite.

POST /hooks or /hooks/NAME   stores the body; 201 with its id. With --signed the header X-Hub-Signature-256
                             (or X-Signature), "sha256=" and the HMAC-SHA256 of the body under the secret in the
                             environment variable HOOK_SECRET, must fit; otherwise 401 and nothing is stored.
GET  /hooks?limit=&before=&name=   the newest first
GET  /hooks/ID               one, with its body
GET  /health /capabilities /state /dependencies, POST /message   the service contract

The newest --keep hooks stay; older ones are dropped. Exit codes: 0 stopped, 1 failed, 2 wrong usage.
"""

import argparse
import base64
import datetime
import hashlib
import hmac
import http.server
import json
import os
import re
import resource
import signal
import sqlite3
import sys
import threading
import time
import urllib.parse

VERSION = "1.0.0"
BODY_MAX = 1 << 20
LIST_MAX = 200
TEXT_TYPES = ("text/", "application/json", "application/x-www-form-urlencoded", "application/xml")


def log(text):
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, flush=True)


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def arguments():
    parser = argparse.ArgumentParser(description="Receive webhooks and store them in SQLite.")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--state", required=True, help="folder for the database")
    parser.add_argument("--signed", action="store_true", help="refuse hooks whose signature does not fit (secret in HOOK_SECRET)")
    parser.add_argument("--keep", type=int, default=10_000, help="how many hooks are kept (default 10000)")
    return parser.parse_args()


class Store:
    """The hooks. One connection, one lock: SQLite writes one at a time anyway."""

    def __init__(self, path, keep):
        self.lock, self.keep = threading.Lock(), keep
        self.db = sqlite3.connect(path, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS hooks (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, received_at TEXT NOT NULL,"
            " content_type TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL)"
        )
        self.db.commit()

    def add(self, name, content_type, headers, body):
        with self.lock, self.db:
            at = self.db.execute(
                "INSERT INTO hooks (name, received_at, content_type, headers, body) VALUES (?, ?, ?, ?, ?)", (name, now(), content_type, json.dumps(headers), body)
            ).lastrowid
            self.db.execute("DELETE FROM hooks WHERE id <= ?", (at - self.keep,))
            return at

    def list(self, limit, before, name):
        sql = "SELECT id, name, received_at, content_type, length(body) FROM hooks WHERE id < ?"
        values = [before]
        if name:
            sql, values = sql + " AND name = ?", values + [name]
        with self.lock:
            rows = self.db.execute(sql + " ORDER BY id DESC LIMIT ?", values + [limit]).fetchall()
        return [dict(zip(("id", "name", "received_at", "content_type", "size"), row)) for row in rows]

    def get(self, at):
        with self.lock:
            row = self.db.execute("SELECT id, name, received_at, content_type, headers, body FROM hooks WHERE id = ?", (at,)).fetchone()
        if row is None:
            return None
        hook = dict(zip(("id", "name", "received_at", "content_type"), row))
        hook["headers"] = json.loads(row[4])
        text = hook["content_type"].startswith(TEXT_TYPES) or not hook["content_type"]
        try:
            hook["body"] = row[5].decode() if text else None
        except UnicodeDecodeError:
            hook["body"] = None
        if hook["body"] is None:
            hook["body_base64"] = base64.b64encode(row[5]).decode()
        return hook


class Counters:
    def __init__(self):
        self.started, self.since = time.monotonic(), now()
        self.total, self.recent, self.errors = 0, [], []

    def count(self, status):
        at = time.monotonic()
        self.total += 1
        self.recent = [t for t in self.recent if at - t < 60][-9_999:] + [at]
        self.errors = [t for t in self.errors if at - t < 3600][-9_999:] + ([at] if status >= 500 else [])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "webhook-inbox", ""
    timeout = 30

    def log_message(self, form, *values):
        pass

    def answer(self, status, value, **headers):
        body = json.dumps(value, ensure_ascii=False).encode()
        self.server.counters.count(status)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def problem(self, status, detail):
        if self.command == "POST":
            self.close_connection = True
        self.answer(status, {"detail": detail})

    def body(self):
        """The request's body, or None when it was refused."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.problem(411, "send the body with a Content-Length")
            return None
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit():
            self.problem(400, "the Content-Length is not a number")
            return None
        if int(length) > BODY_MAX:
            self.problem(413, f"at most {BODY_MAX} bytes are taken")
            return None
        return self.rfile.read(int(length))

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        fixed = {"/health": self.health, "/capabilities": self.capabilities, "/state": self.state, "/dependencies": self.dependencies}
        try:
            if url.path in fixed:
                return fixed[url.path]()
            if url.path == "/hooks":
                return self.list(urllib.parse.parse_qs(url.query))
            match = re.fullmatch(r"/hooks/(\d{1,18})", url.path)
            hook = self.server.store.get(int(match.group(1))) if match else None
            if hook is None:
                return self.problem(404, "not found")
            return self.answer(200, hook)
        except sqlite3.Error as error:
            log(f"error: reading failed: {error}")
            return self.problem(500, "the store could not be read")

    do_HEAD = do_GET

    def do_POST(self):
        body = self.body()
        if body is None:
            return None
        path = urllib.parse.urlsplit(self.path).path
        if path == "/message":
            return self.message(body)
        match = re.fullmatch(r"/(?:hooks(?:/([A-Za-z0-9._-]{1,100}))?/?)?", path)
        if not match:
            return self.problem(404, "post to /hooks or /hooks/NAME")
        if self.server.secret is not None and not self.signed(body):
            return self.problem(401, "the signature does not fit")
        headers = {name: text for name, text in self.headers.items() if name.lower() not in ("authorization", "cookie")}
        try:
            at = self.server.store.add(match.group(1) or "", self.headers.get("Content-Type", ""), headers, body)
        except sqlite3.Error as error:
            log(f"error: storing failed: {error}")
            return self.problem(500, "the hook could not be stored")
        log(f"stored hook {at} ({len(body)} bytes)")
        return self.answer(201, {"id": at}, Location=f"/hooks/{at}")

    def signed(self, body):
        given = self.headers.get("X-Hub-Signature-256") or self.headers.get("X-Signature") or ""
        right = hmac.new(self.server.secret, body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(given.removeprefix("sha256=").strip().lower().encode(), right.encode())

    def list(self, query):
        one = lambda name: query.get(name, [""])[-1]
        limit, before = one("limit") or "50", one("before") or str(1 << 62)
        if not (limit.isdigit() and 1 <= int(limit) <= LIST_MAX and before.isdigit() and len(before) < 20):
            return self.problem(422, f"limit is a number from 1 to {LIST_MAX}, before is an id")
        hooks = self.server.store.list(int(limit), min(int(before), 1 << 62), one("name"))
        more = hooks[-1]["id"] if len(hooks) == int(limit) else None
        return self.answer(200, {"hooks": hooks, "next_before": more})

    def health(self):
        self.answer(200, {"status": "active", "service": "webhook-inbox", "version": VERSION, "timestamp": now()})

    def capabilities(self):
        features = ["receive", "store", "list"] + (["signature"] if self.server.secret is not None else [])
        self.answer(200, {"version": VERSION, "features": features, "dependencies": [], "udc_version": "1.0", "metadata": {}})

    def state(self):
        counters, usage = self.server.counters, resource.getrusage(resource.RUSAGE_SELF)
        self.answer(200, {
            "uptime_seconds": int(time.monotonic() - counters.started), "requests_total": counters.total, "requests_per_minute": len(counters.recent),
            "errors_last_hour": len(counters.errors), "last_restart": counters.since,
            "resource_usage": {"cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3), "memory_kib": usage.ru_maxrss},
        })

    def dependencies(self):
        self.answer(200, {"required": [], "optional": [], "missing": []})

    def message(self, body):
        try:
            message = json.loads(body)
            trace, kind = str(message["trace_id"]), message["message_type"]
        except (ValueError, KeyError, TypeError):
            return self.problem(422, "a message is a JSON object with trace_id and message_type")
        if kind == "command":
            return self.problem(403, "commands are not taken")
        result = {"latest": self.server.store.list(1, 1 << 62, "")} if kind == "query" else None
        return self.answer(200, {"received": True, "trace_id": trace, "processed_at": now(), "result": result})


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    options = arguments()
    secret = os.environ.get("HOOK_SECRET", "") if options.signed else None
    if secret == "":
        log("error: --signed needs the secret in the environment variable HOOK_SECRET")
        return 1
    try:
        store = Store(os.path.join(options.state, "inbox.sqlite"), options.keep)
        server = Server(("", options.port), Handler)
    except (OSError, sqlite3.Error) as error:
        log(f"error: starting on port {options.port} failed: {error}")
        return 1
    server.store, server.counters, server.secret = store, Counters(), secret.encode() if secret else None
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    log(f"listening on port {options.port}")
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    log("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
