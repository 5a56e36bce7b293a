#!/usr/bin/env python3
"""Runs one query on an SQLite file or a PostgreSQL server and writes its rows as CSV or JSON.

The database is only read: SQLite is opened read-only, PostgreSQL (through psql) in a read-only session, and a
statement that is no SELECT, VALUES or WITH … SELECT is refused. Rows are passed through one by one; the output appears
in one step when the last one is there, and stays as it was when anything fails.

PostgreSQL's password is read from the variable PGPASSWORD.

Exit codes: 0 the rows were written, 1 they were not, 2 wrong usage.
"""

import argparse
import base64
import csv
import json
import math
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from urllib.parse import parse_qsl, unquote, urlsplit

ROWS_MAX = 10_000_000            # rows of one export
FIELD_MAX = 16 * 1024 * 1024     # characters of one value
COPY_MAX = 2 * 1024 * 1024 * 1024  # bytes of an SQLite database that is copied to read its write-ahead log
ERROR_MAX = 4000                 # characters of psql's own message that are passed on
SHOWN = 3                        # rows that a dry run shows
PSQL_OPTIONS = {"sslmode", "sslrootcert", "application_name", "connect_timeout", "target_session_attrs"}


class Stop(Exception):
    """The run cannot go on; the text says why and what to do."""


def main(argv):
    options = arguments(argv)
    try:
        query = checked(options.query, postgres=bool(options.server))
        with Output(options) as output:
            if options.server:
                from_postgres(options, query, output)
            else:
                from_sqlite(options, query, output)
            output.publish()
    except (Stop, OSError) as error:
        print("sql-export: %s" % error, file=sys.stderr)
        return 1
    return 0


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="sql-export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", help="SQLite file")
    parser.add_argument("--server", help="postgresql://user@host:port/database, without a password")
    parser.add_argument("--query", required=True, help="one SELECT, VALUES or WITH … SELECT statement")
    parser.add_argument("--output", required=True, help="file to write; {date} is today")
    parser.add_argument("--format", choices=["csv", "json"], help="default: by the output's extension, else csv")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="stop after N rows (default: all)")
    parser.add_argument("--timeout", type=int, default=300, metavar="SECONDS", help="how long the query may take (default: 300)")
    parser.add_argument("--dry-run", action="store_true", help="run the query, say what would be written, write nothing")
    options = parser.parse_args(argv)
    options.server = options.server or None
    options.database = options.database or None
    if bool(options.database) == bool(options.server):
        parser.error("give either --database or --server")
    if not 0 <= options.limit <= ROWS_MAX:
        parser.error("--limit must be from 0 to %d" % ROWS_MAX)
    if options.timeout < 1:
        parser.error("--timeout must be at least 1")
    if not os.path.basename(options.output):
        parser.error("--output must name a file")
    options.output = options.output.replace("{date}", time.strftime("%Y-%m-%d"))
    if options.format is None:
        options.format = "json" if options.output.lower().endswith(".json") else "csv"
    return options


# --- the statement -------------------------------------------------------------------------------------------------

TOKEN = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))|(?P<string>[eE]?'(?:[^']|'')*')|(?P<name>\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]\s]*\])"
    r"|(?P<dollar>\$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$)|(?P<word>[^\W\d]\w*)|(?P<other>.)", re.S)
MAIN = {"SELECT", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "TABLE"}


def checked(query, postgres):
    """The statement without its final semicolon; refuses everything that is not one reading statement."""
    query = query.strip()
    if "\0" in query:
        raise Stop("the query holds a NUL character")
    words, depth, last, end = [], 0, "", len(query)
    for token in TOKEN.finditer(query):
        text = token.group(0)
        if token.lastgroup == "comment" or text.isspace():
            continue
        if last == ";":
            raise Stop("the query holds more than one statement; give one SELECT")
        if token.lastgroup == "string" and postgres and text[0] in "eE" and "\\" in text:
            raise Stop("the query holds an escaped string (E'…\\…'); write it without backslashes")
        if token.lastgroup == "word" and depth == 0:
            words.append(text.upper())
        if token.lastgroup == "other":
            if text in "'\"":
                raise Stop("the query holds a quotation mark that is never closed")
            depth += {"(": 1, ")": -1}.get(text, 0)
            if depth < 0:
                raise Stop("the query closes a bracket that it never opened")
            if text == ";":
                end = token.start()
        last = text
    if depth:
        raise Stop("the query opens a bracket that it never closes")
    first = words[0] if words else "nothing"
    if first == "WITH":
        # Writes inside its brackets are refused by the database's own read-only mode.
        first = next((word for word in words if word in MAIN), "WITH alone")
    if first not in ("SELECT", "VALUES"):
        raise Stop("only reading is allowed: the query must be a SELECT, VALUES or WITH … SELECT, not %s" % first)
    return query[:end].strip()


# --- SQLite --------------------------------------------------------------------------------------------------------

READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, 33}  # 33: SQLITE_RECURSIVE
NO_FUNCTIONS = {"load_extension", "writefile", "readfile", "edit", "fts3_tokenizer"}


def authorize(action, first, second, _database, _trigger):
    allowed = action in READING and (second or "").lower() not in NO_FUNCTIONS
    # Virtual tables ask for their own pragma when they are opened.
    return sqlite3.SQLITE_OK if allowed or action == sqlite3.SQLITE_PRAGMA and first == "data_version" else sqlite3.SQLITE_DENY


def open_sqlite(path, folder):
    """A read-only connection, also where the folder cannot be written and a write-ahead log lies beside the file."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise Stop("cannot open the database %s: %s" % (path, error.strerror))
    if head and head != b"SQLite format 3\0":
        raise Stop("%s is no SQLite database" % path)
    log = path + "-wal"
    plain = "file:%s?mode=ro" % uri(path)
    if os.path.exists(log) and os.path.getsize(log) > 0 and not os.access(os.path.dirname(path) or ".", os.W_OK):
        if os.path.getsize(path) + os.path.getsize(log) > COPY_MAX:
            raise Stop("%s has a write-ahead log and is too large to be copied; run a checkpoint on it first" % path)
        copy = os.path.join(folder, "copy.db")
        shutil.copyfile(path, copy)
        shutil.copyfile(log, copy + "-wal")
        plain = "file:%s?mode=rw" % uri(copy)
    elif not os.path.exists(log) or os.path.getsize(log) == 0:
        # Without a log nobody is writing in that mode, and the folder may be read-only.
        if not os.access(os.path.dirname(path) or ".", os.W_OK) and len(head) == 16:
            with open(path, "rb") as file:
                file.seek(18)
                if file.read(1) == b"\x02":
                    plain += "&immutable=1"
    return sqlite3.connect(plain, uri=True, timeout=30)


def uri(path):
    from urllib.parse import quote
    return quote(os.path.abspath(path))


def from_sqlite(options, query, output):
    deadline = time.monotonic() + options.timeout
    with tempfile.TemporaryDirectory(prefix="sql-export-") as folder:
        connection = None
        try:
            connection = open_sqlite(options.database, folder)
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            connection.execute("PRAGMA query_only=ON")
            connection.set_authorizer(authorize)
            connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            cursor = connection.execute(query)
            output.columns([column[0] for column in cursor.description])
            for row in cursor:
                if not output.row(row):
                    break
        except (sqlite3.Error, sqlite3.Warning) as error:
            if time.monotonic() > deadline:
                raise Stop("the query took longer than %d s" % options.timeout)
            raise Stop("%s: %s" % (os.path.basename(options.database), error))
        finally:
            if connection is not None:
                connection.close()


# --- PostgreSQL ----------------------------------------------------------------------------------------------------

def connection_text(server):
    """The server's address for psql; behind the sandbox's walls it leads to the route declared for it."""
    parts = urlsplit(server)
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or len(parts.path) < 2 or not parts.username:
        raise Stop("--server must be postgresql://user@host:port/database")
    if parts.password is not None:
        raise Stop("--server holds a password; take it out and give it as the secret PGPASSWORD")
    port = parts.port or 5432
    words = {"host": parts.hostname, "port": str(port), "user": unquote(parts.username), "dbname": unquote(parts.path[1:])}
    for name, value in parse_qsl(parts.query):
        if name not in PSQL_OPTIONS:
            raise Stop("the option %s in the server's address is not supported" % name)
        words[name] = value
    route = os.environ.get("AGENTWRIGHT_ROUTE_%s_%d" % (re.sub(r"[^A-Za-z0-9]", "_", parts.hostname).upper(), port))
    if route:
        words["hostaddr"], _, words["port"] = route.rpartition(":")
    words.setdefault("connect_timeout", "15")
    words.setdefault("application_name", "sql-export")
    quoted = lambda value: "'%s'" % value.replace("\\", "\\\\").replace("'", "\\'")
    return " ".join("%s=%s" % (name, quoted(value)) for name, value in words.items())


def from_postgres(options, query, output):
    if shutil.which("psql") is None:
        raise Stop("psql is not installed (Debian, Ubuntu: apt-get install postgresql-client)")
    address = connection_text(options.server)
    rows = query
    if output.limit:
        rows = "SELECT * FROM (%s\n) AS wanted LIMIT %d" % (query, output.limit + 1)
    if options.format == "json":
        # Control characters never stand in JSON, so each record is one field.
        copy = "COPY (SELECT row_to_json(one) FROM (%s\n) AS one) TO STDOUT WITH (FORMAT csv, DELIMITER E'\\x02', QUOTE E'\\x01')" % rows
        style = {"delimiter": "\x02", "quotechar": "\x01"}
    else:
        copy = "COPY (%s\n) TO STDOUT WITH (FORMAT csv, HEADER)" % rows
        style = {}
    environment = dict(os.environ, PGPASSFILE="/dev/null", PGCLIENTENCODING="UTF8", PGSERVICEFILE="/dev/null", PGSYSCONFDIR="/nonexistent",
                       PGOPTIONS="-c default_transaction_read_only=on -c statement_timeout=%d" % (options.timeout * 1000))
    command = ["psql", "-X", "-q", "-A", "-t", "--no-password", "-v", "ON_ERROR_STOP=1", "-c", copy, address]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment)
        watch = threading.Timer(options.timeout + 30, process.kill)
        watch.daemon = True
        watch.start()
        enough = False
        try:
            text = open(process.stdout.fileno(), "r", encoding="utf-8", errors="replace", newline="", closefd=False)
            reader = csv.reader(text, **style)
            if options.format == "json":
                output.columns(None)
            else:
                header = next(reader, None)
                if header is not None:
                    output.columns(header)
            for row in reader:
                # COPY ends a result of empty values with nothing at all.
                if not output.row(row or [""]):
                    enough = True
                    break
        except csv.Error as error:
            process.kill()
            raise Stop("the answer of psql cannot be read: %s" % error)
        finally:
            if enough or sys.exc_info()[0]:
                process.kill()
            code = process.wait()
            watch.cancel()
            process.stdout.close()
        if code != 0 and not enough:
            errors.seek(0)
            said = errors.read(ERROR_MAX).decode("utf-8", "replace").strip()
            if code == -signal.SIGKILL:
                said = "it took longer than %d s" % options.timeout
            raise Stop("psql failed: %s" % (said or "exit code %d" % code))


# --- output --------------------------------------------------------------------------------------------------------

class Output:
    """The file that is being written: beside its final place, and moved there in one step."""

    def __init__(self, options):
        self.options = options
        self.limit = options.limit
        self.count = 0
        self.more = False
        self.shown = []
        self.names = None
        self.file = self.temporary = self.writer = None

    def __enter__(self):
        if self.options.dry_run:
            self.file = open(os.devnull, "w", encoding="utf-8", newline="")
        else:
            folder = os.path.dirname(os.path.abspath(self.options.output))
            if not os.path.isdir(folder):
                raise Stop("there is no folder %s for the output" % folder)
            handle, self.temporary = tempfile.mkstemp(prefix=".sql-export-", dir=folder)
            self.file = os.fdopen(handle, "w", encoding="utf-8", newline="")
        return self

    def __exit__(self, *_):
        if not self.file.closed:
            self.file.close()
        if self.temporary:
            os.unlink(self.temporary)

    def columns(self, names):
        """The names of the columns; None when rows come as ready JSON."""
        self.names = names
        if self.options.format == "csv":
            self.writer = csv.writer(self.file, lineterminator="\n")
            self.writer.writerow(names)
        elif names is not None:
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise Stop("the query gives two columns the name %s; name them with AS" % ", ".join(twice))

    def row(self, values):
        """Writes a row; False when no more are wanted."""
        if self.limit and self.count >= self.limit:
            self.more = True
            return False
        if self.count >= ROWS_MAX:
            raise Stop("the query yields more than %d rows; narrow it or give --limit" % ROWS_MAX)
        if self.options.format == "csv":
            line = [csv_value(value) for value in values]
            self.writer.writerow(line)
        else:
            line = values[0] if self.names is None else json.dumps(
                dict(zip(self.names, map(json_value, values))), ensure_ascii=False)
            self.file.write("[\n" if self.count == 0 else ",\n")
            self.file.write(line)
        if len(self.shown) < SHOWN:
            self.shown.append(line)
        self.count += 1
        return True

    def publish(self):
        if self.options.format == "csv" and self.writer is None:
            raise Stop("the query answered without columns")
        if self.options.format == "json":
            self.file.write("[]\n" if self.count == 0 else "\n]\n")
        cut = " (stopped at the limit; there are more)" if self.more else ""
        if self.options.dry_run:
            for line in self.shown:
                print("sql-export: %s" % (line if isinstance(line, str) else ", ".join(map(str, line))))
            print("would write %d rows to %s%s" % (self.count, self.options.output, cut))
            return
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.chmod(self.temporary, 0o644)
        os.replace(self.temporary, self.options.output)
        self.temporary = None
        print("sql-export: wrote %d rows to %s%s" % (self.count, self.options.output, cut))


def csv_value(value):
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


def json_value(value):
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


if __name__ == "__main__":
    csv.field_size_limit(FIELD_MAX)
    sys.exit(main(sys.argv[1:]))
