#!/usr/bin/env python3
"""Read RSS, Atom and JSON feeds and write what is new as a digest.

What was in a digest is remembered in STATE/seen.json and never comes again. Without anything new no file is
written. A feed that fails does not keep the others from being read; the exit code then is 1.

Exit codes: 0 done, 1 at least one feed failed or nothing could be written, 2 wrong usage.
"""

import argparse
import datetime
import email.utils
import hashlib
import html
import html.parser
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as xml

BODY_MAX = 10 << 20
ITEMS_MAX = 2_000
SEEN_MAX = 50_000
TEXT_MAX = 400


def log(text):
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="Read feeds and write what is new as a digest.")
    parser.add_argument("--feed", action="append", required=True, help="address of a feed; may be repeated")
    parser.add_argument("--state", required=True, help="folder that remembers what was seen")
    parser.add_argument("--output", required=True, help="folder for the digests")
    parser.add_argument("--format", choices=["md", "html"], default="md", help="kind of digest (default md)")
    parser.add_argument("--max", type=int, default=50, help="most items in one digest (default 50); the rest comes next time")
    parser.add_argument("--keyword", action="append", default=[], help="only items with this word; may be repeated")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for one feed (default 30)")
    parser.add_argument("--dry-run", action="store_true", help="say what is new and write nothing")
    return parser.parse_args()


class Broken(Exception):
    """A feed that cannot be read."""


class Words(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.parts, self.hidden = [], 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style") and self.hidden > 0

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data)


def words(text):
    """Text without markup, on one line."""
    if "<" in text or "&" in text:
        page = Words()
        page.feed(text)
        page.close()
        text = " ".join(page.parts)
    return " ".join(text.split())


def fetch(url, timeout):
    request = urllib.request.Request(url, headers={"User-Agent": "agentwright-feed-digest/1", "Accept": "application/atom+xml, application/rss+xml, application/feed+json, application/json, application/xml, text/xml, */*"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            body = answer.read(BODY_MAX + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise Broken(f"answered {error.code}") from None
    except (OSError, ValueError) as error:
        raise Broken(f"did not answer: {getattr(error, 'reason', error)}") from None
    except Exception as error:  # http.client raises its own family on broken answers
        raise Broken(f"answered with rubbish: {type(error).__name__}") from None
    if len(body) > BODY_MAX:
        raise Broken(f"is larger than {BODY_MAX} bytes")
    return body


def when(text):
    """Seconds since the epoch, or 0 for a date that cannot be read."""
    text = (text or "").strip()
    for read in (lambda: email.utils.parsedate_to_datetime(text), lambda: datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))):
        try:
            at = read()
            return (at if at.tzinfo else at.replace(tzinfo=datetime.timezone.utc)).timestamp()
        except (TypeError, ValueError, IndexError, OverflowError):
            continue
    return 0


def local(element):
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def child(element, *names):
    for name in names:
        for one in element:
            if local(one) == name and ("".join(one.itertext()).strip() or len(one)):
                return "".join(one.itertext()).strip()
    return ""


def link_of(element):
    for one in element:
        if local(one) == "link":
            if one.get("href"):
                if one.get("rel", "alternate") == "alternate":
                    return one.get("href")
            elif one.text and one.text.strip():
                return one.text.strip()
    return ""


def parse_xml(body):
    if re.search(rb"<!ENTITY", body[:100_000], re.I):
        raise Broken("declares entities, which feeds do not need")
    try:
        root = xml.fromstring(body)
    except xml.ParseError as error:
        raise Broken(f"is not XML: {error}") from None
    entries = [element for element in root.iter() if local(element) in ("item", "entry")]
    if not entries and local(root) not in ("rss", "feed", "rdf"):
        raise Broken("is no RSS or Atom feed")
    head = next((element for element in root if local(element) == "channel"), root)
    items = []
    for element in entries[:ITEMS_MAX]:
        link = link_of(element)
        items.append({
            "id": child(element, "guid", "id") or link or child(element, "title"), "title": words(child(element, "title")), "link": link,
            "at": when(child(element, "pubdate", "published", "updated", "date")), "text": words(child(element, "description", "summary", "content", "encoded")),
        })
    return words(child(head, "title")), items


def parse_json(body):
    try:
        value = json.loads(body)
        entries = value["items"][:ITEMS_MAX]
        items = []
        for entry in entries:
            link = str(entry.get("url") or entry.get("external_url") or "")
            items.append({
                "id": str(entry.get("id") or link), "title": words(str(entry.get("title") or "")), "link": link,
                "at": when(str(entry.get("date_published") or entry.get("date_modified") or "")),
                "text": words(str(entry.get("summary") or entry.get("content_text") or entry.get("content_html") or "")),
            })
        return words(str(value.get("title") or "")), items
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Broken("is no JSON feed") from None


def read(url, timeout):
    body = fetch(url, timeout)
    title, items = parse_json(body) if body.lstrip()[:1] == b"{" else parse_xml(body)
    for item in items:
        if not item["link"].startswith(("http://", "https://")):
            item["link"] = ""
        item["title"] = item["title"] or item["text"][:80] or item["link"] or "(untitled)"
        item["key"] = hashlib.sha256(f"{url}\n{item['id']}".encode()).hexdigest()[:32]
    return title or url, items


def wanted(item, keywords):
    text = f"{item['title']} {item['text']}".casefold()
    return not keywords or any(re.search(rf"\b{re.escape(word.casefold())}", text) for word in keywords)


def clipped(text):
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX].rsplit(" ", 1)[0] + " …"


def day(item):
    return datetime.datetime.fromtimestamp(item["at"], datetime.timezone.utc).strftime("%Y-%m-%d") if item["at"] > 0 else ""


def markdown(groups, stamp):
    plain = lambda text: re.sub(r"([\\`*_\[\]<>#])", r"\\\1", text)
    out = [f"# Digest of {stamp}", ""]
    for title, items in groups:
        out += [f"## {plain(title)}", ""]
        for item in items:
            link = item["link"].replace(")", "%29").replace(" ", "%20")
            head = f"[{plain(item['title'])}]({link})" if link else plain(item["title"])
            out.append(f"- {head}" + (f" ({day(item)})" if day(item) else ""))
            if item["text"] and item["text"] != item["title"]:
                out.append(f"  {plain(clipped(item['text']))}")
        out.append("")
    return "\n".join(out)


def page(groups, stamp):
    quote = html.escape
    out = [f"<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Digest of {stamp}</title><style>body{{font:16px system-ui;max-width:46rem;margin:2rem auto}}</style></head><body><h1>Digest of {stamp}</h1>"]
    for title, items in groups:
        out.append(f"<h2>{quote(title)}</h2><ul>")
        for item in items:
            head = f"<a href=\"{quote(item['link'])}\">{quote(item['title'])}</a>" if item["link"] else quote(item["title"])
            text = f"<br>{quote(clipped(item['text']))}" if item["text"] and item["text"] != item["title"] else ""
            out.append(f"<li>{head} {day(item)}{text}</li>")
        out.append("</ul>")
    return "\n".join(out + ["</body></html>", ""])


def load(path):
    try:
        with open(path, encoding="utf-8") as stream:
            seen = json.load(stream)
    except FileNotFoundError:
        return {}
    if not isinstance(seen, dict):
        raise Broken(f"{path} is not a state of this program")
    return seen


def write(path, text):
    partial = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.partial")
    with open(partial, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def run(options):
    state = os.path.join(options.state, "seen.json")
    seen, failed, groups, left = load(state), 0, [], options.max
    for url in dict.fromkeys(options.feed):
        try:
            title, items = read(url, options.timeout)
        except Broken as error:
            failed += 1
            log(f"error: {url} {error}")
            continue
        new = {item["key"]: item for item in items if item["key"] not in seen and wanted(item, options.keyword)}
        chosen = sorted(new.values(), key=lambda item: -item["at"])[: max(left, 0)]
        left -= len(chosen)
        log(f"{url}: {len(items)} items, {len(new)} new, {len(chosen)} in this digest")
        if chosen:
            groups.append((title, chosen))
    stamp = time.strftime("%Y-%m-%d %H:%M")
    if options.dry_run:
        for title, items in groups:
            for item in items:
                print(f"would list: {title}: {item['title']}")
        return 1 if failed else 0
    if groups:
        base = time.strftime("digest-%Y-%m-%d-%H%M%S")
        name = next(n for n in (f"{base}{tail}.{options.format}" for tail in [""] + [f"-{k}" for k in range(1, 1000)]) if not os.path.exists(os.path.join(options.output, n)))
        write(os.path.join(options.output, name), (markdown if options.format == "md" else page)(groups, stamp))
        log(f"wrote {name}")
        at = int(time.time())
        seen.update({item["key"]: at for _, items in groups for item in items})
        newest = sorted(seen.items(), key=lambda pair: -pair[1])[:SEEN_MAX]
        write(state, json.dumps(dict(newest)))
    else:
        log("nothing new")
    return 1 if failed else 0


def main():
    options = arguments()
    try:
        return run(options)
    except (Broken, OSError, ValueError) as error:
        log(f"error: the digest failed: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
