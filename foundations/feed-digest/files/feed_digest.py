#!/usr/bin/env python3
"""Collects what is new in RSS, Atom and JSON feeds and writes it as one digest, in Markdown or HTML.

What was in an earlier digest is remembered in the state file and does not come again. A feed that cannot be read is
named in the digest and on the error output, and the others are digested all the same. When nothing is new, nothing is
written. The digest and the state file appear in one step each.

Exit codes: 0 done (also when nothing is new), 1 no feed could be read or the digest could not be written, 2 wrong usage.
"""

import argparse
import hashlib
import html
import http.client
import json
import os
import re
import sys
import tempfile
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
import zlib
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from html.entities import html5
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit
from xml.parsers import expat

FEED_MAX = 10 * 1024 * 1024   # bytes of one feed, unpacked
DEPTH_MAX = 60                # nested elements of a feed
ELEMENTS_MAX = 200_000        # elements of a feed
SEEN_MAX = 5_000              # remembered items per feed beyond those in it now
SUMMARY_MAX = 400             # characters of an item's text
TITLE_MAX = 300               # characters of a title
ATTEMPTS = 2                  # tries per feed
AGENT = "agentwright-feed-digest/1.0"
FORMATS = {"markdown": ".md", "html": ".html"}


class Stop(Exception):
    """The run cannot go on; the text says why and what to do."""


class BadFeed(Exception):
    """One feed cannot be read; the text says why."""


def main(argv):
    options = arguments(argv)
    try:
        return digest(options)
    except (Stop, OSError) as error:
        print("feed-digest: %s" % error, file=sys.stderr)
        return 1


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="feed-digest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feed", action="append", required=True, metavar="URL", help="address of a feed; may be given several times")
    parser.add_argument("--output", required=True, help="file to write; {date} is today, a number is added where that file exists")
    parser.add_argument("--state", default="/state/feeds.json", help="file that remembers what was digested (default: %(default)s)")
    parser.add_argument("--format", choices=sorted(FORMATS), help="default: by the output's extension, else markdown")
    parser.add_argument("--keyword", action="append", default=[], help="only items that hold one of these words; may be given several times")
    parser.add_argument("--max-items", type=int, default=50, metavar="N", help="at most so many new items of each feed, the newest (default: 50)")
    parser.add_argument("--title", default="Feed digest", help="heading of the digest")
    parser.add_argument("--timeout", type=int, default=30, metavar="SECONDS", help="how long one feed may take to answer (default: 30)")
    parser.add_argument("--dry-run", action="store_true", help="print the digest; write and remember nothing")
    options = parser.parse_args(argv)
    for url in options.feed:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            parser.error("%s is no http or https address" % url)
    if not 1 <= options.max_items <= 1000:
        parser.error("--max-items must be from 1 to 1000")
    if options.timeout < 1:
        parser.error("--timeout must be at least 1")
    if not os.path.basename(options.output):
        parser.error("--output must name a file")
    options.feed = list(dict.fromkeys(options.feed))
    if options.format is None:
        options.format = "html" if options.output.lower().endswith((".html", ".htm")) else "markdown"
    return options


def digest(options):
    state = load_state(options.state)
    sections, problems, read = [], [], 0
    for url in options.feed:
        known = state["feeds"].get(url, {"seen": {}})
        try:
            feed, known = collect(url, known, options)
        except BadFeed as error:
            problems.append({"url": url, "problem": str(error)})
            print("feed-digest: warning: %s: %s" % (url, error), file=sys.stderr)
            continue
        read += 1
        state["feeds"][url] = known
        print("feed-digest: %s: %d new" % (url, len(feed["items"])))
        if feed["items"]:
            sections.append(feed)
    if read == 0:
        raise Stop("no feed could be read (%s)" % "; ".join("%(url)s: %(problem)s" % p for p in problems))
    count = sum(len(feed["items"]) for feed in sections)
    if count == 0:
        print("feed-digest: nothing new in %d feeds" % read)
    text = page(options, sections, problems)
    if options.dry_run:
        if count:
            print(text)
            print("would write %d items to %s" % (count, target(options)))
        return 0
    if count:
        path = target(options)
        write(path, text)
        print("feed-digest: wrote %d new items of %d feeds to %s" % (count, len(sections), path))
    # After the digest: a crash in between repeats items rather than losing them.
    write(options.state, json.dumps(state, indent=1, sort_keys=True) + "\n")
    return 0


# --- state ---------------------------------------------------------------------------------------------------------

def load_state(path):
    try:
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
        feeds = state["feeds"]
        if not all(isinstance(feed.get("seen"), dict) for feed in feeds.values()):
            raise ValueError("a feed has no list of seen items")
        return state
    except FileNotFoundError:
        return {"feeds": {}}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Stop("the state file %s cannot be read (%s); mend it, or remove it to begin anew" % (path, error))


def remember(known, items, present):
    """The seen items: those in the feed now, and the newest of the others."""
    now = int(time.time())
    seen = dict(known["seen"])
    for item in items:
        seen.setdefault(item["key"], now)
    gone = sorted((at, key) for key, at in seen.items() if key not in present)
    for _, key in gone[:max(0, len(gone) - SEEN_MAX)]:
        del seen[key]
    return seen


# --- one feed ------------------------------------------------------------------------------------------------------

def collect(url, known, options):
    """The feed with its new items, and what is to be remembered."""
    body, headers = fetch(url, known, options)
    if body is None:
        return {"title": url, "items": []}, known
    feed = parse(body, headers.get("content-type", ""), url)
    for item in feed["items"]:
        item["key"] = key(item)
    present = {item["key"] for item in feed["items"]}
    fresh, told = [], set()
    for item in feed["items"]:
        if item["key"] not in known["seen"] and item["key"] not in told:
            told.add(item["key"])
            fresh.append(item)
    wanted = [item for item in fresh if matches(item, options.keyword)]
    wanted.sort(key=lambda item: item["time"] or 0, reverse=True)
    if len(wanted) > options.max_items:
        print("feed-digest: %s: %d new items, the newest %d are taken" % (url, len(wanted), options.max_items))
    after = {"seen": remember(known, fresh, present)}
    for name in ("etag", "last-modified"):
        if headers.get(name):
            after[name] = headers[name][:500]
    return {"title": feed["title"] or url, "link": feed["link"], "url": url, "items": wanted[:options.max_items]}, after


def key(item):
    """What makes an item the same item the next time."""
    basis = item["id"] or item["link"] or item["title"] + "\n" + item["summary"]
    return hashlib.sha256(basis.encode("utf-8", "replace")).hexdigest()[:32]


def matches(item, keywords):
    if not keywords:
        return True
    text = (item["title"] + "\n" + item["text"]).casefold()
    return any(re.search(r"(?<!\w)%s(?!\w)" % re.escape(word.casefold()), text) for word in keywords)


def fetch(url, known, options):
    """Bytes and headers of a feed; None as bytes when it has not changed."""
    headers = {"User-Agent": AGENT, "Accept-Encoding": "gzip",
               "Accept": "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, application/json;q=0.8, */*;q=0.5"}
    if not options.keyword and known.get("etag"):
        headers["If-None-Match"] = known["etag"]
    if not options.keyword and known.get("last-modified"):
        headers["If-Modified-Since"] = known["last-modified"]
    for attempt in range(1, ATTEMPTS + 1):
        try:
            request = urllib.request.Request(url, headers=headers)
            with urllib.request.urlopen(request, timeout=options.timeout) as answer:
                body = answer.read(FEED_MAX + 1)
                if len(body) > FEED_MAX:
                    raise BadFeed("it is larger than %d bytes" % FEED_MAX)
                got = {name.lower(): value for name, value in answer.headers.items()}
                return unpacked(body, got.get("content-encoding", "")), got
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 304:
                return None, {}
            if error.code < 500 or attempt == ATTEMPTS:
                raise BadFeed("it answered %d %s" % (error.code, error.reason))
        except (OSError, ValueError, EOFError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS:
                raise BadFeed("it cannot be reached: %s" % (getattr(error, "reason", None) or error))
        time.sleep(attempt)
    raise BadFeed("it cannot be reached")


def unpacked(body, encoding):
    if encoding.strip().lower() not in ("gzip", "x-gzip"):
        return body
    try:
        stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        text = stream.decompress(body, FEED_MAX + 1)
    except zlib.error as error:
        raise BadFeed("its gzip packing is broken: %s" % error)
    if len(text) > FEED_MAX:
        raise BadFeed("it is larger than %d bytes" % FEED_MAX)
    return text


# --- formats -------------------------------------------------------------------------------------------------------

def parse(body, content_type, url):
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"{") or ("json" in content_type and not start.startswith(b"<")):
        feed = parse_json(body)
    else:
        feed = parse_xml_feed(body)
    for item in feed["items"]:
        item["text"] = plain(item.pop("html"))
        item["summary"] = cut(item["text"], SUMMARY_MAX)
        item["title"] = cut(plain(item["title"]), TITLE_MAX) or cut(item["summary"], 80) or "(untitled)"
        item["link"] = safe_link(item["link"], url)
    feed["title"] = cut(plain(feed["title"]), TITLE_MAX)
    feed["link"] = safe_link(feed["link"], url)
    return feed


def parse_json(body):
    try:
        data = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadFeed("it is no JSON feed: %s" % error)
    if not isinstance(data, dict) or not isinstance(data.get("items"), list):
        raise BadFeed("it is JSON, but no feed: it has no list of items")
    text = lambda value: value if isinstance(value, str) else "" if value is None or isinstance(value, (dict, list)) else str(value)
    items = []
    for entry in data["items"]:
        if not isinstance(entry, dict):
            continue
        content = text(entry.get("summary")) or text(entry.get("content_html")) or html.escape(text(entry.get("content_text")))
        items.append({"id": text(entry.get("id")), "title": text(entry.get("title")), "html": content,
                      "link": text(entry.get("url")) or text(entry.get("external_url")),
                      "time": moment(text(entry.get("date_published")) or text(entry.get("date_modified")))})
    return {"title": text(data.get("title")), "link": text(data.get("home_page_url")), "items": items}


def parse_xml_feed(body):
    root = tree(body)
    name = local(root.tag)
    if name == "feed":
        return parse_atom(root)
    if name not in ("rss", "RDF"):
        raise BadFeed("it is neither RSS nor Atom nor a JSON feed, but <%s>" % name[:40])
    channel = next((child for child in root if local(child.tag) == "channel"), root)
    entries = [node for node in list(channel) + list(root) if local(node.tag) == "item"]
    items = []
    for node in entries:
        guid, link = child_text(node, "guid"), child_text(node, "link")
        permalink = next((c.get("isPermaLink", "true") != "false" for c in node if local(c.tag) == "guid"), False)
        items.append({"id": guid, "title": child_text(node, "title"), "link": link or (guid if permalink else ""),
                      "html": child_text(node, "description") or child_text(node, "encoded"),
                      "time": moment(child_text(node, "pubDate") or child_text(node, "date"))})
    return {"title": child_text(channel, "title"), "link": child_text(channel, "link"), "items": items}


def parse_atom(root):
    def link_of(node):
        links = [c for c in node if local(c.tag) == "link" and c.get("rel", "alternate") == "alternate"]
        return links[0].get("href", "") if links else ""

    items = []
    for node in root:
        if local(node.tag) != "entry":
            continue
        items.append({"id": child_text(node, "id"), "title": child_text(node, "title"), "link": link_of(node),
                      "html": child_text(node, "summary") or child_text(node, "content"),
                      "time": moment(child_text(node, "published") or child_text(node, "updated"))})
    return {"title": child_text(root, "title"), "link": link_of(root), "items": items}


def tree(body):
    """The elements of an XML text. Declared entities are refused, so nothing grows and nothing is fetched."""
    body = re.sub(rb"&([A-Za-z][A-Za-z0-9]{1,31});", named_entity, body)
    builder = ET.TreeBuilder()
    depth = count = 0

    def start(tag, attributes):
        nonlocal depth, count
        depth += 1
        count += 1
        if depth > DEPTH_MAX or count > ELEMENTS_MAX:
            raise BadFeed("it is nested too deeply or has too many elements")
        builder.start(tag, attributes)

    def end(tag):
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_):
        raise BadFeed("it declares XML entities, which are refused")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.EntityDeclHandler = parser.UnparsedEntityDeclHandler = parser.ExternalEntityRefHandler = refuse
    try:
        parser.Parse(body, True)
        return builder.close()
    except (expat.ExpatError, LookupError, ValueError, AssertionError) as error:
        raise BadFeed("it is no well-formed XML: %s" % error)


def named_entity(match):
    """&nbsp; and its like are no entities of XML, but feeds hold them."""
    name = match.group(1).decode("ascii")
    if name in ("amp", "lt", "gt", "quot", "apos"):
        return match.group(0)
    meant = html5.get(name + ";")
    return "".join("&#%d;" % ord(c) for c in meant).encode() if meant else match.group(0)


def local(tag):
    return tag.rsplit("}", 1)[-1] if isinstance(tag, str) else ""


def child_text(node, name):
    """The text of a child; the one without a prefix of another vocabulary wins."""
    found = [child for child in node if local(child.tag) == name]
    own = [child for child in found if child.tag.rpartition("}")[0] == node.tag.rpartition("}")[0]] or found
    return "".join(own[0].itertext()).strip() if own else ""


def moment(text):
    """Seconds, or None."""
    text = text.strip()
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    try:
        return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()
    except (OverflowError, ValueError):
        return None


class Words(HTMLParser):
    """The words of a piece of HTML."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.parts, self.hidden = [], 0

    def handle_starttag(self, tag, _):
        if tag in ("script", "style"):
            self.hidden += 1
        self.parts.append(" ")

    def handle_endtag(self, tag):
        if tag in ("script", "style") and self.hidden:
            self.hidden -= 1
        self.parts.append(" ")

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data)


def plain(text):
    if "<" in text or "&" in text:
        words = Words()
        try:
            words.feed(text[:200_000])
            words.close()
            text = "".join(words.parts)
        except (AssertionError, ValueError):
            pass
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())


def cut(text, most):
    return text if len(text) <= most else text[:most - 1].rstrip() + "…"


def safe_link(link, base):
    """An absolute http or https address, or nothing."""
    try:
        link = urljoin(base, link.strip()) if link.strip() else ""
        safe = urlsplit(link).scheme in ("http", "https") and not any(c.isspace() or ord(c) < 32 for c in link)
    except ValueError:
        safe = False
    return link if safe else ""


# --- the digest ----------------------------------------------------------------------------------------------------

def page(options, sections, problems):
    at = datetime.now().astimezone()
    return (as_html if options.format == "html" else as_markdown)(options.title, at, sections, problems)


def day(seconds):
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d") if seconds else ""


def md(text):
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", text)


def as_markdown(title, at, sections, problems):
    count = sum(len(feed["items"]) for feed in sections)
    out = ["# %s" % md(title), "", "%d new items, %s." % (count, at.strftime("%Y-%m-%d %H:%M")), ""]
    for feed in sections:
        out += ["## %s" % md(feed["title"]), ""]
        for item in feed["items"]:
            name = "[%s](<%s>)" % (md(item["title"]), item["link"].replace("<", "%3C").replace(">", "%3E")) if item["link"] else md(item["title"])
            out.append("- **%s**%s" % (name, " (%s)" % day(item["time"]) if item["time"] else ""))
            if item["summary"] and item["summary"] != item["title"]:
                out.append("  %s" % md(item["summary"]))
        out.append("")
    if problems:
        out += ["## Could not be read", ""] + ["- %s: %s" % (md(p["url"]), md(p["problem"])) for p in problems] + [""]
    return "\n".join(out)


def as_html(title, at, sections, problems):
    e = html.escape
    count = sum(len(feed["items"]) for feed in sections)
    out = ["<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
           '<meta name="viewport" content="width=device-width, initial-scale=1"><title>%s</title>' % e(title),
           "<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:45rem;margin:2rem auto;padding:0 1rem}"
           "li{margin-bottom:.8rem}small{color:#666}</style></head><body>",
           "<h1>%s</h1>" % e(title), "<p>%d new items, %s.</p>" % (count, at.strftime("%Y-%m-%d %H:%M"))]
    for feed in sections:
        out += ["<h2>%s</h2>" % e(feed["title"]), "<ul>"]
        for item in feed["items"]:
            name = '<a href="%s">%s</a>' % (e(item["link"]), e(item["title"])) if item["link"] else e(item["title"])
            when = " <small>%s</small>" % day(item["time"]) if item["time"] else ""
            text = "<br>%s" % e(item["summary"]) if item["summary"] and item["summary"] != item["title"] else ""
            out.append("<li>%s%s%s</li>" % (name, when, text))
        out.append("</ul>")
    if problems:
        out += ["<h2>Could not be read</h2>", "<ul>"]
        out += ["<li>%s: %s</li>" % (e(p["url"]), e(p["problem"])) for p in problems] + ["</ul>"]
    return "\n".join(out + ["</body></html>", ""])


def target(options):
    """The file of this digest; one with a date is never overwritten."""
    path = options.output.replace("{date}", time.strftime("%Y-%m-%d"))
    if path == options.output:
        return path
    base, extension = os.path.splitext(path)
    for number in range(2, 10_000):
        if not os.path.lexists(path):
            return path
        path = "%s-%d%s" % (base, number, extension)
    raise Stop("too many digests of today in %s" % os.path.dirname(path))


def write(path, text):
    """Puts a file in place in one step: it is there whole or not at all."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise Stop("there is no folder %s" % folder)
    handle, temporary = tempfile.mkstemp(prefix=".feed-digest-", dir=folder)
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
