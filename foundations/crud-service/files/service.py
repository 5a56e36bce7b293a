#!/usr/bin/env python3
"""A JSON service that keeps one kind of record in SQLite. What a record holds is said in a description file.

GET    /RECORDS      all; ?limit= (1 to 500), ?offset=, ?sort=FIELD or -FIELD, ?FIELD=VALUE, ?q=TEXT, ?fields=A,B
POST   /RECORDS      makes one: 201 with its id
GET    /RECORDS/ID   one; ?fields=A,B
PUT    /RECORDS/ID   all its fields anew; PATCH: some of them
DELETE /RECORDS/ID   deletes it: 204
GET    /openapi.json the description of all this (OpenAPI 3.1)
And the service contract: /health /capabilities /state /dependencies /message

Exit codes: 0 ended by a signal, 1 could not start, 2 wrong usage.
"""

import argparse
import json
import math
import re
import sqlite3
import sys
import threading
from datetime import date

from contract import Answer, Problem, Service, allow, log, now, serve

VERSION = "1.0.0"
TYPES = {"text": "string", "integer": "integer", "number": "number", "boolean": "boolean", "date": "string"}
COLUMNS = {"text": "TEXT", "integer": "INTEGER", "number": "REAL", "boolean": "INTEGER", "date": "TEXT"}
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
TEXT_MAX = 10_000             # characters of a text field
INTEGER_MAX = 2 ** 63 - 1
OWN = ("limit", "offset", "sort", "q", "fields")
RESERVED = ("health", "capabilities", "state", "dependencies", "message")


def main(argv):
    options = arguments(argv)
    try:
        entity = Entity(options.entity)
        records = Records(options, entity)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print("crud-service: the description %s cannot be used: %s" % (options.entity, error), file=sys.stderr)
        return 1
    except sqlite3.Error as error:
        print("crud-service: cannot open the database %s: %s" % (options.database, error), file=sys.stderr)
        return 1
    service = Service("%s-service" % entity.name.replace("_", "-"), VERSION, ["create", "read", "update", "delete", "filter", "sort", "openapi"],
                      records.answer, records.check, queries={"count": lambda _: records.count()})
    return serve(service, options.host, options.port, records.close)


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="crud-service", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entity", default="/app/entity.json", help="description of a record (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on (default: %(default)s)")
    parser.add_argument("--database", default="/state/records.db", help="SQLite file (default: %(default)s)")
    parser.add_argument("--max-bytes", type=int, default=200_000, help="largest request body (default: %(default)s)")
    parser.add_argument("--max-records", type=int, default=1_000_000, help="most records that are kept (default: %(default)s)")
    options = parser.parse_args(argv)
    if not 0 < options.port < 65_536:
        parser.error("--port must be from 1 to 65535")
    if options.max_bytes < 1 or options.max_records < 1:
        parser.error("--max-bytes and --max-records must be at least 1")
    return options


class Entity:
    """What a record holds: {"name", "plural", "fields": [{"name", "type", "required"}]}."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        self.name, self.plural = data["name"], data["plural"]
        self.fields = {field["name"]: field for field in data["fields"]}
        for name in [self.name, self.plural, *self.fields]:
            if not NAME.match(name) or name == "id":
                raise ValueError("%r is no usable name" % name)
        for field in data["fields"]:
            if field["type"] not in TYPES:
                raise ValueError("%s has the unknown type %r" % (field["name"], field["type"]))
        if not self.fields or len(self.fields) != len(data["fields"]):
            raise ValueError("it needs fields, each of another name")
        # A field of that name takes the place of our own time stamp.
        self.stamps = [name for name in ("created_at", "updated_at") if name not in self.fields]
        self.path = ["api", self.plural] if self.plural in RESERVED else [self.plural]

    def columns(self):
        return ["id", *self.fields, *self.stamps]


def checked(field, value):
    """A value as it is kept, or ValueError with what would fit."""
    kind = field["type"]
    if kind == "text":
        if not isinstance(value, str) or len(value) > TEXT_MAX:
            raise ValueError("must be a text of at most %d characters" % TEXT_MAX)
        if field["required"] and not value.strip():
            raise ValueError("must not be empty")
        value.encode("utf-8")
        return value
    if kind == "boolean":
        if not isinstance(value, bool):
            raise ValueError("must be true or false")
        return int(value)
    if kind == "date":
        try:
            if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
                raise ValueError
            return date.fromisoformat(value).isoformat()
        except ValueError:
            raise ValueError("must be a date such as 2026-01-31")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be a whole number" if kind == "integer" else "must be a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if kind == "integer":
        if value != int(value) or abs(value) > INTEGER_MAX:
            raise ValueError("must be a whole number of at most 63 bits")
        return int(value)
    if abs(value) > 1e300:
        raise ValueError("is too large")
    return value


def from_query(field, text):
    """A value of a filter."""
    kind = field["type"]
    try:
        if kind == "boolean":
            return {"true": 1, "1": 1, "false": 0, "0": 0}[text.lower()]
        if kind == "integer":
            return checked(field, int(text))
        if kind == "number":
            return checked(field, float(text))
        return checked(dict(field, required=False), text)
    except (KeyError, ValueError) as error:
        why = str(error) if kind not in ("boolean",) else "must be true or false"
        raise Problem(400, "bad_query", "%s %s" % (field["name"], why if "must" in why else "must be of the type %s" % kind))


class Records:
    """The table. One connection, one writer at a time."""

    def __init__(self, options, entity):
        self.options, self.entity = options, entity
        self.lock = threading.Lock()
        self.db = sqlite3.connect(options.database, check_same_thread=False, timeout=10, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.prepare()
        log("%d records kept" % self.count())

    def prepare(self):
        """Makes the table; a field that is new in this version is added to what an older one kept."""
        self.db.execute("CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY AUTOINCREMENT, _created_at TEXT NOT NULL, _updated_at TEXT NOT NULL)")
        there = {row["name"] for row in self.db.execute("PRAGMA table_info(records)")}
        for name, field in self.entity.fields.items():
            if name not in there:
                self.db.execute('ALTER TABLE records ADD COLUMN "%s" %s' % (name, COLUMNS[field["type"]]))

    def close(self):
        with self.lock:
            self.db.close()

    def check(self):
        with self.lock:
            self.db.execute("SELECT 1 FROM records LIMIT 1").fetchone()

    def all(self, sql, values=()):
        with self.lock:
            return self.db.execute(sql, values).fetchall()

    def count(self):
        return self.all("SELECT count(*) FROM records")[0][0]

    def answer(self, request):
        parts = request.parts
        if request.path == "/openapi.json":
            allow(request, "GET")
            return Answer(200, openapi(self.entity))
        base = self.entity.path
        rest = parts[len(base):]
        if parts[:len(base)] != base or len(rest) > 1:
            return None
        if not rest or rest == [""]:
            allow(request, "GET", "POST")
            return self.create(request) if request.method == "POST" else self.list(request)
        allow(request, "GET", "PUT", "PATCH", "DELETE")
        if not (rest[0].isascii() and rest[0].isdigit() and len(rest[0]) < 19):
            raise self.missing(rest[0])
        number = int(rest[0])
        if request.method == "DELETE":
            return self.delete(number)
        if request.method in ("PUT", "PATCH"):
            return self.change(request, number)
        self.known(request, ("fields",))
        return Answer(200, self.shown(self.row(number), self.wanted(request)))

    def missing(self, number):
        return Problem(404, "not_found", "there is no %s %s" % (self.entity.name, str(number)[:40]))

    def row(self, number):
        rows = self.all("SELECT * FROM records WHERE id = ?", (number,))
        if not rows:
            raise self.missing(number)
        return rows[0]

    def shown(self, row, columns):
        item = {}
        for name in columns:
            field = self.entity.fields.get(name)
            value = row["_" + name if name in self.entity.stamps else name]
            item[name] = bool(value) if field and field["type"] == "boolean" and value is not None else value
        return item

    def wanted(self, request):
        """The columns that are asked for."""
        if "fields" not in request.query:
            return self.entity.columns()
        names = [name.strip() for name in request.query["fields"].split(",") if name.strip()]
        unknown = [name for name in names if name not in self.entity.columns()]
        if unknown or not names:
            raise Problem(400, "bad_query", "fields must be some of: %s" % ", ".join(self.entity.columns()))
        return names

    def known(self, request, names):
        unknown = sorted(set(request.query) - set(names))
        if unknown:
            raise Problem(400, "bad_query", "the parameter %s is not known" % unknown[0][:80])

    def list(self, request):
        fields = self.entity.fields
        self.known(request, [*OWN, *fields])
        where, values = [], []
        for name, text in request.query.items():
            if name in fields and name not in OWN:
                if text == "":
                    where.append('("%s" IS NULL OR "%s" = \'\')' % (name, name))
                else:
                    where.append('"%s" = ?' % name)
                    values.append(from_query(fields[name], text))
        if request.query.get("q"):
            texts = [name for name, field in fields.items() if field["type"] in ("text", "date")]
            pattern = "%" + re.sub(r"([\\%_])", r"\\\1", request.query["q"][:200]) + "%"
            where.append("(%s)" % (" OR ".join('"%s" LIKE ? ESCAPE \'\\\'' % name for name in texts) or "0"))
            values += [pattern] * len(texts)
        order = request.query.get("sort", "id")
        column = order.lstrip("-")
        if column not in self.entity.columns() or order.count("-") > 1:
            raise Problem(400, "bad_query", "sort must be one of: %s (with - before it: descending)" % ", ".join(self.entity.columns()))
        column = "_" + column if column in self.entity.stamps else column
        limit, offset = request.number("limit", 50, 1, 500), request.number("offset", 0, 0, 10 ** 9)
        condition = " WHERE " + " AND ".join(where) if where else ""
        direction = "DESC" if order.startswith("-") else "ASC"
        columns = self.wanted(request)
        total = self.all("SELECT count(*) FROM records" + condition, values)[0][0]
        rows = self.all('SELECT * FROM records%s ORDER BY "%s" %s, id %s LIMIT ? OFFSET ?' % (condition, column, direction, direction),
                        [*values, limit, offset])
        return Answer(200, {"items": [self.shown(row, columns) for row in rows], "total": total, "limit": limit, "offset": offset})

    def read(self, request, partial):
        """The fields of a body, checked; everything that is wrong is named at once."""
        body = request.json(self.options.max_bytes)
        if not isinstance(body, dict):
            raise Problem(400, "invalid", "the body must be a JSON object")
        fields, wrong, values = self.entity.fields, [], {}
        for name, value in body.items():
            if name not in fields:
                # What was read may be sent back; it is not changed by that.
                if request.method == "POST" or name not in self.entity.columns():
                    wrong.append({"field": name[:80], "problem": "is not known" if name not in self.entity.columns() else "is set by the service"})
                continue
            if value is None:
                values[name] = None
                continue
            try:
                values[name] = checked(fields[name], value)
            except (ValueError, OverflowError) as error:
                wrong.append({"field": name, "problem": str(error)})
        for name, field in fields.items():
            absent = name not in body and not partial
            if absent:
                values.setdefault(name, None)
            if field["required"] and (absent or (name in body and body[name] is None)):
                wrong.append({"field": name, "problem": "is required"})
        if wrong:
            raise Problem(400, "invalid", "; ".join("%(field)s %(problem)s" % w for w in wrong[:10]), details=wrong[:50])
        return values

    def create(self, request):
        values = self.read(request, partial=False)
        at = now()
        names = ['"%s"' % name for name in values] + ["_created_at", "_updated_at"]
        sql = "INSERT INTO records (%s) VALUES (%s)" % (", ".join(names), ", ".join("?" * len(names)))
        if self.count() >= self.options.max_records:
            raise Problem(507, "full", "no more than %d records are kept" % self.options.max_records)
        with self.lock:
            number = self.write(sql, [*values.values(), at, at]).lastrowid
        return Answer(201, self.shown(self.row(number), self.entity.columns()),
                      headers={"Location": "/%s/%d" % ("/".join(self.entity.path), number)})

    def change(self, request, number):
        self.row(number)
        values = self.read(request, partial=request.method == "PATCH")
        if values:
            sets = ", ".join('"%s" = ?' % name for name in values)
            with self.lock:
                done = self.write("UPDATE records SET %s, _updated_at = ? WHERE id = ?" % sets, [*values.values(), now(), number])
            if not done.rowcount:
                raise self.missing(number)
        return Answer(200, self.shown(self.row(number), self.entity.columns()))

    def delete(self, number):
        with self.lock:
            if not self.write("DELETE FROM records WHERE id = ?", [number]).rowcount:
                raise self.missing(number)
        return Answer(204)

    def write(self, sql, values):
        try:
            return self.db.execute(sql, values)
        except sqlite3.Error as error:
            log("error: %s" % error)
            raise Problem(503, "not_kept", "the change could not be kept; try again later")


def openapi(entity):
    """The service, described in OpenAPI 3.1."""
    name = entity.name
    properties = {}
    for field in entity.fields.values():
        schema = {"type": TYPES[field["type"]] if field["required"] else [TYPES[field["type"]], "null"]}
        if field["type"] == "date":
            schema["format"] = "date"
        if field["type"] == "text":
            schema["maxLength"] = TEXT_MAX
        properties[field["name"]] = schema
    required = [field["name"] for field in entity.fields.values() if field["required"]]
    own = {"id": {"type": "integer", "readOnly": True}}
    own.update({stamp: {"type": "string", "format": "date-time", "readOnly": True} for stamp in entity.stamps})
    record = {"type": "object", "properties": {**own, **properties}, "required": ["id", *required]}
    new = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    some = {"type": "object", "properties": properties, "additionalProperties": False}
    body = lambda which: {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/" + which}}}}
    gives = lambda text, schema: {"description": text, "content": {"application/json": {"schema": schema}}}
    one = gives("the %s" % name, {"$ref": "#/components/schemas/record"})
    wrong = gives("what is wrong with the request", {"$ref": "#/components/schemas/error"})
    absent = gives("there is none", {"$ref": "#/components/schemas/error"})
    page = gives("a page", {"type": "object", "properties": {
        "items": {"type": "array", "items": {"$ref": "#/components/schemas/record"}}, "total": {"type": "integer"},
        "limit": {"type": "integer"}, "offset": {"type": "integer"}}})
    query = lambda key, schema: {"name": key, "in": "query", "required": False, "schema": schema}
    text, whole = {"type": "string"}, {"type": "integer"}
    filters = [query(key, {"type": TYPES[field["type"]]}) for key, field in entity.fields.items() if key not in OWN]
    number = {"name": "id", "in": "path", "required": True, "schema": whole}
    base = "/" + "/".join(entity.path)
    return {
        "openapi": "3.1.0",
        "info": {"title": "%s service" % name, "version": VERSION},
        "paths": {
            base: {
                "get": {"summary": "list", "parameters": [query("limit", whole), query("offset", whole), query("sort", text),
                                                           query("q", text), query("fields", text), *filters],
                        "responses": {"200": page, "400": wrong}},
                "post": {"summary": "create", "requestBody": body("new"), "responses": {"201": one, "400": wrong}},
            },
            base + "/{id}": {
                "parameters": [number],
                "get": {"summary": "read", "parameters": [query("fields", text)], "responses": {"200": one, "404": absent}},
                "put": {"summary": "replace", "requestBody": body("new"), "responses": {"200": one, "400": wrong, "404": absent}},
                "patch": {"summary": "change", "requestBody": body("some"), "responses": {"200": one, "400": wrong, "404": absent}},
                "delete": {"summary": "delete", "responses": {"204": {"description": "deleted"}, "404": absent}},
            },
        },
        "components": {"schemas": {"record": record, "new": new, "some": some, "error": {
            "type": "object", "properties": {"error": {"type": "object", "properties": {"code": text, "message": text}}}}}},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
