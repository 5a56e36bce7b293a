//! Services: started, asked, stopped, and judged by their real state.

use crate::support::*;
use agentwright_domain::evidence::Level;
use agentwright_verify::Settings;
use serde_json::{Value, json};
use std::time::Duration;

fn notes_spec() -> Value {
    json!({
        "format": 1, "name": "notes", "purpose": "keeps notes", "kind": "service",
        "command": ["python3", "/app/main.py"],
        "permissions": {},
        "trigger": {"type": "service", "port": 8123, "publish": 0, "health_path": "/health"},
        "acceptance": {
            "draw": {"text": {"type": "word", "length": 10}},
            "smoke": {"name": "it answers", "steps": [
                {"type": "start"}, {"type": "request", "path": "/health", "status": 200}, {"type": "stop"}]},
            "cases": [{
                "name": "a note survives a restart",
                "steps": [
                    {"type": "start"},
                    {"type": "request", "method": "POST", "path": "/notes", "body": "{\"text\": \"{{ draw.text }}\"}",
                        "headers": {"Content-Type": "application/json"}, "status": 201, "save": {"id": "/id"}},
                    {"type": "stop"},
                    {"type": "start"},
                    {"type": "request", "path": "/notes/999", "status": 404}
                ],
                "probes": [
                    {"name": "it is read back", "holds": "effect", "check": {"type": "http", "path": "/notes/{{ saved.id }}",
                        "content": {"json": {"/text": "\"{{ draw.text }}\""}}}},
                    {"name": "it is a row", "holds": "effect", "check": {"type": "sqlite_rows", "folder": "state", "path": "*.db",
                        "query": "SELECT text FROM notes", "rows": "[[\"{{ draw.text }}\"]]"}},
                    {"name": "the port is open", "holds": "effect", "check": {"type": "tcp", "port": 8123}},
                    {"name": "the process is there", "holds": "effect", "check": {"type": "process", "argument": "/app/main.py"}}
                ]
            }]
        }
    })
}

const NOTES: &str = r#"
import http.server, json, sqlite3
db = sqlite3.connect("/state/notes.db", check_same_thread=False)
db.execute("PRAGMA journal_mode=WAL")
db.execute("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT)")
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, {"ok": True})
        row = db.execute("SELECT id, text FROM notes WHERE id = ?", (self.path.split("/")[-1],)).fetchone()
        self.answer(200, {"id": row[0], "text": row[1]}) if row else self.answer(404, {})
    def do_POST(self):
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        with db:
            id = db.execute("INSERT INTO notes (text) VALUES (?)", (text,)).lastrowid
        self.answer(201, {"id": id})
http.server.ThreadingHTTPServer(("127.0.0.1", 8123), Handler).serve_forever()
"#;

#[tokio::test]
async fn an_honest_service_passes() {
    let done = verify(&notes_spec(), &[("main.py", NOTES)]).await;
    done.assert_passed();
    let case = done.kept.json("case-1.json");
    assert!(
        case["after"]["state"]
            .as_object()
            .unwrap()
            .contains_key("notes.db")
    );
}

async fn stopped(code: &str, level: Level, why: &str) {
    let done = verify(&notes_spec(), &[("main.py", code)]).await;
    done.assert_stopped(level, why);
}

#[tokio::test]
async fn a_service_that_keeps_nothing_is_stopped() {
    let code = NOTES
        .replace("/state/notes.db", ":memory:")
        .replace("PRAGMA journal_mode=WAL", "SELECT 1");
    stopped(&code, Level::Assertion, "it is read back: expected").await;
}

#[tokio::test]
async fn a_service_that_ends_at_once_is_stopped() {
    stopped(
        "raise SystemExit('no port')",
        Level::Smoke,
        "ended while it was starting: ended with exit code 1; its last words: no port",
    )
    .await;
}

#[tokio::test]
async fn a_service_that_never_becomes_healthy_is_stopped() {
    let verifier = verifier_with(Settings {
        start_limit: Duration::from_secs(2),
        ..Settings::default()
    });
    let app = app(&[("main.py", "import time\ntime.sleep(600)")]);
    let done = verify_at(&verifier, &notes_spec(), app.path(), [5; 32]).await;
    done.assert_stopped(
        Level::Smoke,
        "did not answer 200 on /health at port 8123 within 2 s",
    );
}

#[tokio::test]
async fn a_service_that_dies_while_it_is_asked_is_stopped() {
    let code = NOTES.replace(
        "def do_POST(self):",
        "def do_POST(self):\n        import os; os._exit(9)",
    );
    stopped(
        &code,
        Level::Assertion,
        "the service ended: ended with exit code 9",
    )
    .await;
}

#[tokio::test]
async fn a_wrong_status_is_stopped() {
    stopped(
        &NOTES.replace("self.answer(404, {})", "self.answer(200, {})"),
        Level::Assertion,
        "answered 200, 404 was expected",
    )
    .await;
}

#[tokio::test]
async fn an_answer_without_what_is_kept_is_stopped() {
    stopped(
        &NOTES.replace("{\"id\": id}", "{}"),
        Level::Assertion,
        "answered nothing at \"/id\"",
    )
    .await;
}

#[tokio::test]
async fn a_service_that_ends_by_itself_is_stopped() {
    // Ends when it is asked a second time, before it answers.
    let code = NOTES.replace(
        "        if self.path == \"/health\":\n",
        "        if self.path == \"/health\":\n            import os, pathlib\n            seen = pathlib.Path(\"/tmp/seen\")\n            \
         if seen.exists(): os._exit(0)\n            seen.touch()\n",
    );
    stopped(
        &code,
        Level::Smoke,
        "the service ended: ended with exit code 0",
    )
    .await;
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let code = NOTES.replace(
        "        self.answer(200, {\"id\": row[0], \"text\": row[1]}) if row",
        "        self.answer(200, {\"id\": row[0], \"text\": row[1], \"more\": \"x\" * (5 << 20)}) if row",
    );
    stopped(&code, Level::Assertion, "length limit exceeded").await;
}
