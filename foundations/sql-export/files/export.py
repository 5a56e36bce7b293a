#!/usr/bin/env python3
"""Write the rows of a query to a CSV or JSON file.

The database is only read: an SQLite file is opened read-only, a PostgreSQL session is made read-only, and the
statement must be a single SELECT, WITH, VALUES or TABLE. PostgreSQL is reached through psql; its password comes
from the environment variable PGPASSWORD. The file is replaced in one step once all rows are there.

Exit codes: 0 done, 1 failed (the last file stays), 2 wrong usage.
"""

import argparse
import base64
import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.parse


def log(text):
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="Write the rows of a query to a CSV or JSON file.")
    parser.add_argument("--sqlite", help="SQLite file")
    parser.add_argument("--postgres", help="postgresql://user@host:port/database")
    parser.add_argument("--query", help="statement that yields the rows")
    parser.add_argument("--table", help="table whose rows are written, instead of a query")
    parser.add_argument("--output", required=True, help="file that is written")
    parser.add_argument("--format", choices=["csv", "json"], default="csv", help="kind of file (default csv)")
    parser.add_argument("--dry-run", action="store_true", help="run the query, count its rows, write nothing")
    options = parser.parse_args()
    if bool(options.sqlite) == bool(options.postgres):
        parser.error("name one database: --sqlite or --postgres")
    if not (options.query or options.table):
        parser.error("name the rows: --query or --table")
    return options


class Broken(Exception):
    """Something a person has to put right."""


def statement(options):
    if not options.query:
        parts = options.table.split(".") if options.postgres else [options.table]
        return "SELECT * FROM " + ".".join('"' + part.replace('"', '""') + '"' for part in parts)
    text = options.query.strip().rstrip(";").strip()
    if not re.match(r"(?is)(select|with|values|table)\b", text):
        raise Broken("only a SELECT, WITH, VALUES or TABLE statement is run")
    return text


class CsvFile:
    def __init__(self, stream, names):
        self.writer = csv.writer(stream, lineterminator="\n")
        self.writer.writerow(names)

    def row(self, values):
        self.writer.writerow(["" if value is None else value for value in values])

    def end(self):
        pass


class JsonFile:
    def __init__(self, stream, names):
        self.stream, self.names, self.first = stream, names, True

    def row(self, values):
        values = [base64.b64encode(value).decode() if isinstance(value, bytes) else value for value in values]
        self.stream.write(("[\n" if self.first else ",\n") + json.dumps(dict(zip(self.names, values)), ensure_ascii=False))
        self.first = False

    def end(self):
        self.stream.write("[]\n" if self.first else "\n]\n")


def sqlite_rows(options, sql):
    """Yields the column names, then the rows."""
    path = os.path.abspath(options.sqlite)
    if not os.path.isfile(path):
        raise Broken(f"{options.sqlite} is not a file")
    uri = "file:" + urllib.parse.quote(path) + "?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=30)
    try:
        try:
            cursor = connection.execute(sql)
        except sqlite3.OperationalError as error:
            # A database in WAL mode whose folder is read-only can only be read as it stands in the file.
            if "unable to open" not in str(error) and "readonly" not in str(error) or os.path.exists(path + "-wal"):
                raise
            connection.close()
            connection = sqlite3.connect(uri + "&immutable=1", uri=True)
            cursor = connection.execute(sql)
        if cursor.description is None:
            raise Broken("the statement yields no rows")
        yield [column[0] for column in cursor.description]
        yield from cursor
    finally:
        connection.close()


def postgres_rows(options, sql):
    if shutil.which("psql") is None:
        raise Broken("psql is not installed (Debian: postgresql-client)")
    names = f"SELECT row_to_json(t) FROM ({sql}) AS t"
    heads = f"SELECT * FROM ({sql}) AS t LIMIT 0"
    environment = dict(os.environ, PGOPTIONS="-c default_transaction_read_only=on", PGCONNECT_TIMEOUT="20", PGCLIENTENCODING="UTF8")
    base = ["psql", "--no-psqlrc", "--no-password", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", options.postgres]
    head = subprocess.run(base + ["--csv", "--command", heads], env=environment, capture_output=True, text=True)
    if head.returncode != 0:
        raise Broken(f"psql failed: {head.stderr.strip()[:500]}")
    columns = next(csv.reader(head.stdout.splitlines()), [])
    yield columns
    with subprocess.Popen(base + ["--tuples-only", "--no-align", "--command", names], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.strip():
                record = json.loads(line)
                yield [record.get(column) for column in columns]
        error = process.stderr.read()
    if process.returncode != 0:
        raise Broken(f"psql failed: {error.strip()[:500]}")


def flat(value):
    """A value as CSV shows it."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def run(options):
    rows = (sqlite_rows if options.sqlite else postgres_rows)(options, statement(options))
    names = next(rows)
    if len(set(names)) != len(names) and options.format == "json":
        raise Broken(f"JSON needs different column names; these are {', '.join(names)}")
    if options.dry_run:
        print(f"would write {sum(1 for _ in rows)} rows with the columns {', '.join(names)} to {os.path.basename(options.output)}")
        return 0
    folder = os.path.dirname(options.output) or "."
    partial = os.path.join(folder, f".{os.path.basename(options.output)}.partial")
    try:
        count = 0
        with open(partial, "w", encoding="utf-8", newline="") as stream:
            out = (JsonFile if options.format == "json" else CsvFile)(stream, names)
            for row in rows:
                out.row(row if options.format == "json" else [flat(value) for value in row])
                count += 1
            out.end()
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, options.output)
    except BaseException:
        if os.path.lexists(partial):
            os.remove(partial)
        raise
    log(f"wrote {count} rows to {os.path.basename(options.output)}")
    return 0


def main():
    options = arguments()
    try:
        return run(options)
    except (Broken, OSError, sqlite3.Error, ValueError) as error:
        log(f"error: the export to {options.output} failed: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
