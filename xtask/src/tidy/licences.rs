//! Every dependency's licence and name against `deny.toml`, so that both hold without cargo-deny too.

use cargo_metadata::Package;

/// Complaints about packages whose licence is not allowed or whose name is banned.
pub(crate) fn check(deny: &str, packages: &[Package]) -> Vec<String> {
    let Ok(deny) = deny.parse::<toml::Table>() else {
        return vec!["deny.toml cannot be read as TOML".to_owned()];
    };
    let list = |section: &str, key: &str| {
        deny.get(section)
            .and_then(|table| table.get(key))
            .and_then(toml::Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let allowed: Vec<String> = list("licenses", "allow")
        .iter()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect();
    let banned: Vec<String> = list("bans", "deny")
        .iter()
        .filter_map(|value| value.get("crate")?.as_str().map(str::to_owned))
        .collect();
    let mut complaints = Vec::new();
    for package in packages {
        let licence = package.license.as_deref().unwrap_or("none");
        if !permits(licence, &allowed) {
            complaints.push(format!(
                "{} {}: licence {licence} is not in deny.toml's list",
                package.name, package.version
            ));
        }
        if banned.contains(&package.name.to_string()) {
            complaints.push(format!("{} is banned by deny.toml", package.name));
        }
    }
    complaints
}

/// Whether an SPDX expression (or the older form with `/`) can be met with the allowed licences.
/// Parentheses may only stand around alternatives, which is how crates use them.
fn permits(expression: &str, allowed: &[String]) -> bool {
    expression
        .replace(['(', ')'], "")
        .split(" AND ")
        .all(|part| {
            part.replace('/', " OR ")
                .split(" OR ")
                .any(|one| allowed.iter().any(|licence| licence == one.trim()))
        })
}

#[cfg(test)]
mod tests {
    use super::permits;

    #[test]
    fn an_expression_is_met_when_every_part_has_an_allowed_alternative() {
        let allowed = ["MIT".to_owned(), "Unicode-3.0".to_owned()];
        for (expression, met) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("Apache-2.0 / MIT", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("MIT AND GPL-3.0-only", false),
            ("none", false),
        ] {
            assert_eq!(permits(expression, &allowed), met, "{expression}");
        }
    }
}
