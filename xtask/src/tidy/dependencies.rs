//! ARCHITECTURE.md's two tables of dependencies against what the manifests declare.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata};

/// The heading of the table of our own crates.
const OURS: &str = "## Who may use whom";
/// The heading of the table of everybody else's.
const OTHERS: &str = "## Dependencies";
/// In Cargo.toml our crates carry this prefix, in ARCHITECTURE.md they do not.
const PREFIX: &str = "agentwright-";
/// Used by tests only, and by what measures.
const FOR_TESTS: &str = "testkit";
/// Never part of the product.
const MEASURES: &str = "bench";

type Names = BTreeSet<String>;

/// What one crate may use of ours, and what it must never depend on.
#[derive(Debug, Default, PartialEq)]
struct Row {
    uses: Names,
    never: Names,
}

/// Complaints where a crate uses ours beyond its row, has a row that says too much, or depends on
/// something that its row forbids.
pub(crate) fn ours(architecture: &str, metadata: &Metadata) -> Vec<String> {
    let table = table(architecture);
    let members: BTreeSet<_> = metadata.workspace_members.iter().collect();
    let mut declared = BTreeMap::new();
    for package in metadata.packages.iter().filter(|p| members.contains(&p.id)) {
        let uses: Names = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
            .map(|dependency| dependency.name.clone())
            .collect();
        declared.insert(short(&package.name).to_owned(), uses);
    }
    compare(&table, &declared)
}

fn compare(table: &BTreeMap<String, Row>, declared: &BTreeMap<String, Names>) -> Vec<String> {
    let mut complaints = Vec::new();
    for name in table.keys().filter(|name| !declared.contains_key(*name)) {
        complaints.push(format!(
            "ARCHITECTURE.md, \"Who may use whom\": there is no crate {name}"
        ));
    }
    for (name, all) in declared {
        let Some(row) = table.get(name) else {
            complaints.push(format!(
                "ARCHITECTURE.md, \"Who may use whom\": the crate {name} has no row"
            ));
            continue;
        };
        let uses: Names = all
            .iter()
            .filter_map(|d| d.strip_prefix(PREFIX))
            .map(str::to_owned)
            .collect();
        for other in uses.difference(&row.uses) {
            complaints.push(format!(
                "{name} uses {other}, which its row in ARCHITECTURE.md does not allow"
            ));
        }
        for other in row.uses.difference(&uses) {
            complaints.push(format!(
                "{name} does not use {other}, though its row in ARCHITECTURE.md says so"
            ));
        }
        for other in row.never.intersection(all) {
            complaints.push(format!("{name} must never depend on {other}"));
        }
        if uses.contains(FOR_TESTS) && name != MEASURES {
            complaints.push(format!("{name}: {FOR_TESTS} is for dev-dependencies only"));
        }
    }
    complaints
}

/// Complaints where a dependency in the root manifest has no reason in ARCHITECTURE.md, or the
/// other way round.
pub(crate) fn others(architecture: &str, manifest: &str) -> Vec<String> {
    let Ok(manifest) = manifest.parse::<toml::Table>() else {
        return vec!["Cargo.toml cannot be read as TOML".to_owned()];
    };
    let declared: Names = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(|table| table.keys())
        .filter(|name| !name.starts_with(PREFIX))
        .cloned()
        .collect();
    let reasons: Names = rows(architecture, OTHERS)
        .flat_map(|cells| quoted(cells.first().copied().unwrap_or_default()))
        .collect();
    let missing = declared
        .difference(&reasons)
        .map(|name| format!("ARCHITECTURE.md, \"Dependencies\": {name} has no reason there"));
    let stale = reasons.difference(&declared).map(|name| {
        format!("ARCHITECTURE.md, \"Dependencies\": {name} is not in the root Cargo.toml")
    });
    missing.chain(stale).collect()
}

fn table(architecture: &str) -> BTreeMap<String, Row> {
    let mut table = BTreeMap::new();
    for cells in rows(architecture, OURS) {
        let cell = |i: usize| quoted(cells.get(i).copied().unwrap_or_default());
        for name in cell(0) {
            table.insert(
                name,
                Row {
                    uses: cell(1).collect(),
                    never: cell(2).collect(),
                },
            );
        }
    }
    table
}

/// The rows of the first table below a heading, without its head.
fn rows<'a>(text: &'a str, heading: &str) -> impl Iterator<Item = Vec<&'a str>> {
    text.lines()
        .skip_while(move |line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// The words in backticks.
fn quoted(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A page\n\n## Who may use whom\n\nWords.\n\n| crate | uses | never |\n|---|---|---|\n| `domain` | – | `tokio` |\n| `store` | `domain` | |\n\n## Dependencies\n\n| crate | reason |\n|---|---|\n| `serde`, `serde_json` | data |\n";

    fn declared(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Names> {
        pairs
            .iter()
            .map(|(name, uses)| {
                (
                    (*name).to_owned(),
                    uses.iter().map(|u| (*u).to_owned()).collect(),
                )
            })
            .collect()
    }

    #[test]
    fn a_workspace_that_matches_its_table_has_no_complaints() {
        let found = compare(
            &table(PAGE),
            &declared(&[("domain", &["serde"]), ("store", &["agentwright-domain"])]),
        );
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn every_way_of_not_matching_is_named() {
        let found = compare(
            &table(PAGE),
            &declared(&[
                ("domain", &["tokio", "agentwright-store"]),
                ("extra", &[]),
                ("store", &["agentwright-testkit"]),
            ]),
        );
        let text = found.join("\n");
        for part in [
            "domain uses store",
            "domain must never depend on tokio",
            "extra has no row",
            "store uses testkit",
            "store does not use domain",
            "testkit is for dev-dependencies only",
        ] {
            assert!(text.contains(part), "{part} not in:\n{text}");
        }
        let gone = compare(&table(PAGE), &declared(&[("domain", &[])]));
        assert!(gone.join("\n").contains("there is no crate store"));
    }

    #[test]
    fn every_dependency_has_a_reason_and_every_reason_a_dependency() {
        let manifest = "[workspace.dependencies]\nserde = \"1\"\nrand = \"1\"\nagentwright-x = { path = \"x\" }\n";
        assert_eq!(
            others(PAGE, manifest),
            [
                "ARCHITECTURE.md, \"Dependencies\": rand has no reason there",
                "ARCHITECTURE.md, \"Dependencies\": serde_json is not in the root Cargo.toml",
            ]
        );
        assert_eq!(others(PAGE, "not toml").len(), 1);
    }
}
