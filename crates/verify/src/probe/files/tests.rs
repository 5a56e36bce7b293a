//! Probes of files against honest and lying folders.

use crate::beneath::NewFile;
use crate::probe::{Finding, Plan, Runs, look};
use crate::template::tests::{scope, spec};
use crate::world::World;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

struct Folder {
    dir: tempfile::TempDir,
    world: World<'static>,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(&spec(), dir.path(), None).unwrap();
        Self { dir, world }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("data/source").join(name)
    }

    fn write(&self, path: &str, content: &[u8]) {
        let new = NewFile {
            path,
            content,
            mode: 0o644,
            changed_at: None,
        };
        self.world.root("source").unwrap().write(&new).unwrap();
    }

    async fn ask(&self, check: Value) -> Finding {
        let mut check = check;
        check["folder"] = json!("source");
        let check = serde_json::from_value(check).unwrap();
        let plan = Plan::render(&check, &scope(), None).unwrap();
        look(&plan, &self.world, None, Runs::None).await
    }

    async fn holds(&self, check: Value) -> bool {
        self.ask(check).await.holds
    }
}

#[tokio::test]
async fn files_exist_in_the_wanted_number() {
    let folder = Folder::new();
    let any = json!({"type": "file_exists", "path": "*.zip"});
    let two = json!({"type": "file_exists", "path": "*.zip", "count": "{{ draw.rows|length }}"});
    assert!(!folder.holds(any.clone()).await);
    folder.write("a.zip", b"");
    assert!(folder.holds(any).await);
    assert!(!folder.holds(two.clone()).await);
    folder.write("b.zip", b"");
    assert!(folder.holds(two.clone()).await);
    folder.write("c.zip", b"");
    let finding = folder.ask(two).await;
    assert!(
        finding.found.contains("3 (a.zip, b.zip, c.zip)"),
        "{}",
        finding.found
    );
}

#[tokio::test]
async fn links_pipes_and_directories_are_no_files() {
    let folder = Folder::new();
    symlink("/etc/passwd", folder.path("a.zip")).unwrap();
    std::fs::create_dir(folder.path("b.zip")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.path("c.zip"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    let finding = folder
        .ask(json!({"type": "file_exists", "path": "*.zip"}))
        .await;
    assert!(!finding.holds);
    assert!(
        finding.found.contains("does not count"),
        "{}",
        finding.found
    );
    for check in [
        json!({"type": "file_content", "path": "a.zip", "content": {"contains": ["root"]}}),
        json!({"type": "file_content", "path": "c.zip", "content": {"lacks": ["x"]}}),
        json!({"type": "file_size", "path": "a.zip", "min": 0}),
        json!({"type": "file_mode", "path": "b.zip", "mode": "755"}),
        json!({"type": "archive", "path": "a.zip", "entries": {}}),
        json!({"type": "sqlite_rows", "path": "c.zip", "query": "SELECT 1", "rows": "[[1]]"}),
    ] {
        let finding = folder.ask(check.clone()).await;
        assert!(!finding.holds, "{check}");
        assert!(
            finding.found.contains(" is a "),
            "{check}: {}",
            finding.found
        );
    }
    assert!(
        !folder
            .holds(json!({"type": "file_absent", "path": "a.zip"}))
            .await
    );
    let tree = folder.ask(json!({"type": "tree", "files": ""})).await;
    assert!(!tree.holds);
}

#[tokio::test]
async fn a_directory_link_leads_nowhere() {
    let folder = Folder::new();
    symlink("/etc", folder.path("etc")).unwrap();
    assert!(
        !folder
            .holds(json!({"type": "file_exists", "path": "etc/passwd"}))
            .await
    );
    assert!(
        !folder
            .holds(json!({"type": "file_content", "path": "**/passwd", "content": {"contains": ["root"]}}))
            .await
    );
}

#[tokio::test]
async fn content_is_that_of_the_newest_file() {
    let folder = Folder::new();
    folder.write("new.txt", b"new");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(5);
    let older = NewFile {
        path: "z-old.txt",
        content: b"old",
        mode: 0o600,
        changed_at: Some(old),
    };
    folder.world.root("source").unwrap().write(&older).unwrap();
    let content =
        |text: &str| json!({"type": "file_content", "path": "*.txt", "content": {"equals": text}});
    assert!(folder.holds(content("new")).await);
    assert!(!folder.holds(content("old")).await);
    assert!(
        folder
            .holds(json!({"type": "file_mode", "path": "z-old.txt", "mode": "600"}))
            .await
    );
    assert!(
        !folder
            .holds(json!({"type": "file_mode", "path": "new.txt", "mode": "600"}))
            .await
    );
    assert!(
        folder
            .holds(json!({"type": "file_size", "path": "new.txt", "min": 3, "max": 3}))
            .await
    );
    assert!(
        !folder
            .holds(json!({"type": "file_size", "path": "new.txt", "min": 4}))
            .await
    );
}

#[tokio::test]
async fn a_huge_file_is_not_read() {
    let folder = Folder::new();
    std::fs::File::create(folder.path("huge.txt"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    for check in [
        json!({"type": "file_content", "path": "huge.txt", "content": {"lacks": ["x"]}}),
        json!({"type": "sqlite_rows", "path": "huge.txt", "query": "SELECT 1", "rows": "[[1]]"}),
        json!({"type": "unchanged"}),
    ] {
        let finding = folder.ask(check.clone()).await;
        assert!(!finding.holds, "{check}");
        assert!(
            finding.found.contains("larger") || finding.found.contains("too much"),
            "{}",
            finding.found
        );
    }
}

#[tokio::test]
async fn a_tree_is_exact() {
    let folder = Folder::new();
    folder.write("b/two.txt", b"");
    folder.write("one.txt", b"");
    let tree = |files: &str| json!({"type": "tree", "files": files});
    assert!(folder.holds(tree("one.txt\n\n b/two.txt \n")).await);
    let finding = folder.ask(tree("one.txt\nthree.txt")).await;
    assert_eq!(finding.found, "missing: three.txt; not expected: b/two.txt");
}

#[tokio::test]
async fn an_archive_is_looked_into() {
    let folder = Folder::new();
    let mut zip = zip::ZipWriter::new(std::fs::File::create(folder.path("a.zip")).unwrap());
    zip.start_file("n/abc.txt", zip::write::SimpleFileOptions::default())
        .unwrap();
    zip.write_all(b"hello").unwrap();
    zip.finish().unwrap();
    let archive = |content: &str, count: &str| {
        json!({"type": "archive", "path": "*.zip", "count": count,
               "entries": {"n/{{ draw.word }}.txt": {"equals": content}}})
    };
    assert!(folder.holds(archive("hello", "1")).await);
    assert!(!folder.holds(archive("other", "1")).await);
    assert!(!folder.holds(archive("hello", "2")).await);
    folder.write("b.zip", b"PK not really");
    assert!(!folder.holds(archive("hello", "1")).await);
}

#[tokio::test]
async fn rows_of_sqlite_are_compared() {
    let folder = Folder::new();
    let file = folder.path("a.db");
    let statements = [
        "CREATE TABLE t (a, b)".to_owned(),
        "INSERT INTO t VALUES ('x', 1)".into(),
    ];
    crate::probe::rows::make_sqlite(&file, &statements)
        .await
        .unwrap();
    let rows = |rows: &str| json!({"type": "sqlite_rows", "path": "a.db", "query": "SELECT a, b FROM t", "rows": rows});
    assert!(folder.holds(rows("[[\"x\", 1]]")).await);
    assert!(!folder.holds(rows("[]")).await);
}

#[tokio::test]
async fn unchanged_sees_every_change_but_the_excepted() {
    let mut folder = Folder::new();
    folder.write("a", b"1");
    folder.world.set_baselines().unwrap();
    assert!(folder.holds(json!({"type": "unchanged"})).await);
    folder.write("out/x.zip", b"");
    assert!(!folder.holds(json!({"type": "unchanged"})).await);
    let excepted = json!({"type": "unchanged", "except": ["out/*.zip"]});
    assert!(folder.holds(excepted.clone()).await);
    folder.write("out/y.txt", b"");
    let finding = folder.ask(excepted).await;
    assert!(
        finding.found.contains("out/y.txt is new"),
        "{}",
        finding.found
    );
}

#[test]
fn checks_that_cannot_be_asked_are_errors_of_the_spec() {
    for (check, why) in [
        (
            json!({"type": "file_exists", "folder": "source", "path": "../x"}),
            "must be relative",
        ),
        (
            json!({"type": "file_exists", "folder": "source", "path": "["}),
            "glob",
        ),
        (
            json!({"type": "file_exists", "folder": "source", "path": "a", "count": "many"}),
            "whole number",
        ),
        (
            json!({"type": "file_mode", "folder": "source", "path": "a", "mode": "9"}),
            "not octal",
        ),
        (
            json!({"type": "file_size", "folder": "source", "path": "a"}),
            "give min",
        ),
        (
            json!({"type": "sqlite_rows", "folder": "source", "path": "a", "query": "q", "rows": "[1]"}),
            "array of arrays",
        ),
        (json!({"type": "http", "path": "/"}), "only a service"),
        (
            json!({"type": "http_seen", "host": "x", "path": "/"}),
            "host:port",
        ),
        (
            json!({"type": "http_seen", "host": "x:1", "path": "nope"}),
            "must begin with /",
        ),
        (
            json!({"type": "http_seen", "host": "x:1", "path": "/", "method": "get"}),
            "upper case",
        ),
        (json!({"type": "process", "argument": ""}), "empty argument"),
        (
            json!({"type": "unchanged", "folder": "source", "except": ["{{ nope }}"]}),
            "undefined",
        ),
    ] {
        let parsed = serde_json::from_value(check.clone()).unwrap();
        let error = Plan::render(&parsed, &scope(), None).unwrap_err();
        assert!(error.contains(why), "{check}: {error}");
    }
}
