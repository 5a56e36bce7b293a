"""A small HTTP service: limits, JSON answers, the service contract, a quiet end. The work itself is elsewhere.

The contract: /health, /capabilities, /state, /dependencies, /message. Every answer is JSON unless a handler says
otherwise; errors are {"error": {"code", "message", "details"}}.
"""

import hashlib
import hmac
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections import deque
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

THREADS_MAX = 24              # requests served at once; more wait in the listen queue
IDLE_S = 20                   # seconds that a client may be silent
DRAIN_MAX = 32 * 1024 * 1024  # bytes of a refused body that are read away, so that the answer arrives
DRAIN_S = 5                   # seconds spent on that
MESSAGE_MAX = 64 * 1024       # bytes of a contract message
QUERY_MAX = 50                # parameters of one query


class Problem(Exception):
    """An answer that is an error."""

    def __init__(self, status, code, message, details=None, headers=None):
        super().__init__(message)
        self.status, self.code, self.details, self.headers = status, code, details, headers or {}


class Answer:
    """What is sent back. A body that is neither text nor bytes is sent as JSON."""

    def __init__(self, status, body=None, content_type=None, headers=None):
        self.status, self.headers = status, dict(headers or {})
        if body is None:
            self.body, self.content_type = b"", None
        elif isinstance(body, bytes):
            self.body, self.content_type = body, content_type or "application/octet-stream"
        else:
            self.body = (json.dumps(body, ensure_ascii=False) + "\n").encode("utf-8")
            self.content_type = content_type or "application/json; charset=utf-8"


class Request:
    """What came in; the body is read only when it is asked for."""

    def __init__(self, handler):
        parts = urlsplit(handler.path)
        self.method = handler.command
        self.path = parts.path
        self.parts = [unquote(part) for part in parts.path.split("/")[1:]]
        self.headers = handler.headers
        self._handler = handler
        try:
            self.query = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=QUERY_MAX, errors="strict"))
        except (ValueError, UnicodeDecodeError):
            raise Problem(400, "bad_query", "the query of the address cannot be read")

    def body(self, most):
        """The bytes of the body, at most so many."""
        return self._handler.read_body(most)

    def json(self, most):
        """The body as JSON."""
        kind = (self.headers.get("Content-Type") or "").split(";")[0].strip().lower()
        if kind and kind != "application/json" and not kind.endswith("+json"):
            raise Problem(415, "unsupported_media_type", "send JSON with the content type application/json")
        try:
            return json.loads(self.body(most).decode("utf-8"), parse_constant=no_constant)
        except (ValueError, RecursionError) as error:
            raise Problem(400, "bad_json", "the body is no JSON: %s" % error)

    def number(self, name, default, least, most):
        """A whole number of the query."""
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 18 and least <= int(text) <= most):
            raise Problem(400, "bad_query", "%s must be a whole number from %d to %d" % (name, least, most))
        return int(text)


def no_constant(name):
    raise ValueError("%s is no JSON number" % name)


def now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Service:
    """The contract's side of a service. `answer(request)` gives the others' answers, or None for an unknown path."""

    def __init__(self, name, version, features, answer, check, commands=None, queries=None):
        self.name, self.version, self.features = name, version, features
        self.answer, self.check = answer, check
        self.commands, self.queries = commands or {}, queries or {}
        self.secret = os.environ.get("MESSAGE_SECRET", "")
        self.started, self.started_at = time.monotonic(), now()
        self.lock = threading.Lock()
        self.requests = 0
        self.recent, self.errors = deque(maxlen=10_000), deque(maxlen=10_000)

    def count(self, status):
        at = time.monotonic()
        with self.lock:
            self.requests += 1
            self.recent.append(at)
            if status >= 500:
                self.errors.append(at)

    def route(self, request):
        known = {"/health": self.health, "/capabilities": self.capabilities, "/state": self.state, "/dependencies": self.dependencies}
        if request.path in known:
            allow(request, "GET")
            return known[request.path]()
        if request.path == "/message":
            allow(request, "POST")
            return self.message(request)
        answer = self.answer(request)
        if answer is None:
            raise Problem(404, "not_found", "there is nothing at %s" % request.path[:200])
        return answer

    def health(self):
        try:
            self.check()
            return Answer(200, {"status": "active", "service": self.name, "version": self.version, "timestamp": now()})
        except Exception as error:
            log("health: %s" % error)
            return Answer(503, {"status": "error", "service": self.name, "version": self.version, "timestamp": now()})

    def capabilities(self):
        return Answer(200, {"version": self.version, "features": self.features, "dependencies": ["sqlite"], "udc_version": "1.0",
                            "metadata": {"service": self.name, "commands": sorted(self.commands), "queries": sorted(self.queries)}})

    def state(self):
        at = time.monotonic()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        with self.lock:
            minute = sum(1 for t in self.recent if at - t <= 60)
            errors = sum(1 for t in self.errors if at - t <= 3600)
            total = self.requests
        return Answer(200, {"uptime_seconds": int(at - self.started), "requests_total": total, "requests_per_minute": minute,
                            "errors_last_hour": errors, "last_restart": self.started_at,
                            "resource_usage": {"cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3), "memory_kib_max": usage.ru_maxrss}})

    def dependencies(self):
        try:
            self.check()
            status, missing = "connected", []
        except Exception:
            status, missing = "unavailable", ["sqlite"]
        return Answer(200, {"required": [{"name": "sqlite", "status": status}], "optional": [], "missing": missing})

    def message(self, request):
        message = request.json(MESSAGE_MAX)
        if not isinstance(message, dict):
            raise Problem(400, "bad_message", "a message is a JSON object")
        missing = [name for name in ("trace_id", "source", "target", "message_type", "timestamp")
                   if not isinstance(message.get(name), str) or not message[name]]
        if missing:
            raise Problem(400, "bad_message", "the message lacks text for %s" % ", ".join(missing))
        kind, payload = message["message_type"], message.get("payload")
        if kind not in ("status", "event", "command", "query"):
            raise Problem(400, "bad_message", "message_type must be status, event, command or query")
        result = None
        if kind in ("command", "query"):
            name = payload.get(kind) if isinstance(payload, dict) else None
            if kind == "command" and not self.signed(message):
                raise Problem(403, "unsigned", "a command must be signed with this service's MESSAGE_SECRET")
            known = self.commands if kind == "command" else self.queries
            if name not in known:
                raise Problem(400, "unknown_" + kind, "payload.%s must be one of: %s" % (kind, ", ".join(sorted(known)) or "none"))
            result = known[name](payload)
        log("message %s of %s: %s" % (kind, message["source"][:80], message["trace_id"][:80]))
        return Answer(200, {"received": True, "trace_id": message["trace_id"], "processed_at": now(), "result": result})

    def signed(self, message):
        """HMAC-SHA256 over the message without its signature, as JSON with sorted keys and no blanks."""
        rest = {name: value for name, value in message.items() if name != "signature"}
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return bool(self.secret) and same_signature(self.secret, text.encode("utf-8"), message.get("signature"))


def same_signature(secret, body, given):
    """Whether a hexadecimal HMAC-SHA256, with or without `sha256=` before it, fits."""
    if not isinstance(given, str):
        return False
    given = given.strip().lower()
    given = given[7:] if given.startswith("sha256=") else given
    wanted = hmac.new(secret.encode("utf-8"), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace"))


def allow(request, *methods):
    """Refuses other methods; HEAD goes with GET."""
    if request.method not in methods and not (request.method == "HEAD" and "GET" in methods):
        raise Problem(405, "method_not_allowed", "%s is not possible here" % request.method, headers={"Allow": ", ".join(methods)})


class Handler(BaseHTTPRequestHandler):
    """One connection, one request."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    service = None
    left = 0

    def do(self):
        self.close_connection = True
        self.left = self.length = None
        try:
            self.measure()
            request = Request(self)
            answer = self.service.route(request)
        except Problem as problem:
            answer = self.problem(problem)
        except (ConnectionError, TimeoutError):
            return
        except Exception as error:
            log("error: %s %s: %s: %s" % (self.command, self.path[:200], type(error).__name__, error))
            answer = self.problem(Problem(500, "internal", "the request could not be carried out; the log says why"))
        self.service.count(answer.status)
        try:
            self.reply(answer)
            self.drain()
        except (ConnectionError, TimeoutError):
            pass
        log("%s %s %d" % (self.command, self.path[:200], answer.status))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do

    def problem(self, problem):
        error = {"code": problem.code, "message": str(problem)}
        if problem.details:
            error["details"] = problem.details
        return Answer(problem.status, {"error": error}, headers=problem.headers)

    def measure(self):
        """How long the body is: `length`, or None for one in chunks."""
        coding = (self.headers.get("Transfer-Encoding") or "").strip().lower()
        text = self.headers.get("Content-Length")
        if coding:
            if coding != "chunked" or text is not None:
                raise Problem(400, "bad_request", "the length of the body is not clear")
            return
        text = (text or "0").strip()
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise Problem(400, "bad_request", "Content-Length must be a whole number")
        self.length = self.left = int(text)

    def read_body(self, most):
        if self.length is None:
            return self.read_chunks(most)
        if self.length > most:
            raise Problem(413, "too_large", "the body has %d bytes, at most %d are taken" % (self.length, most))
        body = self.rfile.read(self.left)
        self.left -= len(body)
        if self.left:
            raise Problem(400, "cut_off", "the body ends before its announced length")
        return body

    def read_chunks(self, most):
        parts, total = [], 0
        while True:
            line = self.rfile.readline(1024)
            try:
                size = int(line.split(b";")[0].strip() or b"x", 16)
            except ValueError:
                raise Problem(400, "bad_request", "a chunk of the body has no length")
            if size < 0 or total + size > most:
                raise Problem(413 if size >= 0 else 400, "too_large", "at most %d bytes are taken" % most)
            if size == 0:
                while self.rfile.readline(8192) not in (b"\r\n", b"\n", b""):
                    pass
                self.left = 0
                return b"".join(parts)
            parts.append(self.rfile.read(size))
            total += size
            if len(parts[-1]) != size or self.rfile.readline(8) not in (b"\r\n", b"\n"):
                raise Problem(400, "cut_off", "the body ends in the middle of a chunk")

    def reply(self, answer):
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.content_type:
            self.send_header("Content-Type", answer.content_type)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def drain(self):
        """Reads away what is left of a refused body: closing at once would take the answer back."""
        if self.left == 0:
            return
        until, most = time.monotonic() + DRAIN_S, DRAIN_MAX if self.left is None else min(self.left, DRAIN_MAX)
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(1)
        while most > 0 and time.monotonic() < until:
            got = self.rfile.read1(min(most, 65_536))
            if not got:
                return
            most -= len(got)

    def send_error(self, code, message=None, explain=None):
        """What the base class refuses before any handler is asked."""
        self.close_connection = True
        code = 405 if code == 501 else code
        text = (message or "the request cannot be read")[:200]
        body = json.dumps({"error": {"code": "bad_request", "message": text}}).encode() + b"\n"
        self.request_version = "HTTP/1.1"
        self.send_response_only(code)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.service.count(code)

    def version_string(self):
        return "agentwright-service"

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """Threads within a bound; waits for the running requests when it ends."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, *arguments):
        self.slots = threading.BoundedSemaphore(THREADS_MAX)
        super().__init__(*arguments)

    def process_request(self, request, client):
        self.slots.acquire()
        try:
            super().process_request(request, client)
        except BaseException:
            self.slots.release()
            raise

    def process_request_thread(self, request, client):
        try:
            super().process_request_thread(request, client)
        finally:
            self.slots.release()

    def handle_error(self, request, client):
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            log("error: %s: %s" % (type(error).__name__, error))

    def wait(self, seconds):
        until = time.monotonic() + seconds
        for _ in range(THREADS_MAX):
            if not self.slots.acquire(timeout=max(0, until - time.monotonic())):
                return


def log(text):
    line = "".join(c if c.isprintable() else "?" for c in text)
    print("%s %s" % (now(), line), flush=True)


def serve(service, host, port, close):
    """Serves until SIGTERM or SIGINT; then ends the running requests and closes."""
    handler = type("ServiceHandler", (Handler,), {"service": service})
    try:
        server = Server((host, port), handler)
    except OSError as error:
        print("%s: cannot listen on %s:%d: %s" % (service.name, host, port, error.strerror or error), file=sys.stderr)
        return 1
    end = lambda *_: threading.Thread(target=server.shutdown, daemon=True).start()
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    log("%s %s listens on %s:%d" % (service.name, service.version, host, port))
    try:
        server.serve_forever(poll_interval=0.05)
    finally:
        server.server_close()
        server.wait(5)
        close()
    log("%s ended" % service.name)
    return 0
