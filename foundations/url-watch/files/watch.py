#!/usr/bin/env python3
"""Watch an address and raise an alert when something about it changes.

Each run fetches the address once (a failing one twice, a second apart), compares it with what the last
run saw, and writes what is new: an alert is one JSON line in STATE/alerts.jsonl, a notice for people in
STATE/notices.jsonl, and optionally a POST to a webhook. An alert that the webhook did not take is kept
and sent again by the next run. Of HTML pages only the visible text is compared.

An address that is down is a result, not a failure of the watch: the exit code is 0.
Exit codes: 0 looked, 1 failed (state unreadable, webhook not reached), 2 wrong usage.
"""

import argparse
import hashlib
import html.parser
import json
import os
import sys
import time
import urllib.error
import urllib.request

BODY_MAX = 8 << 20
PENDING_MAX = 100
HIDDEN = {"script", "style", "noscript", "template", "svg"}


def log(text):
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="Watch an address and raise alerts.")
    parser.add_argument("--url", required=True, help="address that is watched")
    parser.add_argument("--state", required=True, help="folder that remembers the last run")
    parser.add_argument("--on-change", action="store_true", help="alert when the content changes")
    parser.add_argument("--on-down", action="store_true", help="alert when it stops answering, and when it answers again")
    parser.add_argument("--text", help="alert when this text comes or goes")
    parser.add_argument("--webhook", help="address that alerts are posted to, as JSON")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds for one request (default 20)")
    parser.add_argument("--dry-run", action="store_true", help="look and say what is there; change and send nothing")
    return parser.parse_args()


class Visible(html.parser.HTMLParser):
    """Collects the visible text of a page."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.depth, self.parts = 0, []

    def handle_starttag(self, tag, attrs):
        self.depth += tag in HIDDEN

    def handle_endtag(self, tag):
        self.depth -= tag in HIDDEN and self.depth > 0

    def handle_data(self, data):
        if self.depth == 0 and data.strip():
            self.parts.append(" ".join(data.split()))


def visible(body, kind):
    text = body.decode("utf-8", "replace")
    if "html" not in kind:
        return text
    page = Visible()
    page.feed(text)
    page.close()
    return "\n".join(page.parts)


def fetch(options):
    """One look: {"up": bool, "why": text, "content": text}."""
    request = urllib.request.Request(options.url, headers={"User-Agent": "agentwright-url-watch/1", "Cache-Control": "no-cache"})
    try:
        with urllib.request.urlopen(request, timeout=options.timeout) as answer:
            body = answer.read(BODY_MAX + 1)
            if len(body) > BODY_MAX:
                return {"up": True, "why": f"answered {answer.status}, only the first {BODY_MAX} bytes are compared", "content": visible(body[:BODY_MAX], answer.headers.get_content_type())}
            return {"up": True, "why": f"answered {answer.status}", "content": visible(body, answer.headers.get_content_type())}
    except urllib.error.HTTPError as error:
        error.close()
        return {"up": False, "why": f"answered {error.code}", "content": ""}
    except (OSError, ValueError) as error:
        return {"up": False, "why": f"did not answer: {getattr(error, 'reason', error)}", "content": ""}
    except Exception as error:  # http.client raises its own family on broken answers
        return {"up": False, "why": f"answered with rubbish: {type(error).__name__}", "content": ""}


def look(options):
    seen = fetch(options)
    if not seen["up"]:
        time.sleep(1)
        seen = fetch(options)
    return seen


def load(path):
    try:
        with open(path, encoding="utf-8") as stream:
            state = json.load(stream)
    except FileNotFoundError:
        return {}
    if not isinstance(state, dict):
        raise ValueError(f"{path} is not a state of this program")
    return state


def save(path, state):
    partial = path + ".partial"
    with open(partial, "w", encoding="utf-8") as stream:
        json.dump(state, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def append(path, value):
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(value, ensure_ascii=False) + "\n")


def first_difference(old, new):
    before, after = old.splitlines(), new.splitlines()
    known = set(before)
    added = [line for line in after if line not in known]
    gone = [line for line in before if line not in set(after)]
    parts = [f"new: {line[:200]}" for line in added[:3]] + [f"gone: {line[:200]}" for line in gone[:3]]
    return "; ".join(parts) or "the order of the content"


def judge(options, state, seen):
    """What is new: a list of (event, message)."""
    found = []
    first = "up" not in state
    if options.on_down:
        if not seen["up"] and (first or state["up"]):
            found.append(("down", f"{options.url} is down: {seen['why']}"))
        if seen["up"] and not first and not state["up"]:
            found.append(("up", f"{options.url} is back: {seen['why']}"))
    if seen["up"] and options.on_change and "digest" in state and state["digest"] != seen["digest"]:
        found.append(("changed", f"{options.url} changed: {first_difference(state.get('content', ''), seen['content'])}"))
    if seen["up"] and options.text is not None:
        there = options.text.casefold() in seen["content"].casefold()
        if "there" in state and state["there"] != there or "there" not in state and there:
            word = "appeared" if there else "disappeared"
            found.append((word, f"\"{options.text}\" {word} on {options.url}"))
    return found


def deliver(options, pending):
    """Posts what is pending; returns what could not be posted."""
    while pending:
        alert = pending[0]
        body = dict(alert, text=alert["message"], content=alert["message"])
        request = urllib.request.Request(options.webhook, json.dumps(body).encode(), {"Content-Type": "application/json", "User-Agent": "agentwright-url-watch/1"})
        try:
            with urllib.request.urlopen(request, timeout=options.timeout):
                pending = pending[1:]
        except (OSError, ValueError) as error:
            log(f"error: posting to {options.webhook} failed, kept for the next run: {error}")
            return pending
    return []


def run(options):
    path = os.path.join(options.state, "watch.json")
    state = load(path)
    if state.get("url") != options.url:
        state = {"pending": state.get("pending", [])}
    seen = look(options)
    seen["digest"] = hashlib.sha256(seen["content"].encode()).hexdigest()
    log(f"{options.url} {seen['why']}")
    found = judge(options, state, seen)
    if options.dry_run:
        for event, message in found:
            print(f"would alert ({event}): {message}")
        log("nothing was changed")
        return 0
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    pending = state.get("pending", [])
    for event, message in found:
        alert = {"at": now, "event": event, "url": options.url, "message": message}
        append(os.path.join(options.state, "alerts.jsonl"), alert)
        append(os.path.join(options.state, "notices.jsonl"), {"title": f"{event}: {options.url}", "body": message})
        log(f"alert: {message}")
        pending = (pending + [alert])[-PENDING_MAX:] if options.webhook else []
    new = {"url": options.url, "up": seen["up"], "looked_at": now, "pending": pending}
    if seen["up"]:
        new.update(digest=seen["digest"], content=seen["content"][:200_000])
        if options.text is not None:
            new["there"] = options.text.casefold() in seen["content"].casefold()
    else:
        new.update({key: state[key] for key in ("digest", "content", "there") if key in state})
    save(path, new)
    if options.webhook and pending:
        left = deliver(options, pending)
        save(path, dict(new, pending=left))
        return 1 if left else 0
    return 0


def main():
    options = arguments()
    try:
        return run(options)
    except (OSError, ValueError) as error:
        log(f"error: watching {options.url} failed: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
