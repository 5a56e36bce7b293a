//! Reading a foundation: a directory, handed in as bytes, becomes a [`Foundation`] or a list of
//! problems that say in which file and where. Start at [`Foundation::parse`].

use crate::format::{Argument, FOUNDATION_FORMAT, Input, InputKind, Manifest};
use crate::patterns::Patterns;
use crate::phrase::{Phrase, ideas_in_use};
use crate::render;
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::Slug;
use agentwright_domain::spec::{Access, AutomationKind, Trigger};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Most files of a foundation.
pub(crate) const FILES_MAX: usize = 500;
/// Most bytes of a foundation.
pub(crate) const BYTES_MAX: usize = 8 << 20;

/// A foundation's directory: relative path (with `/`) → content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundationSource {
    /// The files.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl FoundationSource {
    /// SHA-256 over all paths and contents, each preceded by its length.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        for (path, content) in &self.files {
            for part in [path.as_bytes(), content] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        Digest::from_sha256(hash.finalize().into())
    }
}

/// A foundation that was read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Foundation {
    /// `foundation.toml`.
    pub manifest: Manifest,
    /// `acceptance.toml`, with its `when` and `each` still in it.
    pub acceptance: Value,
    /// `files/`: path below `/app` (`.j2` still in it) → content.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Over all files of the directory.
    pub digest: Digest,
    /// The manifest's phrases, read once.
    pub(crate) patterns: Patterns,
}

/// What is wrong with a foundation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{at}: {problem}")]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Where in it: `:line`, or ` inputs.keep`; may be empty.
    pub at: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl Foundation {
    /// Reads and checks a foundation.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the files.
    pub fn parse(source: &FoundationSource) -> Result<Self, Vec<Problem>> {
        let mut found = Found::default();
        let size: usize = source.files.values().map(Vec::len).sum();
        if source.files.len() > FILES_MAX || size > BYTES_MAX {
            let limit = format!("at most {FILES_MAX} files and {BYTES_MAX} bytes");
            return Err(vec![problem("", "", limit)]);
        }
        let manifest: Option<Manifest> = found.toml(source, "foundation.toml");
        let acceptance: Option<Value> = found.toml(source, "acceptance.toml");
        let (Some(manifest), Some(acceptance)) = (manifest, acceptance) else {
            return Err(found.problems);
        };
        let files = source
            .files
            .iter()
            .filter_map(|(path, content)| {
                Some((path.strip_prefix("files/")?.to_owned(), content.clone()))
            })
            .collect();
        let foundation = Self {
            patterns: Patterns::of(&manifest),
            manifest,
            acceptance,
            files,
            digest: source.digest(),
        };
        foundation.check(&mut found);
        if found.problems.is_empty() {
            Ok(foundation)
        } else {
            Err(found.problems)
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// The input of this name.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.manifest.inputs.iter().find(|input| input.name == name)
    }

    fn check(&self, found: &mut Found) {
        let m = &self.manifest;
        if m.format != FOUNDATION_FORMAT {
            let text = format!("this version reads format {FOUNDATION_FORMAT}");
            found.manifest("format", text);
        }
        if let Err(error) = Slug::parse(&m.name) {
            found.manifest("name", error.to_string());
        }
        if m.does.trim().is_empty() {
            found.manifest("does", "say in one line what it does".into());
        }
        if m.examples.is_empty() {
            found.manifest(
                "examples",
                "give at least one sentence that asks for it".into(),
            );
        }
        if (m.kind == AutomationKind::Service) != matches!(m.trigger, Trigger::Service { .. }) {
            found.manifest(
                "trigger",
                "the type \"service\" goes with the kind \"service\"".into(),
            );
        }
        if self.files.is_empty() {
            found.add(
                "files/",
                "",
                "no file: the command needs at least one".into(),
            );
        }
        for path in self.files.keys() {
            let bad = path
                .split('/')
                .any(|part| part.is_empty() || part == ".." || part == ".");
            if bad || path.contains('\\') {
                found.add(
                    &format!("files/{path}"),
                    "",
                    "not a plain relative path".into(),
                );
            }
        }
        check_matching(m, found);
        check_inputs(m, found);
        self.check_templates(found);
        self.check_acceptance(found);
    }

    fn check_templates(&self, found: &mut Found) {
        let m = &self.manifest;
        let mut templates: Vec<(String, &str)> = vec![
            ("call".into(), m.call.as_str()),
            ("purpose".into(), m.purpose.as_str()),
        ];
        templates.extend(
            m.derived
                .iter()
                .map(|(k, v)| (format!("derived.{k}"), v.as_str())),
        );
        for (what, list) in [
            ("run.command", Some(&m.run.command)),
            ("run.preview", m.run.preview.as_ref()),
        ] {
            for argument in list.into_iter().flatten() {
                match argument {
                    Argument::Plain(text) => templates.push((what.into(), text)),
                    Argument::When(when) => {
                        found.expression(what, &when.when);
                        templates.extend(when.args.iter().map(|a| (what.into(), a.as_str())));
                    }
                    Argument::Each(each) => {
                        found.expression(what, &each.each);
                        templates.extend(each.args.iter().map(|a| (what.into(), a.as_str())));
                    }
                }
            }
        }
        let p = &m.permissions;
        templates.extend(
            p.network
                .iter()
                .map(|t| ("permissions.network".into(), t.as_str())),
        );
        templates.extend(
            p.programs
                .iter()
                .map(|t| ("permissions.programs".into(), t.as_str())),
        );
        templates.extend(
            p.secrets
                .values()
                .chain(p.secret_files.values())
                .map(|t| ("permissions.secrets".into(), t.as_str())),
        );
        templates.extend(
            p.environment
                .values()
                .map(|t| ("permissions.environment".into(), t.as_str())),
        );
        for (at, text) in templates {
            if let Err(error) = render::compiles(text) {
                found.manifest(&at, error);
            }
        }
        for (path, content) in self.files.iter().filter(|(path, _)| path.ends_with(".j2")) {
            let text = String::from_utf8_lossy(content);
            if let Err(error) = render::compiles(&text) {
                found.add(&format!("files/{path}"), "", error);
            }
        }
    }

    /// The acceptance must be well formed once `when` and `each` are gone; tried with all parts kept.
    fn check_acceptance(&self, found: &mut Found) {
        if let Err(error) = render::acceptance_shape(&self.acceptance) {
            found.add("acceptance.toml", "", error);
        }
    }
}

fn check_matching(m: &Manifest, found: &mut Found) {
    let ideas: BTreeSet<&str> = m.matching.ideas.keys().map(String::as_str).collect();
    if m.matching.shapes.is_empty() {
        found.manifest(
            "match.shapes",
            "without a shape no sentence can ask for it".into(),
        );
    }
    for shape in &m.matching.shapes {
        for idea in ideas_in_use(shape) {
            if !ideas.contains(idea) {
                found.manifest(
                    "match.shapes",
                    format!("the idea {idea:?} is not among match.ideas"),
                );
            }
        }
        if !(0.0..=1.0).contains(&shape.strength) || shape.all.is_empty() {
            found.manifest(
                "match.shapes",
                "needs ideas and a strength from 0 to 1".into(),
            );
        }
    }
    let phrases = m.matching.ideas.values().flatten().chain(&m.matching.never);
    for text in phrases {
        if Phrase::parse(text).is_none() {
            found.manifest("match", format!("{text:?} is not a phrase"));
        }
    }
    let demands = m.matching.can.iter().chain(m.matching.can_with.keys());
    for demand in demands {
        if !crate::demands::demands().any(|known| known.id == demand) {
            found.manifest("match.can", format!("the demand {demand:?} is not known"));
        }
    }
    for input in m.matching.can_with.values() {
        if !m.inputs.iter().any(|known| &known.name == input) {
            found.manifest("match.can_with", format!("no input is named {input:?}"));
        }
    }
}

fn check_inputs(m: &Manifest, found: &mut Found) {
    let mut names = BTreeSet::new();
    for input in &m.inputs {
        let at = format!("inputs.{}", input.name);
        if !names.insert(input.name.as_str()) {
            found.manifest(&at, "declared twice".into());
        }
        let bound = matches!(
            input.kind,
            InputKind::Folder { .. } | InputKind::File { .. }
        );
        let shaped = input.name.starts_with(|c: char| c.is_ascii_lowercase())
            && input
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || (b == b'_' && !bound));
        if !shaped || input.name.len() > 40 {
            found.manifest(
                &at,
                "a name is a-z, 0-9 and _ (no _ for folders and files)".into(),
            );
        }
        if input.required && input.ask.is_none() {
            found.manifest(&at, "a required input needs the question `ask`".into());
        }
        if let InputKind::Folder {
            access: Access::Read,
            create: true,
        }
        | InputKind::File {
            access: Access::Read,
            create: true,
            ..
        } = input.kind
        {
            found.manifest(&at, "only what is written can be created".into());
        }
        if let Some(default) = &input.default
            && let Err(why) = crate::values::check(input, default)
            && !default.is_string()
        {
            found.manifest(&at, format!("the default does not fit: {why}"));
        }
        for text in &input.find.phrases {
            if !text.split(' ').any(|word| word == "#") {
                found.manifest(&at, format!("the phrase {text:?} has no # for the value"));
            }
        }
    }
    for require in &m.require {
        if let Some(when) = &require.when {
            found.expression("require", when);
        }
        for name in &require.any {
            if !names.contains(name.as_str()) {
                found.manifest("require", format!("no input is named {name:?}"));
            }
        }
    }
}

#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
}

impl Found {
    fn add(&mut self, file: &str, at: &str, text: String) {
        self.problems.push(problem(file, at, text));
    }

    fn manifest(&mut self, at: &str, text: String) {
        self.add("foundation.toml", &format!(" {at}"), text);
    }

    fn expression(&mut self, at: &str, text: &str) {
        if let Err(error) = render::expression_compiles(text) {
            self.manifest(at, error);
        }
    }

    fn toml<T: serde::de::DeserializeOwned>(
        &mut self,
        source: &FoundationSource,
        file: &str,
    ) -> Option<T> {
        let Some(bytes) = source.files.get(file) else {
            self.add(file, "", "is missing".into());
            return None;
        };
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.add(file, "", "is not UTF-8 text".into());
            return None;
        };
        match toml::from_str(text) {
            Ok(value) => Some(value),
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start.min(text.len()));
                let line = text.as_bytes()[..start]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
                    + 1;
                self.add(file, &format!(":{line}"), error.message().to_owned());
                None
            }
        }
    }
}

fn problem(file: &str, at: &str, text: String) -> Problem {
    Problem {
        file: file.to_owned(),
        at: at.to_owned(),
        problem: text,
    }
}
