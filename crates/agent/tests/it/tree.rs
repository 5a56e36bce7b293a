//! What is left in the workspace is looked at before anything of it is taken.

use std::os::unix::fs::{PermissionsExt, symlink};

use agentwright_agent::{CoderLimits, Protected, TreeProblem, inspect};
use rustix::fs::{FileType, Mode};

fn look(prepare: impl FnOnce(&std::path::Path)) -> Result<Vec<String>, TreeProblem> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("main.py"), "x").unwrap();
    prepare(dir.path());
    let limits = CoderLimits {
        files: 10,
        file_bytes: 100,
        total_bytes: 500,
        ..CoderLimits::default()
    };
    let protected = Protected::new(["acceptance", ".git"]);
    Ok(inspect(dir.path(), &limits, &protected)?
        .into_iter()
        .map(|f| f.path)
        .collect())
}

#[test]
fn plain_files_are_listed_with_their_digests_and_caches_and_protected_names_are_not() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("a/__pycache__")).unwrap();
    std::fs::create_dir_all(dir.path().join(".git/hooks")).unwrap();
    std::fs::write(dir.path().join(".git/hooks/pre-commit"), "evil").unwrap();
    std::fs::write(dir.path().join("a/__pycache__/x.pyc"), [0, 1]).unwrap();
    let script = dir.path().join("a/run.sh");
    std::fs::write(&script, "abc").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let found = inspect(
        dir.path(),
        &CoderLimits::default(),
        &Protected::new([".git"]),
    )
    .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].path.as_str(), found[0].bytes, found[0].executable),
        ("a/run.sh", 3, true)
    );
    assert!(found[0].sha256.starts_with("ba7816bf8f01cfea"));
}

#[test]
fn a_tree_that_is_not_plain_is_refused_as_a_whole() {
    let node = |path: std::path::PathBuf, kind| {
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, Mode::from_raw_mode(0o644), 0).unwrap();
    };
    assert!(matches!(
        look(|d| symlink("/etc/passwd", d.join("l")).unwrap()),
        Err(TreeProblem::Link(_))
    ));
    assert!(matches!(
        look(|d| symlink("main.py", d.join("l")).unwrap()),
        Err(TreeProblem::Link(_))
    ));
    assert!(matches!(
        look(|d| symlink("/", d.join("dir")).unwrap()),
        Err(TreeProblem::Link(_))
    ));
    assert!(matches!(
        look(|d| node(d.join("f"), FileType::Fifo)),
        Err(TreeProblem::Special(_))
    ));
    assert!(matches!(
        look(|d| node(d.join("s"), FileType::Socket)),
        Err(TreeProblem::Special(_))
    ));
    let suid = |mode: u32| {
        move |d: &std::path::Path| {
            std::fs::set_permissions(d.join("main.py"), std::fs::Permissions::from_mode(mode))
                .unwrap();
        }
    };
    assert!(matches!(look(suid(0o4755)), Err(TreeProblem::Identity(_))));
    assert!(matches!(look(suid(0o2755)), Err(TreeProblem::Identity(_))));
    assert!(matches!(
        look(|d| std::fs::hard_link(d.join("main.py"), d.join("b")).unwrap()),
        Err(TreeProblem::HardLink(_))
    ));
    assert!(matches!(
        look(|d| std::fs::write(d.join("a\nb"), "").unwrap()),
        Err(TreeProblem::Name(_))
    ));
    assert!(matches!(
        look(|d| std::fs::create_dir_all(d.join("a/".repeat(40))).unwrap()),
        Err(TreeProblem::Name(_))
    ));
}

#[test]
fn too_many_too_large_and_too_much_together_are_refused() {
    let many = |d: &std::path::Path| {
        (0..10).for_each(|i| std::fs::write(d.join(format!("f{i}")), "").unwrap());
    };
    assert_eq!(look(many), Err(TreeProblem::TooMany { limit: 10 }));
    let large = |d: &std::path::Path| std::fs::write(d.join("big"), [b'x'; 101]).unwrap();
    assert!(matches!(
        look(large),
        Err(TreeProblem::TooLarge { limit: 100, .. })
    ));
    let together = |d: &std::path::Path| {
        (0..6).for_each(|i| std::fs::write(d.join(format!("f{i}")), [b'x'; 90]).unwrap());
    };
    assert!(matches!(
        look(together),
        Err(TreeProblem::TooLargeTogether { limit: 500 })
    ));
    let sparse = |d: &std::path::Path| {
        std::fs::File::create(d.join("s"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
    };
    assert!(matches!(look(sparse), Err(TreeProblem::TooLarge { .. })));
}
