//! Static checks of code that need no model: what a careful reader would stop at.
//!
//! They are the second line: the sandbox denies what is not declared whatever the code says. What is
//! found here is code that *means* to do something else than its spec, and secrets that would be
//! kept for ever. Start at [`review`]; one file per subject.

mod disguise;
mod network;
pub(crate) mod overseer;
mod secrets;
mod shape;
mod source;
mod writes;

pub use shape::{FILE_BYTES_MAX, FILES_MAX, LINE_CHARS_MAX, TOTAL_BYTES_MAX};

use agentwright_domain::spec::Spec;
use source::Source;

/// One file of the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Below `/app`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A value that must be a reference.
    Secret,
    /// A secret that is read and not declared.
    Undeclared,
    /// A write to a place that is not declared.
    Write,
    /// A host that is not declared, or any where none is.
    Network,
    /// Too much, too large, unreadable.
    Size,
    /// A file that does not belong into code.
    File,
    /// More rights, or a life after the end.
    Privilege,
    /// A question whether it is tested.
    Disguise,
}

impl Rule {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Secret => "hard-coded secret",
            Self::Undeclared => "secret that is not declared",
            Self::Write => "write outside the declared folders",
            Self::Network => "network that is not declared",
            Self::Size => "oversized change",
            Self::File => "forbidden file",
            Self::Privilege => "rights or processes beyond the run",
            Self::Disguise => "behaviour that depends on being tested",
        }
    }
}

/// Something that stops a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// Which file.
    pub path: String,
    /// Which line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What was seen, without repeating a secret.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            rule,
            path,
            line,
            what,
        } = self;
        match line {
            0 => write!(f, "{path}: {}: {what}", rule.word()),
            line => write!(f, "{path}:{line}: {}: {what}", rule.word()),
        }
    }
}

/// The most findings that are listed.
pub const FINDINGS_MAX: usize = 50;

/// Everything found, in the order of the files. Empty means that the code passes.
pub fn review(files: &[File], spec: &Spec) -> Vec<Finding> {
    let mut found = shape::check(files);
    for file in files {
        let Ok(text) = std::str::from_utf8(&file.bytes) else {
            continue;
        };
        let source = Source::read(&file.path, text);
        secrets::check(&source, &mut found);
        secrets::check_reads(&source, spec, &mut found);
        writes::check(&source, spec, &mut found);
        network::check(&source, spec, &mut found);
        shape::check_privileges(&source, &mut found);
        disguise::check(&source, spec, &mut found);
    }
    found.sort_by(|a, b| (&a.path, a.line, a.rule).cmp(&(&b.path, b.line, b.rule)));
    found.dedup();
    found.truncate(FINDINGS_MAX);
    found
}

#[cfg(test)]
mod tests;
