//! Ten wishes that no foundation covers: the sentence, a good spec, code with a bug, and code without.

use serde_json::{Value, json};

/// A wish, and what a good author makes of it.
pub(crate) struct Wish {
    pub(crate) name: &'static str,
    pub(crate) sentence: &'static str,
    /// What is really in the person's home.
    pub(crate) real: &'static [(&'static str, &'static str)],
    /// The spec, for folders below this directory.
    pub(crate) spec: fn(base: &str) -> Value,
    pub(crate) bad: &'static str,
    pub(crate) good: &'static str,
}

/// A script over folders with one case, which is its smoke test too. The probes named `effect…` show the wish.
fn script(
    (name, purpose): (&str, &str),
    (base, folders): (&str, &[(&str, &str)]),
    draw: &Value,
    fixtures: &Value,
    effects: &[Value],
    kept: &[Value],
) -> Value {
    let folders: Vec<Value> = folders
        .iter()
        .map(|(name, access)| json!({ "name": name, "path": format!("{base}/{name}"), "access": access }))
        .collect();
    let probe = |holds: &str, check: &Value, number: usize| json!({ "name": format!("{holds} {number}"), "holds": holds, "check": check });
    let effects = effects
        .iter()
        .zip(1..)
        .map(|(check, n)| probe("effect", check, n));
    let kept = kept
        .iter()
        .zip(1..)
        .map(|(check, n)| probe("invariant", check, n));
    let probes: Vec<Value> = effects.chain(kept).collect();
    let run = json!([{ "type": "run" }]);
    json!({
        "name": name, "purpose": purpose, "kind": "script", "command": ["python3", "/app/main.py"],
        "permissions": { "folders": folders }, "trigger": { "type": "manual" },
        "acceptance": {
            "draw": draw,
            "smoke": { "name": "it runs", "fixtures": fixtures, "steps": run },
            "cases": [{ "name": "it does what was asked", "fixtures": fixtures, "steps": run, "probes": probes }],
        },
    })
}

fn file(folder: &str, path: &str, content: &str) -> Value {
    json!({ "type": "file", "folder": folder, "path": path, "content": content })
}

fn equals(folder: &str, path: &str, content: &str) -> Value {
    json!({ "type": "file_content", "folder": folder, "path": path, "content": { "equals": content } })
}

fn holds_json(folder: &str, path: &str, values: &Value) -> Value {
    json!({ "type": "file_content", "folder": folder, "path": path, "content": { "json": values } })
}

fn unchanged(folder: &str, except: &[&str]) -> Value {
    json!({ "type": "unchanged", "folder": folder, "except": except })
}

fn words(names: &[&str]) -> Value {
    let words = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "type": "word", "length": 9 })));
    Value::Object(words.collect())
}

fn number_photos(base: &str) -> Value {
    script(
        (
            "number-photos",
            "Renames the photos of a folder to running numbers",
        ),
        (base, &[("photos", "write")]),
        &words(&["a", "b", "x", "y"]),
        &json!([
            file("photos", "a-{{ draw.a }}.jpg", "{{ draw.x }}"),
            file("photos", "b-{{ draw.b }}.jpg", "{{ draw.y }}"),
            file("photos", "about.txt", "{{ draw.a }}"),
        ]),
        &[
            equals("photos", "photo-001.jpg", "{{ draw.x }}"),
            equals("photos", "photo-002.jpg", "{{ draw.y }}"),
        ],
        &[unchanged("photos", &["*.jpg"])],
    )
}

fn split_book(base: &str) -> Value {
    script(
        ("split-book", "Splits a text at its headings"),
        (base, &[("book", "read"), ("chapters", "write")]),
        &words(&["one", "two", "x", "y"]),
        &json!([file(
            "book",
            "all.txt",
            "# {{ draw.one }}\n{{ draw.x }}\n# {{ draw.two }}\n{{ draw.y }}\n"
        )]),
        &[
            equals("chapters", "{{ draw.one }}.txt", "{{ draw.x }}\n"),
            equals("chapters", "{{ draw.two }}.txt", "{{ draw.y }}\n"),
        ],
        &[unchanged("book", &[])],
    )
}

fn title_index(base: &str) -> Value {
    script(
        (
            "title-index",
            "Lists the titles of Markdown files in an index",
        ),
        (base, &[("pages", "write")]),
        &words(&["one", "two"]),
        &json!([
            file("pages", "a.md", "# {{ draw.one }}\n\ntext\n"),
            file("pages", "b.md", "# {{ draw.two }}\n"),
        ]),
        &[equals(
            "pages",
            "index.md",
            "- [{{ draw.one }}](a.md)\n- [{{ draw.two }}](b.md)\n",
        )],
        &[unchanged("pages", &["index.md"])],
    )
}

fn compare_folders(base: &str) -> Value {
    script(
        ("compare-folders", "Lists what two folders differ in"),
        (
            base,
            &[
                ("left", "read"),
                ("right", "read"),
                ("differences", "write"),
            ],
        ),
        &words(&["l", "r", "c", "x"]),
        &json!([
            file("left", "l-{{ draw.l }}", "{{ draw.x }}"),
            file("right", "r-{{ draw.r }}", "{{ draw.x }}"),
            file("left", "both", "{{ draw.c }}"),
            file("right", "both", "{{ draw.x }}"),
            file("left", "same", "{{ draw.x }}"),
            file("right", "same", "{{ draw.x }}"),
        ]),
        &[equals(
            "differences",
            "list.txt",
            "< l-{{ draw.l }}\n> r-{{ draw.r }}\n! both\n",
        )],
        &[unchanged("left", &[]), unchanged("right", &[])],
    )
}

fn count_words(base: &str) -> Value {
    script(
        ("count-words", "Counts the words of text files into JSON"),
        (base, &[("texts", "read"), ("counts", "write")]),
        &json!({ "t": { "type": "text", "words": 7 }, "n": { "type": "int", "min": 2, "max": 30 } }),
        &json!([
            file("texts", "a.txt", "{{ draw.t }}\n"),
            file(
                "texts",
                "b.txt",
                "{% for i in range(draw.n) %}w {% endfor %}"
            ),
        ]),
        &[holds_json(
            "counts",
            "words.json",
            &json!({ "/a.txt": "7", "/b.txt": "{{ draw.n }}" }),
        )],
        &[unchanged("texts", &[])],
    )
}

fn settings_to_json(base: &str) -> Value {
    script(
        ("settings-to-json", "Turns lines of key=value into JSON"),
        (base, &[("settings", "write")]),
        &words(&["k", "v", "w"]),
        &json!([file(
            "settings",
            "app.conf",
            "# a comment\nmade = {{ draw.v }}={{ draw.w }}\n\nfixed={{ draw.k }}\n"
        )]),
        &[holds_json(
            "settings",
            "app.json",
            &json!({ "/made": "\"{{ draw.v }}={{ draw.w }}\"", "/fixed": "\"{{ draw.k }}\"" }),
        )],
        &[unchanged("settings", &["app.json"])],
    )
}

fn unique_lines(base: &str) -> Value {
    script(
        (
            "unique-lines",
            "Removes repeated lines and keeps the first of each",
        ),
        (base, &[("lists", "write")]),
        &words(&["a", "b"]),
        &json!([
            file(
                "lists",
                "names.txt",
                "z{{ draw.b }}\na{{ draw.a }}\nz{{ draw.b }}\n"
            ),
            file("lists", "other.txt", "{{ draw.a }}\n{{ draw.a }}\n"),
        ]),
        &[equals(
            "lists",
            "names.txt",
            "z{{ draw.b }}\na{{ draw.a }}\n",
        )],
        &[unchanged("lists", &["names.txt"])],
    )
}

fn upper_case(_: &str) -> Value {
    let health = json!({ "type": "request", "path": "/health", "status": 200 });
    json!({
        "name": "upper-case", "purpose": "Answers a posted text in capital letters", "kind": "service",
        "command": ["python3", "/app/main.py"],
        "trigger": { "type": "service", "port": 8080, "publish": 0, "health_path": "/health" },
        "acceptance": {
            "draw": { "t": { "type": "text", "words": 5 } },
            "smoke": { "name": "it answers", "steps": [{ "type": "start" }, health, { "type": "stop" }] },
            "cases": [{
                "name": "a text comes back in capitals",
                "steps": [{ "type": "start" }],
                "probes": [{ "name": "effect 1", "holds": "effect", "check": {
                    "type": "http", "method": "POST", "path": "/", "body": "{{ draw.t }}", "status": 200,
                    "content": { "equals": "{{ draw.t | upper }}" },
                } }],
            }],
        },
    })
}

fn months(base: &str) -> Value {
    script(
        ("months", "Joins daily files into one file a month"),
        (base, &[("days", "read"), ("months", "write")]),
        &words(&["a", "b", "c"]),
        &json!([
            file("days", "2024-03-02.log", "{{ draw.b }}\n"),
            file("days", "2024-03-01.log", "{{ draw.a }}\n"),
            file("days", "2024-04-01.log", "{{ draw.c }}\n"),
        ]),
        &[
            equals("months", "2024-03.log", "{{ draw.a }}\n{{ draw.b }}\n"),
            equals("months", "2024-04.log", "{{ draw.c }}\n"),
        ],
        &[unchanged("days", &[])],
    )
}

fn checksums(base: &str) -> Value {
    script(
        ("checksums", "Writes the SHA-256 of every file"),
        (base, &[("release", "read"), ("sums", "write")]),
        &words(&["a", "x", "y"]),
        &json!([
            file("release", "a-{{ draw.a }}.bin", "{{ draw.x }}"),
            file("release", "sub/z.bin", "{{ draw.y }}"),
        ]),
        &[equals(
            "sums",
            "SHA256SUMS",
            "{{ draw.x | sha256 }}  a-{{ draw.a }}.bin\n{{ draw.y | sha256 }}  sub/z.bin\n",
        )],
        &[unchanged("release", &[])],
    )
}

/// All ten.
pub(crate) static WISHES: [Wish; 10] = [
    Wish {
        name: "number-photos",
        sentence: "rename the photos in ./photos to photo-001.jpg, photo-002.jpg and so on, in the order of their names",
        real: &[("photos/b.jpg", "b"), ("photos/a.jpg", "a")],
        spec: number_photos,
        bad: "import os\nat = '/data/photos'\nphotos = sorted(n for n in os.listdir(at) if n.endswith('.jpg'))\nfor number, name in enumerate(photos):\n    os.rename(f'{at}/{name}', f'{at}/photo-{number:03}.jpg')\n",
        good: "import os\nat = '/data/photos'\nphotos = sorted(n for n in os.listdir(at) if n.endswith('.jpg'))\nfor number, name in enumerate(photos, 1):\n    os.rename(f'{at}/{name}', f'{at}/photo-{number:03}.jpg')\n",
    },
    Wish {
        name: "split-book",
        sentence: "cut the text ./book/all.txt at its headings into one file for each chapter in ./chapters",
        real: &[("book/all.txt", "# one\nx\n"), ("chapters/old.txt", "")],
        spec: split_book,
        // It does not even parse.
        bad: "out = None\nfor line in open('/data/book/all.txt')\n    print(line)\n",
        good: "out = None\nfor line in open('/data/book/all.txt'):\n    if line.startswith('# '):\n        out = open(f'/data/chapters/{line[2:].strip()}.txt', 'w')\n    elif out:\n        out.write(line)\n",
    },
    Wish {
        name: "title-index",
        sentence: "write an index.md in ./pages that links the title of every Markdown page there",
        real: &[("pages/a.md", "# A\n")],
        spec: title_index,
        // It dies.
        bad: "from pathlib import Path\nfor page in Path('/data/page').iterdir():\n    print(page.read_text())\nraise SystemExit('no pages')\n",
        good: "from pathlib import Path\nat = Path('/data/pages')\nlines = []\nfor page in sorted(at.glob('*.md')):\n    if page.name != 'index.md':\n        title = page.read_text().splitlines()[0].lstrip('# ')\n        lines.append(f'- [{title}]({page.name})\\n')\n(at / 'index.md').write_text(''.join(lines))\n",
    },
    Wish {
        name: "compare-folders",
        sentence: "compare the folders ./left and ./right and list in ./differences which files are not the same",
        real: &[("left/a", "1"), ("right/b", "2"), ("differences/old", "")],
        spec: compare_folders,
        bad: "import os\nleft, right = set(os.listdir('/data/left')), set(os.listdir('/data/right'))\nlines = [f'< {n}\\n' for n in sorted(left - right)] + [f'> {n}\\n' for n in sorted(right - left)]\nopen('/data/differences/list.txt', 'w').write(''.join(lines))\n",
        good: "import filecmp, os\nleft, right = set(os.listdir('/data/left')), set(os.listdir('/data/right'))\nlines = [f'< {n}\\n' for n in sorted(left - right)] + [f'> {n}\\n' for n in sorted(right - left)]\nfor name in sorted(left & right):\n    if not filecmp.cmp(f'/data/left/{name}', f'/data/right/{name}', shallow=False):\n        lines.append(f'! {name}\\n')\nopen('/data/differences/list.txt', 'w').write(''.join(lines))\n",
    },
    Wish {
        name: "count-words",
        sentence: "count the words of each text file in ./texts and keep the numbers as JSON in ./counts",
        real: &[("texts/a.txt", "one two\n"), ("counts/old", "")],
        spec: count_words,
        bad: "import json\nfrom pathlib import Path\ncounts = {p.name: len(p.read_text()) for p in Path('/data/texts').iterdir()}\nopen('/data/counts/words.json', 'w').write(json.dumps(counts))\n",
        good: "import json\nfrom pathlib import Path\ncounts = {p.name: len(p.read_text().split()) for p in Path('/data/texts').iterdir()}\nopen('/data/counts/words.json', 'w').write(json.dumps(counts))\n",
    },
    Wish {
        name: "settings-to-json",
        sentence: "turn the key=value lines of ./settings/app.conf into JSON in ./settings/app.json",
        real: &[("settings/app.conf", "a=1\n")],
        spec: settings_to_json,
        bad: "import json\nmade = {}\nfor line in open('/data/settings/app.conf'):\n    key, value = line.split('=')\n    made[key.strip()] = value.strip()\nopen('/data/settings/app.json', 'w').write(json.dumps(made))\n",
        good: "import json\nmade = {}\nfor line in open('/data/settings/app.conf'):\n    if '=' in line and not line.startswith('#'):\n        key, value = line.split('=', 1)\n        made[key.strip()] = value.strip()\nopen('/data/settings/app.json', 'w').write(json.dumps(made))\n",
    },
    Wish {
        name: "unique-lines",
        sentence: "remove repeated lines from ./lists/names.txt and keep the first of each",
        real: &[("lists/names.txt", "a\nb\na\n")],
        spec: unique_lines,
        bad: "lines = open('/data/lists/names.txt').read().splitlines()\nopen('/data/lists/names.txt', 'w').write('\\n'.join(sorted(set(lines))) + '\\n')\n",
        good: "lines = open('/data/lists/names.txt').read().splitlines()\nopen('/data/lists/names.txt', 'w').write('\\n'.join(dict.fromkeys(lines)) + '\\n')\n",
    },
    Wish {
        name: "upper-case",
        sentence: "a web service that answers each posted text in capital letters",
        real: &[],
        spec: upper_case,
        bad: "from http.server import BaseHTTPRequestHandler, HTTPServer\nclass Answers(BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        self.end_headers()\n    def do_POST(self):\n        text = self.rfile.read(int(self.headers['content-length']))\n        self.send_response(200)\n        self.end_headers()\n        self.wfile.write(text)\nHTTPServer(('0.0.0.0', 8080), Answers).serve_forever()\n",
        good: "from http.server import BaseHTTPRequestHandler, HTTPServer\nclass Answers(BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        self.end_headers()\n    def do_POST(self):\n        text = self.rfile.read(int(self.headers['content-length']))\n        self.send_response(200)\n        self.end_headers()\n        self.wfile.write(text.decode().upper().encode())\nHTTPServer(('0.0.0.0', 8080), Answers).serve_forever()\n",
    },
    Wish {
        name: "months",
        sentence: "join the daily files in ./days by the date in their names into one file for each month in ./months",
        real: &[("days/2024-01-01.log", "x\n"), ("months/old", "")],
        spec: months,
        bad: "import os\nfor name in os.listdir('/data/days'):\n    open(f'/data/months/{name[:7]}.log', 'w').write(open(f'/data/days/{name}').read())\n",
        good: "import os\nmonths = {}\nfor name in sorted(os.listdir('/data/days')):\n    months.setdefault(name[:7], []).append(open(f'/data/days/{name}').read())\nfor month, texts in months.items():\n    open(f'/data/months/{month}.log', 'w').write(''.join(texts))\n",
    },
    Wish {
        name: "checksums",
        sentence: "write the SHA-256 of every file in ./release into a list in ./sums",
        real: &[("release/a.bin", "a"), ("sums/old", "")],
        spec: checksums,
        bad: "import hashlib, os\nlines = []\nfor name in sorted(os.listdir('/data/release')):\n    if os.path.isfile(f'/data/release/{name}'):\n        lines.append(hashlib.sha256(open(f'/data/release/{name}', 'rb').read()).hexdigest() + f'  {name}\\n')\nopen('/data/sums/SHA256SUMS', 'w').write(''.join(lines))\n",
        good: "import hashlib\nfrom pathlib import Path\nat = Path('/data/release')\nlines = []\nfor path in sorted(p for p in at.rglob('*') if p.is_file()):\n    lines.append(f'{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(at)}\\n')\nopen('/data/sums/SHA256SUMS', 'w').write(''.join(sorted(lines, key=lambda line: line[66:])))\n",
    },
];

/// The wish of that name.
pub(crate) fn wish(name: &str) -> &'static Wish {
    WISHES.iter().find(|wish| wish.name == name).unwrap()
}
