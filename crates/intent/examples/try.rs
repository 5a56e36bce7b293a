//! scratch
use agentwright_intent::*;
use std::collections::BTreeMap;
use std::path::Path;
fn walk(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "__pycache__") {
                walk(root, &path, files);
            }
        } else {
            files.insert(
                path.strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
                std::fs::read(&path).unwrap(),
            );
        }
    }
}
fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../foundations");
    let mut all = vec![];
    let mut dirs: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    dirs.sort();
    for d in dirs {
        let mut files = BTreeMap::new();
        walk(&d, &d, &mut files);
        match Foundation::parse(&FoundationSource { files }) {
            Ok(f) => all.push(f),
            Err(p) => {
                for p in p {
                    println!("{} {p}", d.display());
                }
            }
        }
    }
    let spec_too = std::env::args().nth(1).as_deref() == Some("spec");
    let ctx = Context {
        base_dir: "/home/ada/work".into(),
        home: Some("/home/ada".into()),
        zone: "Europe/Berlin".into(),
        ..Default::default()
    };
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        if line.trim().is_empty() {
            continue;
        }
        println!("> {line}");
        match understand(&line, &ctx, &all) {
            Ok(p) => {
                println!(
                    "  {} ({:.2}) {} | {} | {}",
                    p.foundation,
                    p.confidence,
                    p.name,
                    describe(&p.trigger),
                    p.said
                        .iter()
                        .map(|k| format!("{k}={}", p.inputs[k]))
                        .collect::<Vec<_>>()
                        .join(" ")
                );
                for q in &p.missing {
                    println!("  ? {}: {}", q.input, q.question);
                }
                if p.missing.is_empty() {
                    let f = all
                        .iter()
                        .find(|f| f.manifest.name == p.foundation)
                        .unwrap();
                    match spec(&p, f) {
                        Ok(s) => {
                            if spec_too {
                                println!("{}", serde_json::to_string_pretty(&s).unwrap());
                            }
                            println!("  $ {}", s.command.join(" "));
                            f.files(&s.inputs, p.name.as_str()).unwrap();
                        }
                        Err(e) => println!("  SPEC {e:?}"),
                    }
                }
            }
            Err(r) => {
                let t = r.to_string();
                println!("  REFUSED {}", t.lines().next().unwrap_or(""));
            }
        }
    }
}
