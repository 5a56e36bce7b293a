//! The pages of a build's repository, for people and for whoever works on the code later.

use agentwright_domain::acceptance::{Case, Holds};
use agentwright_domain::spec::{Access, SecretPermission, Spec};
use agentwright_intent::describe;
use std::fmt::Write as _;

/// `spec.md`: the spec for people. `spec.json` is what counts.
pub(crate) fn spec_page(spec: &Spec) -> String {
    let mut page = format!("# {}\n\n{}\n\n", spec.name, spec.purpose.trim());
    line(&mut page, "When", &describe(&spec.trigger));
    line(
        &mut page,
        "Command",
        &format!("`{}`", spec.command.join(" ")),
    );
    if let Some(foundation) = &spec.foundation {
        line(
            &mut page,
            "Foundation",
            &format!("{} ({})", foundation.name, foundation.digest.short()),
        );
    }
    let limits = &spec.limits;
    line(
        &mut page,
        "Limits",
        &format!(
            "{} s, {} MiB of memory, {} processes, {} MiB written",
            limits.wall_s, limits.memory_mib, limits.processes, limits.disk_mib
        ),
    );
    let failure = &spec.on_failure;
    line(
        &mut page,
        "When it fails",
        &format!(
            "{} further tries, paused after {} failures in a row, {} repair builds",
            failure.retries, failure.pause_after, failure.repairs
        ),
    );
    page.push_str("\n## What it may touch\n\n");
    page.push_str(&permissions(spec));
    page.push_str("\nEverything else is denied.\n\n## What must hold\n\n");
    page.push_str(&case(&spec.acceptance.smoke));
    for one in &spec.acceptance.cases {
        page.push_str(&case(one));
    }
    page
}

/// `README.md`: what it is and how to run it by hand.
pub(crate) fn readme(spec: &Spec) -> String {
    let mut page = format!("# {}\n\n{}\n\n", spec.name, spec.purpose.trim());
    let _ = write!(
        page,
        "It runs {}. `spec.md` says what it may touch and what must hold of it.\n\n\
         - `agentwright run-now {name}`: run it now\n\
         - `agentwright logs {name}`: what the last run said\n\
         - `agentwright pause {name}`, `agentwright rollback {name}`, `agentwright remove {name}`\n\
         - `agentwright export {name} DIR`: leave with a directory that needs no agentwright\n",
        describe(&spec.trigger),
        name = spec.name,
    );
    page
}

/// `AGENTS.md`: the rules for whoever changes the code.
pub(crate) fn agents(spec: &Spec) -> String {
    let mut page = format!(
        "# Working on {}\n\n\
         - `spec.json` and `spec.md` are sealed. What must hold is decided there, not in the code; do not change them.\n\
         - The command is `{}`, started in `/state`.\n\
         - Inside, `/app` is this code (read-only), `/state` is private and survives versions, `/tmp` is scratch.\n",
        spec.name,
        spec.command.join(" ")
    );
    for folder in &spec.permissions.folders {
        let _ = writeln!(
            page,
            "- `/data/{}` is {}.",
            folder.name,
            access(folder.access)
        );
    }
    page.push_str(
        "- Nothing else can be reached: no other folder, no other host, no program that is not part of the system.\n\
         - Errors end with an exit code other than 0 and one clear line on standard error.\n\
         - A line `{\"title\": …, \"body\": …}` in `/state/notices.jsonl` tells the person something.\n",
    );
    page.push_str(&secrets(spec));
    page
}

/// How each secret is found.
fn secrets(spec: &Spec) -> String {
    let mut text = "- No secret stands in the code.".to_owned();
    for secret in &spec.permissions.secrets {
        let _ = match secret.file() {
            None => write!(
                text,
                " `{}` is in the variable of that name.",
                secret.variable
            ),
            Some(path) => write!(
                text,
                " `{}` is in the file `{path}`, to which the variable `{}` points.",
                secret.variable,
                secret.is_set_as()
            ),
        };
    }
    text + "\n"
}

fn as_file(secret: &SecretPermission) -> String {
    let path = secret.file();
    path.map_or_else(String::new, |path| format!(", as the file `{path}`"))
}

fn line(page: &mut String, what: &str, text: &str) {
    let _ = writeln!(page, "- **{what}:** {text}");
}

fn permissions(spec: &Spec) -> String {
    let p = &spec.permissions;
    let mut page = String::new();
    for folder in &p.folders {
        let _ = writeln!(
            page,
            "- the folder `{}`, {}",
            folder.path,
            access(folder.access)
        );
    }
    for host in &p.network {
        let _ = writeln!(page, "- the host `{host}`");
    }
    for host in &p.allow_private {
        let _ = writeln!(page, "- the private address `{host}`");
    }
    for program in &p.programs {
        let _ = writeln!(page, "- the program `{program}`");
    }
    for secret in &p.secrets {
        let _ = writeln!(
            page,
            "- the secret `{}` from `{}`{}",
            secret.variable,
            secret.reference,
            as_file(secret)
        );
    }
    page.push_str("- its own state\n");
    page
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Read => "read only",
        Access::Write => "read and written",
    }
}

fn case(case: &Case) -> String {
    let mut page = format!("- {}\n", case.name);
    for probe in &case.probes {
        let when = match probe.holds {
            Holds::Effect => "afterwards",
            Holds::Invariant => "before and afterwards",
        };
        let _ = writeln!(page, "  - {} ({when})", probe.name);
    }
    page
}
