#!/usr/bin/env python3
"""A JSON service for one kind of record, kept in SQLite.

The record is described in a file: {"name", "plural", "fields": [{"name", "type", "required"}]} with the types
text, integer, number, boolean and date (YYYY-MM-DD). For books:

POST   /books            creates; 201 with the record and its id
GET    /books?limit=&after=&FIELD=VALUE   a page in the order of ids; "next_after" leads to the next one
GET    /books/ID         PUT replaces, PATCH changes, DELETE removes (204)
GET    /health /capabilities /state /dependencies, POST /message   the service contract

Bad input is answered with 422 and a list of what is wrong; unknown fields are refused.
Exit codes: 0 stopped, 1 failed, 2 wrong usage.
"""

import argparse
import datetime
import http.server
import json
import math
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
BODY_MAX = 256 << 10
LIST_MAX = 200
TEXT_MAX = 10_000
SQL_TYPES = {"text": "TEXT", "integer": "INTEGER", "number": "REAL", "boolean": "INTEGER", "date": "TEXT"}


def log(text):
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, flush=True)


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def arguments():
    parser = argparse.ArgumentParser(description="A JSON service for one kind of record, kept in SQLite.")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--state", required=True, help="folder for the database")
    parser.add_argument("--entity", required=True, help="JSON file that describes the record")
    return parser.parse_args()


class Invalid(Exception):
    """What is wrong with a request's body: a list of {field, problem}."""


class Refused(Exception):
    """A request that is not read: status and detail."""


class Entity:
    def __init__(self, path):
        with open(path, encoding="utf-8") as stream:
            value = json.load(stream)
        self.name, self.plural, self.fields = value["name"], value["plural"], value["fields"]
        for name in [self.name, self.plural] + [field["name"] for field in self.fields]:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"{name!r} is not a usable name")
        if not self.fields or any(field["type"] not in SQL_TYPES for field in self.fields):
            raise ValueError("every field needs a type out of " + ", ".join(SQL_TYPES))
        self.by_name = {field["name"]: field for field in self.fields}

    def check(self, value, partial):
        """The values to store; with `partial` only those that are given."""
        if not isinstance(value, dict):
            raise Invalid([{"field": "", "problem": "the body must be a JSON object"}])
        wrong = [{"field": name, "problem": "there is no such field"} for name in value if name not in self.by_name]
        good = {}
        for field in self.fields:
            name = field["name"]
            if name not in value and partial:
                continue
            given = value.get(name)
            if given is None:
                if field["required"]:
                    wrong.append({"field": name, "problem": "is required"})
                good[name] = None
                continue
            problem = mismatch(field["type"], given)
            if problem:
                wrong.append({"field": name, "problem": problem})
            good[name] = given
        if wrong:
            raise Invalid(wrong)
        return good


def mismatch(kind, value):
    if kind == "text":
        return None if isinstance(value, str) and len(value) <= TEXT_MAX else f"must be a text of at most {TEXT_MAX} characters"
    if kind == "integer":
        return None if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63 else "must be a whole number"
    if kind == "number":
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)
        return None if fits else "must be a number"
    if kind == "boolean":
        return None if isinstance(value, bool) else "must be true or false"
    try:
        datetime.date.fromisoformat(value)
        return None
    except (TypeError, ValueError):
        return "must be a date YYYY-MM-DD"


class Store:
    """The records. One connection, one lock."""

    def __init__(self, path, entity):
        self.entity, self.lock = entity, threading.Lock()
        self.db = sqlite3.connect(path, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        columns = "".join(f', "{field["name"]}" {SQL_TYPES[field["type"]]}' for field in entity.fields)
        self.db.execute(f'CREATE TABLE IF NOT EXISTS "{entity.plural}" (id INTEGER PRIMARY KEY AUTOINCREMENT{columns})')
        # A later version of the service may know more fields.
        known = {row[1] for row in self.db.execute(f'PRAGMA table_info("{entity.plural}")')}
        for field in entity.fields:
            if field["name"] not in known:
                self.db.execute(f'ALTER TABLE "{entity.plural}" ADD COLUMN "{field["name"]}" {SQL_TYPES[field["type"]]}')
        self.db.commit()
        self.names = ["id"] + [field["name"] for field in entity.fields]
        self.select = f'SELECT {", ".join(chr(34) + name + chr(34) for name in self.names)} FROM "{entity.plural}"'

    def record(self, row):
        record = dict(zip(self.names, row))
        for field in self.entity.fields:
            if field["type"] == "boolean" and record[field["name"]] is not None:
                record[field["name"]] = bool(record[field["name"]])
        return record

    def one(self, at):
        row = self.db.execute(self.select + " WHERE id = ?", (at,)).fetchone()
        return self.record(row) if row else None

    def get(self, at):
        with self.lock:
            return self.one(at)

    def page(self, limit, after, filters):
        sql, values = self.select + " WHERE id > ?", [after]
        for name, value in filters:
            sql, values = sql + f' AND "{name}" = ?', values + [value]
        with self.lock:
            return [self.record(row) for row in self.db.execute(sql + " ORDER BY id LIMIT ?", values + [limit])]

    def create(self, values):
        names = ", ".join(f'"{name}"' for name in values)
        with self.lock, self.db:
            sql = f'INSERT INTO "{self.entity.plural}" ({names}) VALUES ({", ".join("?" * len(values))})'
            return self.one(self.db.execute(sql, list(values.values())).lastrowid)

    def change(self, at, values):
        with self.lock, self.db:
            if values:
                sets = ", ".join(f'"{name}" = ?' for name in values)
                self.db.execute(f'UPDATE "{self.entity.plural}" SET {sets} WHERE id = ?', list(values.values()) + [at])
            return self.one(at)

    def delete(self, at):
        with self.lock, self.db:
            return self.db.execute(f'DELETE FROM "{self.entity.plural}" WHERE id = ?', (at,)).rowcount > 0


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
    server_version, sys_version = "crud-service", ""
    timeout = 30

    def log_message(self, form, *values):
        pass

    def answer(self, status, value=None, **headers):
        body = b"" if value is None else json.dumps(value, ensure_ascii=False).encode()
        self.server.counters.count(status)
        self.send_response(status)
        if value is not None:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def problem(self, status, detail, errors=None):
        if self.command in ("POST", "PUT", "PATCH"):
            self.close_connection = True
        self.answer(status, {"detail": detail} if errors is None else {"detail": detail, "errors": errors})

    def handle_one(self):
        try:
            self.route()
        except Refused as error:
            self.problem(*error.args)
        except Invalid as error:
            self.problem(422, "the record is not valid", error.args[0])
        except sqlite3.Error as error:
            log(f"error: the store failed: {error}")
            self.problem(500, "the store failed")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

    def route(self):
        url, entity = urllib.parse.urlsplit(self.path), self.server.entity
        method = "GET" if self.command == "HEAD" else self.command
        fixed = {"/health": self.health, "/capabilities": self.capabilities, "/state": self.state, "/dependencies": self.dependencies}
        if url.path in fixed and method == "GET":
            return fixed[url.path]()
        if url.path == "/message" and method == "POST":
            return self.message()
        if url.path == f"/{entity.plural}":
            if method == "GET":
                return self.page(urllib.parse.parse_qs(url.query, keep_blank_values=True))
            if method == "POST":
                return self.create()
            return self.problem(405, "GET lists, POST creates")
        match = re.fullmatch(rf"/{entity.plural}/(\d{{1,18}})", url.path)
        if match:
            return self.single(method, int(match.group(1)))
        return self.problem(404, f"not found; the records are under /{entity.plural}")

    def body(self):
        """The request's JSON."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            raise Refused(411, "send a body with a Content-Length")
        if int(length) > BODY_MAX:
            raise Refused(413, f"at most {BODY_MAX} bytes are taken")
        try:
            return json.loads(self.rfile.read(int(length)), parse_constant=lambda text: text)
        except (ValueError, RecursionError):
            self.close_connection = True
            raise Invalid([{"field": "", "problem": "the body is not JSON"}]) from None

    def create(self):
        record = self.server.store.create(self.server.entity.check(self.body(), False))
        return self.answer(201, record, Location=f"/{self.server.entity.plural}/{record['id']}")

    def single(self, method, at):
        store, missing = self.server.store, f"no {self.server.entity.name} {at}"
        if method == "GET":
            record = store.get(at)
        elif method == "DELETE":
            return self.answer(204) if store.delete(at) else self.problem(404, missing)
        elif method in ("PUT", "PATCH"):
            record = store.change(at, self.server.entity.check(self.body(), method == "PATCH"))
        else:
            return self.problem(405, "GET, PUT, PATCH or DELETE")
        return self.answer(200, record) if record else self.problem(404, missing)

    def page(self, query):
        limit, after = query.pop("limit", ["50"])[-1], query.pop("after", ["0"])[-1]
        if not (limit.isdigit() and 1 <= int(limit) <= LIST_MAX and after.isdigit() and len(after) < 19):
            return self.problem(422, f"limit is a number from 1 to {LIST_MAX}, after is an id")
        filters = []
        for name, values in query.items():
            field = self.server.entity.by_name.get(name)
            if field is None:
                return self.problem(422, f"there is no field {name}")
            filters.append((name, {"true": 1, "false": 0}.get(values[-1], values[-1]) if field["type"] == "boolean" else values[-1]))
        records = self.server.store.page(int(limit), int(after), filters)
        more = records[-1]["id"] if len(records) == int(limit) else None
        return self.answer(200, {self.server.entity.plural: records, "next_after": more})

    def health(self):
        self.answer(200, {"status": "active", "service": self.server.entity.plural, "version": VERSION, "timestamp": now()})

    def capabilities(self):
        entity = self.server.entity
        self.answer(200, {
            "version": VERSION, "features": ["create", "read", "update", "delete", "list"], "dependencies": [], "udc_version": "1.0",
            "metadata": {"entity": entity.name, "path": f"/{entity.plural}", "fields": entity.fields},
        })

    def state(self):
        counters, usage = self.server.counters, resource.getrusage(resource.RUSAGE_SELF)
        self.answer(200, {
            "uptime_seconds": int(time.monotonic() - counters.started), "requests_total": counters.total, "requests_per_minute": len(counters.recent),
            "errors_last_hour": len(counters.errors), "last_restart": counters.since,
            "resource_usage": {"cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3), "memory_kib": usage.ru_maxrss},
        })

    def dependencies(self):
        self.answer(200, {"required": [], "optional": [], "missing": []})

    def message(self):
        value = self.body()
        if not isinstance(value, dict) or "trace_id" not in value or "message_type" not in value:
            return self.problem(422, "a message is a JSON object with trace_id and message_type")
        if value["message_type"] == "command":
            return self.problem(403, "commands are not taken")
        return self.answer(200, {"received": True, "trace_id": str(value["trace_id"]), "processed_at": now(), "result": None})


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    options = arguments()
    try:
        entity = Entity(options.entity)
        store = Store(os.path.join(options.state, "records.sqlite"), entity)
        server = Server(("", options.port), Handler)
    except (OSError, sqlite3.Error, ValueError, KeyError, TypeError) as error:
        log(f"error: starting on port {options.port} failed: {error}")
        return 1
    server.entity, server.store, server.counters = entity, store, Counters()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    log(f"/{entity.plural} on port {options.port}")
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    log("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
