#!/usr/bin/env python3
"""Total the columns of CSV files and write reports in Markdown, HTML and JSON.

Numbers are added exactly (decimal, not binary). A value that is no number is left out and counted in the
report; a column without a single number is an error, as is a column that does not exist. Column names are
compared without regard to case, blanks and punctuation. A report replaces the last one in one step.

Exit codes: 0 done, 1 failed (no report was changed), 2 wrong usage.
"""

import argparse
import csv
import glob
import html
import json
import os
import re
import sys
import time
from decimal import Decimal, InvalidOperation

MEASURES = ["sum", "mean", "count", "min", "max"]


def log(text):
    print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="Total the columns of CSV files.")
    parser.add_argument("--input", required=True, help="CSV file; * in its name takes all that match")
    parser.add_argument("--output", required=True, help="folder for the reports")
    parser.add_argument("--name", default="report", help="first part of the report names")
    parser.add_argument("--group", action="append", default=[], help="column to group by; may be repeated")
    parser.add_argument("--column", action="append", default=[], help="column to total; may be repeated; default: all columns of numbers")
    parser.add_argument("--measure", choices=MEASURES, default="sum", help="what is computed (default sum)")
    parser.add_argument("--format", action="append", choices=["md", "html", "json"], help="kind of report; may be repeated; default: all three")
    parser.add_argument("--dry-run", action="store_true", help="say what would be written and change nothing")
    return parser.parse_args()


class Broken(Exception):
    """Something a person has to put right."""


def key(name):
    return re.sub(r"[^0-9a-z]+", "", name.casefold()) or name.strip()


def number(text):
    """A decimal number as people write it, or None."""
    text = text.strip().replace("\u00a0", "").replace(" ", "").strip("$€£%")
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", text):
        text = text.replace(",", "")
    elif re.fullmatch(r"[+-]?\d+,\d+", text):
        text = text.replace(",", ".")
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def read(path):
    """Yields the rows of one file as dictionaries; the first line names the columns."""
    with open(path, encoding="utf-8-sig", newline="") as stream:
        sample = stream.read(64 * 1024)
        stream.seek(0)
        head = sample.splitlines()[0] if sample.strip() else ""
        delimiter = max([",", ";", "\t", "|"], key=head.count)
        reader = csv.DictReader(stream, delimiter=delimiter, restkey="", restval="")
        if not reader.fieldnames or not "".join(reader.fieldnames).strip():
            raise Broken(f"{path} has no line with column names")
        for row in reader:
            yield row


def rows_of(options):
    paths = sorted(glob.glob(options.input)) if glob.has_magic(options.input) else [options.input]
    if not paths:
        raise Broken(f"no file matches {options.input}")
    rows, names = [], []
    for path in paths:
        for row in read(path):
            row.pop("", None)
            rows.append(row)
            names.extend(name for name in row if name not in names)
    if not rows:
        raise Broken(f"{options.input} holds no rows")
    return rows, names


def find(wanted, names):
    matches = [name for name in names if name == wanted] or [name for name in names if key(name) == key(wanted)]
    if len(matches) != 1:
        word = "no" if not matches else "more than one"
        raise Broken(f"{word} column is named {wanted!r}; the columns are {', '.join(names)}")
    return matches[0]


def numeric(rows, names, groups):
    found = []
    for name in names:
        filled = [row.get(name, "") or "" for row in rows]
        filled = [text for text in filled if text.strip()]
        if name not in groups and filled and all(number(text) is not None for text in filled):
            found.append(name)
    return found


class Tally:
    """The figures of one group."""

    def __init__(self, columns):
        self.rows = 0
        self.values = [[] for _ in columns]

    def measure(self, what):
        if what == "count" and not self.values:
            return [Decimal(self.rows)]
        return [self.one(what, values) for values in self.values]

    @staticmethod
    def one(what, values):
        if what == "count":
            return Decimal(len(values))
        if not values:
            return None
        if what == "mean":
            return sum(values) / len(values)
        return {"sum": sum, "min": min, "max": max}[what](values)


def tally(options):
    rows, names = rows_of(options)
    groups = [find(name, names) for name in options.group]
    columns = [find(name, names) for name in options.column]
    if not columns and options.measure != "count":
        columns = numeric(rows, names, groups)
        if not columns:
            raise Broken(f"no column of {options.input} holds only numbers; name one with --column")
    tallies, total, skipped = {}, Tally(columns), 0
    for row in rows:
        at = tuple((row.get(name) or "").strip() for name in groups)
        here = tallies.setdefault(at, Tally(columns))
        for one in (here, total):
            one.rows += 1
        for n, name in enumerate(columns):
            text = row.get(name) or ""
            value = number(text)
            if value is None:
                skipped += bool(text.strip())
                continue
            for one in (here, total):
                one.values[n].append(value)
    if options.measure != "count":
        for name, values in zip(columns, total.values):
            if not values:
                raise Broken(f"the column {name!r} holds no number")
    return {
        "groups": groups,
        "columns": columns or ["rows"],
        "tallies": sorted(tallies.items()) if groups else [],
        "total": total,
        "skipped": skipped,
    }


def shown(value):
    if value is None:
        return "–"
    text = format(value.quantize(Decimal("0.0001")) if value.as_tuple().exponent < -4 else value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain(value):
    """A JSON number: whole where it is whole."""
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else float(value)


def table(result, options):
    head = result["groups"] + [f"{options.measure} of {name}" for name in result["columns"]] + ["rows"]
    lines = [list(at) + [shown(v) for v in one.measure(options.measure)] + [str(one.rows)] for at, one in result["tallies"]]
    total = [shown(v) for v in result["total"].measure(options.measure)] + [str(result["total"].rows)]
    lines.append((["all"] + [""] * (len(result["groups"]) - 1) if result["groups"] else []) + total)
    return head, lines


def markdown(result, options, title):
    head, lines = table(result, options)
    cell = lambda text: text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
    out = [f"# {title}", "", "| " + " | ".join(map(cell, head)) + " |", "|" + " --- |" * len(head)]
    out += ["| " + " | ".join(map(cell, line)) + " |" for line in lines]
    if result["skipped"]:
        out += ["", f"{result['skipped']} values were no numbers and are left out."]
    return "\n".join(out) + "\n"


def page(result, options, title):
    head, lines = table(result, options)
    row = lambda cells, tag: "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in cells) + "</tr>"
    note = f"<p>{result['skipped']} values were no numbers and are left out.</p>" if result["skipped"] else ""
    style = "body{font:16px system-ui;margin:2rem}table{border-collapse:collapse}td,th{border:1px solid #999;padding:.3rem .6rem;text-align:left}tr:last-child{font-weight:bold}"
    return (
        f"<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{html.escape(title)}</title><style>{style}</style></head><body>"
        f"<h1>{html.escape(title)}</h1><table>{row(head, 'th')}{''.join(row(line, 'td') for line in lines)}</table>{note}</body></html>\n"
    )


def record(result, options, title):
    groups = [{"key": list(at), "values": [plain(v) for v in one.measure(options.measure)], "rows": one.rows} for at, one in result["tallies"]]
    total = {"values": [plain(v) for v in result["total"].measure(options.measure)], "rows": result["total"].rows}
    value = {"title": title, "measure": options.measure, "group_by": result["groups"], "columns": result["columns"], "groups": groups, "total": total, "skipped": result["skipped"]}
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def run(options):
    result = tally(options)
    title = f"{options.name}: {options.measure}" + (f" by {', '.join(result['groups'])}" if result["groups"] else "")
    writers = {"md": markdown, "html": page, "json": record}
    texts = {f"{options.name}-report.{kind}": writers[kind](result, options, title) for kind in options.format or ["md", "html", "json"]}
    log(f"{result['total'].rows} rows, {len(result['tallies'])} groups, {result['skipped']} values left out")
    if options.dry_run:
        for name in texts:
            print(f"would write {name}")
        print(markdown(result, options, title), end="")
        return 0
    if not os.path.isdir(options.output):
        raise Broken(f"{options.output} is not a folder")
    for name, text in texts.items():
        partial = os.path.join(options.output, f".{name}.partial")
        with open(partial, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    for name in texts:
        os.replace(os.path.join(options.output, f".{name}.partial"), os.path.join(options.output, name))
        log(f"wrote {name}")
    return 0


def main():
    options = arguments()
    try:
        return run(options)
    except (Broken, OSError, UnicodeError, csv.Error) as error:
        log(f"error: the report on {options.input} failed: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
