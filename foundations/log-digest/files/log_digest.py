#!/usr/bin/env python3
"""Reads log files and writes a digest: counts per level, the most frequent errors, the time range, per file.

Reads plain, gzip, bzip2 and xz files in UTF-8, UTF-16, UTF-32 or a Western 8-bit encoding, line by line, so that
memory does not grow with their size. Writes a Markdown and a JSON report, each in one step. Log files are only read.

Exit codes: 0 the report was written (problems with single files are named in it), 1 it was not, 2 wrong usage.
"""

import argparse
import bz2
import codecs
import fnmatch
import gzip
import json
import lzma
import os
import re
import stat
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone

LINE_MAX = 64 * 1024          # characters of one line that are looked at; the rest is passed over
CHUNK = 256 * 1024            # bytes read at once
SAMPLE = 64 * 1024            # bytes that the encoding is guessed from
MESSAGES_MAX = 20_000         # different error messages that are counted
MESSAGE_MAX = 300             # characters of a message in the report
FILES_MAX = 10_000            # files read in one run
PROBLEMS_MAX = 200            # problems listed in the report

LEVELS = ["FATAL", "ERROR", "WARNING", "INFO", "DEBUG", "TRACE", "UNKNOWN"]
NAMES = {
    "emerg": "FATAL", "emergency": "FATAL", "alert": "FATAL", "crit": "FATAL", "critical": "FATAL", "fatal": "FATAL",
    "panic": "FATAL", "err": "ERROR", "error": "ERROR", "severe": "ERROR", "exception": "ERROR", "warn": "WARNING",
    "warning": "WARNING", "notice": "INFO", "info": "INFO", "information": "INFO", "debug": "DEBUG", "fine": "DEBUG",
    "trace": "TRACE", "verbose": "TRACE", "finest": "TRACE",
}
SYSLOG = ["FATAL", "FATAL", "FATAL", "ERROR", "WARNING", "INFO", "INFO", "DEBUG"]
GLOG = {"F": "FATAL", "E": "ERROR", "W": "WARNING", "I": "INFO", "D": "DEBUG"}
HEAD = 240                    # a level stands within so many characters
WORDS = "|".join(sorted(NAMES, key=len, reverse=True))
LEVEL_KEY = re.compile(r'\b(?:level|lvl|severity|loglevel)["\']?\s*[=:]\s*["\']?(%s)\b' % WORDS, re.I)
LEVEL_MARK = re.compile(r"[\[<(|]\s*(%s)\s*[\]>)|:]|(?:^|\s)(%s):" % (WORDS, WORDS), re.I)
LEVEL_WORD = re.compile(r"(?<![A-Za-z0-9_/.-])(%s)(?![A-Za-z0-9_/=-])" % WORDS.upper())
GLOG_HEAD = re.compile(r"^([FEWID])\d{4} \d\d:\d\d:\d\d")
PRIORITY = re.compile(r"^<(\d{1,3})>")
ACCESS = re.compile(r'"([A-Z]+) ([^" ?]*)[^"]*" (\d{3}) (?:\d+|-)')

MONTHS = {name: i + 1 for i, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split())}
ISO = re.compile(
    r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z\b|UTC\b|[+-]\d\d:?\d\d(?!\d))?")
CLF = re.compile(r"(\d{1,2})/([A-Za-z]{3})/(\d{4}):(\d\d):(\d\d):(\d\d)(?: ([+-]\d{4}))?")
CTIME = re.compile(r"(?:[A-Z][a-z]{2} )?([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.\d+)?(?: (\d{4}))?")

NORMAL = [
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), "<uuid>"),
    (re.compile(r"\b\d{4}[-/]\d\d[-/]\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"), "<mail>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<ip>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "<hex>"),
    (re.compile(r"\b(?=[0-9a-fA-F]*\d)(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{8,}\b"), "<hex>"),
    (re.compile(r"(?<![A-Za-z_])[-+]?\d+(?:[.,]\d+)*"), "<n>"),
]


class Stop(Exception):
    """The run cannot go on; the text says why and what to do."""


def main(argv):
    options = arguments(argv)
    try:
        files = find_files(options)
        digest = Digest(options)
        for path in files:
            digest.read(path)
        if files and digest.files_read == 0:
            raise Stop("none of the %d files could be read: %s" % (len(files), digest.problems[0]["problem"]))
        report = digest.report()
        publish(options, report)
    except Stop as error:
        print("log-digest: %s" % error, file=sys.stderr)
        return 1
    except OSError as error:
        print("log-digest: %s" % error, file=sys.stderr)
        return 1
    return 0


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="log-digest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="folder with the log files")
    parser.add_argument("--pattern", default="*", help="which files, as patterns separated by commas (default: all)")
    parser.add_argument("--recursive", action="store_true", help="also the folders below it")
    parser.add_argument("--report", required=True, help="report file (.md, .txt or .json); the other form is written beside it; {date} is today")
    parser.add_argument("--since", type=int, default=0, metavar="SECONDS", help="only entries of the last so many seconds")
    parser.add_argument("--top", type=int, default=10, help="how many of the most frequent errors are listed (default: 10)")
    parser.add_argument("--alert-over", type=int, metavar="N", help="with more errors than this, leave a notice for the person")
    parser.add_argument("--notices", default="/state/notices.jsonl", help="file that notices are added to (default: %(default)s)")
    parser.add_argument("--title", default="Log digest", help="heading of the report")
    parser.add_argument("--dry-run", action="store_true", help="print the report and write nothing")
    options = parser.parse_args(argv)
    if not 1 <= options.top <= 1000:
        parser.error("--top must be from 1 to 1000")
    if options.since < 0:
        parser.error("--since cannot be negative")
    if not os.path.basename(options.report):
        parser.error("--report must name a file")
    return options


def report_paths(options):
    """The Markdown and the JSON file."""
    path = options.report.replace("{date}", time.strftime("%Y-%m-%d"))
    base, extension = os.path.splitext(path)
    readable = extension.lower() in (".md", ".markdown", ".txt")
    if not readable and extension.lower() != ".json":
        base = path
    return (path if readable else base + ".md"), base + ".json"


def find_files(options):
    """The regular files that match, in the order of their paths; the reports themselves are left out."""
    if not os.path.isdir(options.folder):
        raise Stop("there is no folder %s" % options.folder)
    patterns = [part.strip() for part in options.pattern.split(",") if part.strip()] or ["*"]
    own = {os.path.basename(path) for path in report_paths(options)}
    found = []

    def refuse(error):
        raise Stop("cannot list %s: %s" % (error.filename, error.strerror))

    for place, folders, names in os.walk(options.folder, onerror=refuse):
        folders.sort()
        below = os.path.relpath(place, options.folder)
        for name in sorted(names):
            path = os.path.join(place, name)
            relative = name if below == "." else os.path.join(below, name)
            matches = any(fnmatch.fnmatchcase(name, p) or fnmatch.fnmatchcase(relative, p) for p in patterns)
            if not matches or name in own or name.startswith(".log-digest-"):
                continue
            try:
                regular = stat.S_ISREG(os.stat(path).st_mode)
            except OSError:
                regular = True  # reading it will name the problem
            if regular:
                found.append(path)
            if len(found) > FILES_MAX:
                raise Stop("more than %d files match; use a narrower pattern" % FILES_MAX)
        if not options.recursive:
            folders.clear()
    if not found:
        raise Stop("no file in %s matches %s" % (options.folder, options.pattern))
    return found


def open_bytes(path):
    """The file's bytes, unpacked when its first bytes say that it is packed."""
    raw = open(path, "rb")
    magic = raw.read(6)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=raw), "gzip"
    if magic[:3] == b"BZh":
        return bz2.BZ2File(raw), "bzip2"
    if magic == b"\xfd7zXZ\x00":
        return lzma.LZMAFile(raw), "xz"
    return raw, None


def encoding_of(sample):
    """The encoding of a text, or None for bytes that are no text."""
    for mark, name in [(codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
                       (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")]:
        if sample.startswith(mark):
            return name
    if b"\0" in sample:
        odd, even = sample[1::2].count(0), sample[0::2].count(0)
        half = max(1, len(sample) // 2)
        if odd > half * 0.6 and even < half * 0.1:
            return "utf-16-le"
        if even > half * 0.6 and odd < half * 0.1:
            return "utf-16-be"
        # Rotation in place leaves a run of zeros before the text.
        rest = sample.lstrip(b"\0")
        return None if b"\0" in rest or not rest else "utf-8"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
        return "utf-8"
    except UnicodeDecodeError:
        return "cp1252"


def lines_of(stream, encoding, first):
    """Lines without their ends, each cut to LINE_MAX; bounded memory whatever comes."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    rest = ""
    skipping = False
    chunk = first
    while True:
        text = decoder.decode(chunk, final=not chunk)
        pieces = (rest + text).replace("\r\n", "\n").split("\n")
        rest = pieces.pop()
        for piece in pieces:
            if skipping:
                skipping = False
                continue
            yield piece[:LINE_MAX].rstrip("\r").lstrip("\0")
        if len(rest) > LINE_MAX:
            if not skipping:
                yield rest[:LINE_MAX]
            skipping = True
            rest = ""
        if not chunk:
            break
        chunk = stream.read(CHUNK)
    if rest and not skipping:
        yield rest.rstrip("\r").lstrip("\0")


class Digest:
    """Everything that is counted."""

    def __init__(self, options):
        self.options = options
        self.now = time.time()
        self.after = self.now - options.since if options.since else None
        self.levels = dict.fromkeys(LEVELS, 0)
        self.entries = self.lines = self.older = self.files_read = self.dropped = 0
        self.first = self.last = None
        self.errors = {}
        self.files = []
        self.problems = []

    def problem(self, path, text):
        print("log-digest: warning: %s: %s" % (path, text), file=sys.stderr)
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append({"file": path, "problem": text})

    def read(self, path):
        """Counts one file. What cannot be read is named and does not stop the others."""
        name = os.path.relpath(path, self.options.folder)
        one = {"file": name, "packed": None, "encoding": None, "lines": 0, "entries": 0,
               "levels": dict.fromkeys(LEVELS, 0), "first": None, "last": None, "complete": True}
        try:
            stream, one["packed"] = open_bytes(path)
            with stream:
                year = datetime.fromtimestamp(os.stat(path).st_mtime).year
                sample = stream.read(SAMPLE)
                one["encoding"] = encoding_of(sample)
                if one["encoding"] is None:
                    self.problem(name, "is no text; passed over")
                    return
                previous = None
                for line in lines_of(stream, one["encoding"], sample):
                    one["lines"] += 1
                    previous = self.line(line, one, year, previous)
        except (OSError, EOFError, lzma.LZMAError, gzip.zlib.error) as error:
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self.problem(name, "cannot be read%s: %s" % (" to its end" if one["lines"] else "", text))
            one["complete"] = False
            if not one["lines"]:
                return
        self.files_read += 1
        self.lines += one["lines"]
        self.files.append(one)
        print("log-digest: %s: %d entries, %d errors" % (
            name, one["entries"], one["levels"]["ERROR"] + one["levels"]["FATAL"]))

    def line(self, line, one, year, previous):
        """Counts one line; returns whether timed entries have been seen in this file (None: no entry yet)."""
        if not line.strip():
            return previous
        level, at, message = read_line(line, year)
        # A line without time and level below a timed entry goes on with it: a stack trace.
        if previous and at is None and level is None:
            return previous
        if previous is not None and level is None and line[0] in " \t":
            return previous
        timed = bool(previous) or at is not None
        if self.after is not None and at is not None and at[0] < self.after:
            self.older += 1
            return timed
        level = level or "UNKNOWN"
        self.entries += 1
        self.levels[level] += 1
        one["entries"] += 1
        one["levels"][level] += 1
        if at is not None:
            for place in (self.__dict__, one):
                if place["first"] is None or at[0] < place["first"][0]:
                    place["first"] = at
                if place["last"] is None or at[0] > place["last"][0]:
                    place["last"] = at
        if level in ("ERROR", "FATAL"):
            self.error(message, level, at, one["file"])
        return timed

    def error(self, message, level, at, file):
        key = normal(message)
        seen = self.errors.get(key)
        if seen is None:
            if len(self.errors) >= MESSAGES_MAX:
                self.dropped += 1
                return
            seen = self.errors[key] = {"message": key, "level": level, "count": 0, "first": None, "last": None,
                                       "example": message[:MESSAGE_MAX], "files": set()}
        seen["count"] += 1
        if len(seen["files"]) < 20:
            seen["files"].add(file)
        if at is not None:
            if seen["first"] is None or at[0] < seen["first"][0]:
                seen["first"] = at
            if seen["last"] is None or at[0] > seen["last"][0]:
                seen["last"] = at

    def report(self):
        """The digest as data."""
        top = sorted(self.errors.values(), key=lambda e: (-e["count"], e["message"]))[:self.options.top]
        return {
            "title": self.options.title,
            "generated_at": datetime.now().astimezone().isoformat(timespec="seconds"),
            "pattern": self.options.pattern,
            "since": shown(point(self.after)) if self.after is not None else None,
            "files_read": self.files_read,
            "lines": self.lines,
            "entries": self.entries,
            "older_entries_left_out": self.older,
            "levels": self.levels,
            "first": shown(self.first),
            "last": shown(self.last),
            "different_errors": len(self.errors),
            "errors_not_told_apart": self.dropped,
            "top_errors": [dict(e, first=shown(e["first"]), last=shown(e["last"]), files=sorted(e["files"])) for e in top],
            "files": [dict(f, first=shown(f["first"]), last=shown(f["last"])) for f in self.files],
            "problems": self.problems,
        }


def read_line(line, year):
    """Level or None, time or None, and the message without both."""
    if line.startswith("{"):
        found = read_json(line)
        if found is not None:
            return found
    at, rest = read_time(line, year)
    head = rest[:HEAD]
    level = None
    match = PRIORITY.match(line)
    if match and int(match.group(1)) < 192:
        level = SYSLOG[int(match.group(1)) % 8]
        rest = rest.replace(match.group(0), "", 1)
    match = None if level else GLOG_HEAD.match(line)
    if match:
        return GLOG[match.group(1)], at, rest[rest.find("]") + 1:].strip() or rest
    match = None if level else ACCESS.search(line)
    if match:
        method, place, status = match.groups()
        level = "ERROR" if status >= "500" else "WARNING" if status >= "400" else "INFO"
        return level, at, "HTTP%s %s %s" % (status, method, place)
    if level is None:
        matches = [m for m in (LEVEL_KEY.search(head), LEVEL_WORD.search(head), LEVEL_MARK.search(head)) if m]
        if matches:
            match = min(matches, key=lambda m: m.start())
            name = next(group for group in match.groups() if group)
            level = NAMES[name.lower()]
            rest = rest[:match.start()] + " " + rest[match.end():]
    return level, at, rest.strip(" \t:-|[]")


def read_json(line):
    """A line of JSON as loggers write them."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    level = None
    for key in ("level", "severity", "levelname", "lvl", "log.level", "loglevel"):
        value = record.get(key)
        if isinstance(value, str):
            level = NAMES.get(value.strip().lower())
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            steps = [(60, "FATAL"), (50, "ERROR"), (40, "WARNING"), (30, "INFO"), (20, "DEBUG"), (10, "TRACE")]
            level = next((name for least, name in steps if value >= least), None)
        if level:
            break
    at = None
    for key in ("time", "timestamp", "@timestamp", "ts", "date", "t", "datetime"):
        value = record.get(key)
        if isinstance(value, str):
            at = read_time(value, datetime.now().year)[0]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            seconds = value
            for limit in (1e17, 1e14, 1e11):
                if value > limit:
                    seconds = value / (limit / 1e8)
                    break
            at = point(seconds) if 0 < seconds < 4e9 else None
        if at is not None:
            break
    message = next((str(record[key]) for key in ("msg", "message", "event", "error", "err") if record.get(key)), line)
    return level, at, message


def read_time(text, year):
    """(seconds, has a zone) or None, and the text without it."""
    head = text[:HEAD]
    match = ISO.search(head)
    try:
        if match:
            y, mo, d, h, mi, s, _, zone = match.groups()
            at = moment(int(y), int(mo), int(d), int(h), int(mi), int(s or 0), zone)
            return at, text[:match.start()] + text[match.end():]
        match = CLF.search(head)
        if match:
            d, mon, y, h, mi, s, zone = match.groups()
            at = moment(int(y), MONTHS.get(mon.lower(), 0), int(d), int(h), int(mi), int(s), zone)
            return at, text[:match.start()] + text[match.end():]
        match = CTIME.search(head)
        if match and match.group(1).lower() in MONTHS:
            mon, d, h, mi, s, y = match.groups()
            at = moment(int(y or year), MONTHS[mon.lower()], int(d), int(h), int(mi), int(s), None)
            if not y and at[0] > time.time() + 86_400:
                at = moment(year - 1, MONTHS[mon.lower()], int(d), int(h), int(mi), int(s), None)
            return at, text[:match.start()] + text[match.end():]
    except ValueError:
        pass
    return None, text


def moment(year, month, day, hour, minute, second, zone):
    at = datetime(year, month, day, hour, minute, min(second, 59))
    if zone is None:
        return at.astimezone().timestamp(), False
    if zone in ("Z", "UTC"):
        offset = timedelta()
    else:
        digits = zone[1:].replace(":", "")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        offset = -offset if zone[0] == "-" else offset
    return (at.replace(tzinfo=timezone.utc) - offset).timestamp(), True


def point(seconds):
    return (seconds, True)


def shown(at):
    """A time for people: as it stood in the log, in UTC where the log named a zone."""
    if at is None:
        return None
    if at[1]:
        return datetime.fromtimestamp(at[0], timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return datetime.fromtimestamp(at[0]).strftime("%Y-%m-%dT%H:%M:%S")


def normal(message):
    """A message without the parts that differ each time."""
    text = message[:2000]
    for pattern, name in NORMAL:
        text = pattern.sub(name, text)
    text = " ".join(text.split())
    return text[:MESSAGE_MAX] or "(no text)"


def markdown(report):
    """The digest for people."""
    def cell(text):
        text = str(text if text is not None else "–").replace("\\", "\\\\").replace("|", "\\|")
        return text.replace("<", "&lt;").replace("\n", " ")

    out = ["# %s" % cell(report["title"]), "", "Made %s." % report["generated_at"], ""]
    if report["since"]:
        out += ["Entries since %s; %d older ones are left out." % (report["since"], report["older_entries_left_out"]), ""]
    out += ["%d entries in %d files, from %s to %s." % (
        report["entries"], report["files_read"], report["first"] or "an unknown time", report["last"] or "an unknown time"), ""]
    out += ["## Levels", "", "| level | entries |", "|---|---:|"]
    out += ["| %s | %d |" % (level, count) for level, count in report["levels"].items()]
    out += ["", "## Most frequent errors", ""]
    if report["top_errors"]:
        out += ["| count | error | first | last | files |", "|---:|---|---|---|---|"]
        out += ["| %d | %s | %s | %s | %s |" % (
            e["count"], cell(e["message"]), cell(e["first"]), cell(e["last"]), cell(", ".join(e["files"]))) for e in report["top_errors"]]
    else:
        out += ["None."]
    out += ["", "## Files", "", "| file | entries | errors | warnings | first | last |", "|---|---:|---:|---:|---|---|"]
    for f in report["files"]:
        out.append("| %s | %d | %d | %d | %s | %s |" % (
            cell(f["file"]), f["entries"], f["levels"]["ERROR"] + f["levels"]["FATAL"], f["levels"]["WARNING"],
            cell(f["first"]), cell(f["last"])))
    if report["problems"]:
        out += ["", "## Problems", ""]
        out += ["- %s: %s" % (cell(p["file"]), cell(p["problem"])) for p in report["problems"]]
    return "\n".join(out) + "\n"


def publish(options, report):
    """Writes both reports, or prints one of them."""
    text = markdown(report)
    to_markdown, to_json = report_paths(options)
    if options.dry_run:
        print(text)
        print("would write %s and %s" % (to_markdown, to_json))
        return
    errors = report["levels"]["ERROR"] + report["levels"]["FATAL"]
    if options.alert_over is not None and errors > options.alert_over:
        notify(options, report, errors)
    write(to_json, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    write(to_markdown, text)
    print("log-digest: %d entries, %d errors; wrote %s and %s" % (report["entries"], errors, to_markdown, to_json))


def notify(options, report, errors):
    """Adds a line for the person; agentwright passes it on."""
    top = ["%d times: %s" % (e["count"], e["message"]) for e in report["top_errors"][:3]]
    body = "%d errors in the logs, more than %d. %s" % (errors, options.alert_over, "; ".join(top))
    with open(options.notices, "a", encoding="utf-8", errors="replace") as file:
        file.write(json.dumps({"title": "Too many errors in the logs", "body": body}, ensure_ascii=False) + "\n")
    print("log-digest: notice: %s" % body)


def write(path, text):
    """Puts a file in place in one step: it is there whole or not at all."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise Stop("there is no folder %s for the report" % folder)
    handle, temporary = tempfile.mkstemp(prefix=".log-digest-", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
