#!/usr/bin/env python3
"""Count the levels in log files and find the most frequent problems.

A line's level is the first of FATAL, CRITICAL, ERROR, WARNING, INFO, DEBUG and TRACE in it (also `level=…`,
JSON `"level": …`, and in web server logs the status: 5xx is an ERROR, 4xx a WARNING); a line without one
belongs to the line before it. Problems are grouped after numbers, addresses and time stamps are taken out of
their messages. Files may be gzipped; they are read line by line and never changed.

Exit codes: 0 done, 1 failed (the last digest stays), 2 wrong usage.
"""

import argparse
import collections
import datetime
import glob
import gzip
import json
import os
import re
import sys
import time

LEVELS = ["FATAL", "CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "TRACE"]
PROBLEMS = {"FATAL", "CRITICAL", "ERROR", "WARNING"}
SEVERE = {"FATAL", "CRITICAL", "ERROR"}
LINE_MAX = 16 * 1024
GROUPS_MAX = 50_000

LEVEL = re.compile(r"\b(FATAL|CRITICAL|CRIT|ERROR|ERR|SEVERE|WARNING|WARN|INFO|NOTICE|DEBUG|TRACE)\b|\b(?:level|lvl|severity)\"?\s*[=:]\s*\"?(\w+)|\[(fatal|crit|error|warn|warning|info|notice|debug)\]", re.ASCII)
SAME = {"CRIT": "CRITICAL", "ERR": "ERROR", "SEVERE": "ERROR", "WARN": "WARNING", "NOTICE": "INFO", "EMERG": "FATAL", "ALERT": "FATAL"}
ACCESS = re.compile(r'^\S+ \S+ \S+ \[[^\]]+\] "[^"]*" (\d{3}) ')
ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,]\d+)?\s*(Z|[+-]\d\d:?\d\d)?")
CLF = re.compile(r"\[(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d{4})\]")
SYSLOG = re.compile(r"^(\w{3})\s+(\d{1,2}) (\d\d):(\d\d):(\d\d)")
MONTHS = {name: n for n, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
NOISE = [
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.I), "ID"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b", re.I), "ID"),
    (re.compile(r"\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b"), "ADDRESS"),
    (re.compile(r"\d+(\.\d+)?"), "N"),
]


def log(text):
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="Count the levels in log files and find the most frequent problems.")
    parser.add_argument("--input", required=True, help="log file; * in its name takes all that match")
    parser.add_argument("--output", required=True, help="folder for log-digest.md and log-digest.json")
    parser.add_argument("--state", required=True, help="folder for alerts and notices")
    parser.add_argument("--top", type=int, default=10, help="how many problems are listed (default 10)")
    parser.add_argument("--since", type=int, help="only lines of the last so many seconds, by their time stamps")
    parser.add_argument("--alert-over", type=int, help="raise an alert when there are more errors than this")
    parser.add_argument("--dry-run", action="store_true", help="print the digest and write nothing")
    return parser.parse_args()


def level_of(line):
    access = ACCESS.match(line)
    if access:
        return {"5": "ERROR", "4": "WARNING"}.get(access.group(1)[0], "INFO")
    match = LEVEL.search(line)
    if not match:
        return None
    word = next(group for group in match.groups() if group).upper()
    word = SAME.get(word, word)
    return word if word in LEVELS else None


def time_of(line):
    """Seconds since the epoch of the line's own time stamp, or None."""
    head = line[:200]
    try:
        if match := ISO.search(head):
            parts = [int(part) for part in match.groups()[:6]]
            zone = match.group(7)
            if zone in (None, "Z"):
                at = datetime.datetime(*parts, tzinfo=datetime.timezone.utc if zone else None)
                return at.timestamp()
            return datetime.datetime.strptime("%04d-%02d-%02dT%02d:%02d:%02d" % tuple(parts) + zone.replace(":", ""), "%Y-%m-%dT%H:%M:%S%z").timestamp()
        if match := CLF.search(head):
            day, month, year, hour, minute, second, zone = match.groups()
            text = f"{year}-{MONTHS[month]:02d}-{day}T{hour}:{minute}:{second}{zone}"
            return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp()
        if match := SYSLOG.match(head):
            month, day, hour, minute, second = match.groups()
            now = datetime.datetime.now()
            at = datetime.datetime(now.year, MONTHS[month], int(day), int(hour), int(minute), int(second))
            return (at if at <= now + datetime.timedelta(days=1) else at.replace(year=now.year - 1)).timestamp()
    except (KeyError, ValueError):
        return None
    return None


def message_of(line):
    """The line without what differs from one occurrence to the next."""
    access = ACCESS.match(line)
    if access:
        request = line.split('"')[1] if line.count('"') > 1 else ""
        return f"{' '.join(request.split()[:2])} answered {access.group(1)}"[:300]
    text = CLF.sub("", ISO.sub("", line))
    text = SYSLOG.sub("", text)
    match = LEVEL.search(text)
    if match and match.end() < len(text.rstrip()):
        text = text[match.end():]
    for pattern, word in NOISE:
        text = pattern.sub(word, text)
    return " ".join(text.split()).strip("]):-|>\" ")[:300] or "(no message)"


def lines_of(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", errors="replace") as stream:
        while line := stream.readline(LINE_MAX):
            yield line


def read(options):
    paths = sorted(glob.glob(options.input)) if glob.has_magic(options.input) else [options.input]
    if not paths:
        raise OSError(f"no file matches {options.input}")
    counts, problems, lines = collections.Counter(), collections.Counter(), 0
    levels, examples = {}, {}
    limit = time.time() - options.since if options.since else None
    for path in paths:
        current, at = None, None
        for line in lines_of(path):
            at = time_of(line) or at
            if limit and (at is None or at < limit):
                continue
            lines += 1
            found = level_of(line)
            current = found or current
            if not found:
                continue
            counts[found] += 1
            if found in PROBLEMS:
                message = message_of(line)
                if message in problems or len(problems) < GROUPS_MAX:
                    problems[message] += 1
                    levels.setdefault(message, found)
                    examples.setdefault(message, " ".join(line.split())[:500])
    top = sorted(problems.items(), key=lambda pair: (levels[pair[0]] not in SEVERE, -pair[1], pair[0]))[: options.top]
    return {
        "files": len(paths),
        "lines": lines,
        "levels": {level: counts[level] for level in LEVELS},
        "errors": sum(counts[level] for level in SEVERE),
        "top": [{"count": count, "level": levels[message], "message": message, "example": examples[message]} for message, count in top],
    }


def markdown(result, options):
    code = lambda text: "`" + text.replace("`", "'") + "`"
    out = ["# Log digest", "", f"{result['lines']} lines in {result['files']} files, {result['errors']} errors.", "", "| level | lines |", "| --- | --- |"]
    out += [f"| {level} | {count} |" for level, count in result["levels"].items() if count]
    out += ["", "## Most frequent problems", ""]
    out += [f"{n}. {entry['count']} × {entry['level']}: {code(entry['message'])}" for n, entry in enumerate(result["top"], 1)] or ["None."]
    return "\n".join(out) + "\n"


def write(path, text):
    partial = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.partial")
    with open(partial, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def run(options):
    result = read(options)
    log(f"{result['lines']} lines, {result['errors']} errors")
    if options.dry_run:
        print(markdown(result, options), end="")
        return 0
    write(os.path.join(options.output, "log-digest.md"), markdown(result, options))
    write(os.path.join(options.output, "log-digest.json"), json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    log("wrote log-digest.md and log-digest.json")
    if options.alert_over is not None and result["errors"] > options.alert_over:
        message = f"{result['errors']} errors in the logs, more than {options.alert_over}"
        for name, value in (("alerts.jsonl", {"event": "errors", "message": message}), ("notices.jsonl", {"title": "too many errors in the logs", "body": message})):
            with open(os.path.join(options.state, name), "a", encoding="utf-8") as stream:
                stream.write(json.dumps(value) + "\n")
        log(f"alert: {message}")
    return 0


def main():
    options = arguments()
    try:
        return run(options)
    except (OSError, EOFError) as error:
        log(f"error: the digest of {options.input} failed: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
