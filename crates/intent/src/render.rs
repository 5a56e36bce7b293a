//! Templates of foundations: commands, permissions, files, and the acceptance with its `when` and
//! `each`. minijinja with no loader and bounded fuel: a template can only compute a text.
//!
//! In templates: `inputs` (all inputs, null where there is none), `path` (inside paths of folder and
//! file inputs), `name` (the automation's name), and in derived ones the derived before them.

use crate::format::{Argument, InputKind};
use crate::foundation::Foundation;
use crate::paths;
use agentwright_domain::acceptance::Acceptance;
use agentwright_domain::ids::Slug;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Steps that one template may take.
const FUEL: u64 = 200_000;
/// The most elements that an `each` expands to.
const EACH_MAX: usize = 50;

/// What templates see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) inputs: BTreeMap<String, Value>,
    pub(crate) path: BTreeMap<String, Value>,
    pub(crate) name: String,
}

impl Scope {
    /// The scope of a foundation's inputs.
    pub(crate) fn of(
        foundation: &Foundation,
        inputs: &BTreeMap<String, Value>,
        name: &str,
    ) -> Self {
        let mut path = BTreeMap::new();
        for input in &foundation.manifest.inputs {
            let value = inputs.get(&input.name).and_then(Value::as_str);
            let inside = match (&input.kind, value) {
                (InputKind::Folder { .. }, Some(_)) => json!(format!("/data/{}", input.name)),
                (InputKind::File { .. }, Some(host)) => {
                    json!(format!("/data/{}/{}", input.name, file_name(host)))
                }
                _ => Value::Null,
            };
            path.insert(input.name.clone(), inside);
        }
        Self {
            inputs: inputs.clone(),
            path,
            name: name.to_owned(),
        }
    }

    fn view(&self, item: Option<&Value>) -> minijinja::Value {
        let item = item.unwrap_or(&Value::Null);
        minijinja::Value::from(minijinja::value::Serde(
            json!({"inputs": self.inputs, "path": self.path, "name": self.name, "item": item}),
        ))
    }
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_fuel(Some(FUEL));
    env.add_filter("file_name", |path: String| file_name(&path).to_owned());
    env.add_filter("file_stem", |path: String| {
        let name = file_name(&path);
        name.rsplit_once('.')
            .map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem })
            .to_owned()
    });
    env.add_filter("host_port", |url: String| host_port(&url));
    env.add_filter("host_name", |url: String| {
        host_port(&url)
            .rsplit_once(':')
            .map_or(String::new(), |(host, _)| host.to_owned())
    });
    env.add_filter("url_user", |url: String| {
        url::Url::parse(&url).map_or_else(|_| String::new(), |url| url.username().to_owned())
    });
    env.add_filter("url_path", |url: String| {
        url::Url::parse(&url).map_or_else(|_| "/".to_owned(), |url| url.path().to_owned())
    });
    env.add_filter("below", |path: String, folder: String| {
        path.strip_prefix(&format!("{}/", folder.trim_end_matches('/')))
            .unwrap_or_default()
            .to_owned()
    });
    env.add_filter("clip", |text: String, max: usize| {
        let short: String = text.chars().take(max).collect();
        if short.len() < text.len() {
            format!("{short}…")
        } else {
            short
        }
    });
    env.add_filter("safe_name", |name: String| safe_name(&name));
    env.add_filter("span", |seconds: u64| span(seconds));
    env.add_filter("bytes", |size: u64| bytes(size));
    env.add_filter("words", |list: Vec<String>| list.join(", "));
    env
}

fn file_name(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path)
}

fn host_port(url: &str) -> String {
    url::Url::parse(url)
        .ok()
        .and_then(|url| paths::host_port(&url))
        .unwrap_or_default()
}

/// A text as part of a file name: letters, digits, `.`, `_` and `-`, everything else one `_`.
fn safe_name(text: &str) -> String {
    let mut name = String::new();
    let mut run = false;
    for c in text.chars() {
        let kept = c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if kept || !run {
            name.push(if kept { c } else { '_' });
        }
        run = !kept;
    }
    let name = name.trim_matches(['.', '_', '-']);
    if name.is_empty() {
        "backup".to_owned()
    } else {
        name.to_owned()
    }
}

/// Seconds in words, in the largest unit that is exact.
fn span(seconds: u64) -> String {
    let units = [
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let (unit, name) = units
        .into_iter()
        .find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit))
        .unwrap_or((1, "second"));
    let n = seconds / unit;
    format!("{n} {name}{}", if n == 1 { "" } else { "s" })
}

fn bytes(size: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB")];
    let (unit, name) = units
        .into_iter()
        .find(|(unit, _)| size >= *unit && size.is_multiple_of(*unit))
        .unwrap_or((1, "bytes"));
    format!("{} {name}", size / unit)
}

/// Whether a template compiles.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn compiles(template: &str) -> Result<(), String> {
    environment()
        .template_from_str(template)
        .map(|_| ())
        .map_err(|why| format!("the template does not compile: {why}"))
}

/// Whether an expression compiles.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn expression_compiles(expression: &str) -> Result<(), String> {
    environment()
        .compile_expression(expression)
        .map(|_| ())
        .map_err(|why| format!("the expression does not compile: {why}"))
}

/// Renders a template.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn text(template: &str, scope: &Scope) -> Result<String, String> {
    environment()
        .render_str(template, scope.view(None))
        .map_err(|why| format!("{why}"))
}

fn text_of_item(template: &str, scope: &Scope, item: &Value) -> Result<String, String> {
    environment()
        .render_str(template, scope.view(Some(item)))
        .map_err(|why| format!("{why}"))
}

fn evaluate(expression: &str, scope: &Scope) -> Result<Value, String> {
    let env = environment();
    let compiled = env
        .compile_expression(expression)
        .map_err(|why| why.to_string())?;
    let value = compiled
        .eval(scope.view(None))
        .map_err(|why| why.to_string())?;
    serde_json::to_value(&value).map_err(|why| why.to_string())
}

/// Whether an expression holds.
///
/// # Errors
/// What does not evaluate.
pub(crate) fn holds(expression: &str, scope: &Scope) -> Result<bool, String> {
    evaluate(expression, scope).map(|value| truthy(&value))
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// The derived inputs, in the order of their names.
///
/// # Errors
/// The one that does not render.
pub(crate) fn derived(foundation: &Foundation, scope: &mut Scope) -> Result<(), String> {
    for (name, template) in &foundation.manifest.derived {
        let rendered = text(template, scope).map_err(|why| format!("derived.{name}: {why}"))?;
        // A list or record is written as JSON.
        let structured = rendered.starts_with(['[', '{']);
        let value = if structured {
            serde_json::from_str(&rendered).unwrap_or(json!(rendered))
        } else {
            json!(rendered)
        };
        scope.inputs.insert(name.clone(), value);
    }
    Ok(())
}

/// A command line.
///
/// # Errors
/// The argument that does not render.
pub(crate) fn command(arguments: &[Argument], scope: &Scope) -> Result<Vec<String>, String> {
    let mut line = Vec::new();
    for argument in arguments {
        match argument {
            Argument::Plain(template) => line.push(text(template, scope)?),
            Argument::When(when) => {
                if truthy(&evaluate(&when.when, scope)?) {
                    for template in &when.args {
                        line.push(text(template, scope)?);
                    }
                }
            }
            Argument::Each(each) => {
                let list = evaluate(&each.each, scope)?;
                for item in list.as_array().into_iter().flatten().take(EACH_MAX) {
                    for template in &each.args {
                        line.push(text_of_item(template, scope, item)?);
                    }
                }
            }
        }
    }
    Ok(line)
}

/// The acceptance for these inputs: tables whose `when` is false are gone, tables with `each` stand
/// once for each element, `each_item` in their texts replaced by `EXPRESSION[n]`.
///
/// # Errors
/// What does not evaluate, or is not an acceptance.
pub(crate) fn acceptance(source: &Value, scope: &Scope) -> Result<Acceptance, String> {
    let decide = |expression: &str| evaluate(expression, scope);
    let pruned = prune(source, &decide)?
        .into_iter()
        .next()
        .unwrap_or(Value::Null);
    serde_json::from_value(pruned).map_err(|why| format!("acceptance: {why}"))
}

/// Whether the acceptance is well formed with every part kept.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn acceptance_shape(source: &Value) -> Result<(), String> {
    let decide = |expression: &str| {
        expression_compiles(expression)?;
        Ok(json!([1]))
    };
    let pruned = prune(source, &decide)?
        .into_iter()
        .next()
        .unwrap_or(Value::Null);
    serde_json::from_value::<Acceptance>(pruned)
        .map(|_| ())
        .map_err(|why| why.to_string())
}

type Decide<'a> = &'a dyn Fn(&str) -> Result<Value, String>;

fn prune(value: &Value, decide: Decide<'_>) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(list) => {
            let mut kept = Vec::new();
            for element in list {
                kept.extend(prune(element, decide)?);
            }
            Ok(vec![Value::Array(kept)])
        }
        Value::Object(map) => object(map, decide),
        other => Ok(vec![other.clone()]),
    }
}

fn object(map: &Map<String, Value>, decide: Decide<'_>) -> Result<Vec<Value>, String> {
    if let Some(Value::String(expression)) = map.get("each") {
        let mut rest = map.clone();
        rest.remove("each");
        let count = decide(expression)?
            .as_array()
            .map_or(0, Vec::len)
            .min(EACH_MAX);
        let mut all = Vec::new();
        for n in 0..count {
            let element = replaced(
                &Value::Object(rest.clone()),
                &format!("{expression}[{n}]"),
                n,
            );
            all.extend(prune(&element, decide)?);
        }
        return Ok(all);
    }
    if let Some(Value::String(expression)) = map.get("when")
        && !truthy(&decide(expression)?)
    {
        return Ok(Vec::new());
    }
    let mut kept = Map::new();
    for (key, element) in map.iter().filter(|(key, _)| *key != "when") {
        if let Some(element) = prune(element, decide)?.into_iter().next() {
            kept.insert(key.clone(), element);
        }
    }
    Ok(vec![Value::Object(kept)])
}

fn replaced(value: &Value, expression: &str, index: usize) -> Value {
    match value {
        Value::String(text) => json!(
            text.replace("each_item", expression)
                .replace("each_index", &index.to_string())
        ),
        Value::Array(list) => list
            .iter()
            .map(|v| replaced(v, expression, index))
            .collect(),
        // An inner `each` has an `each_item` of its own.
        Value::Object(map) if map.contains_key("each") => {
            let mut inner = map.clone();
            let own = replaced(&map["each"], expression, index);
            inner.insert("each".to_owned(), own);
            Value::Object(inner)
        }
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| {
                (
                    replaced(&json!(k), expression, index)
                        .as_str()
                        .unwrap_or(k)
                        .to_owned(),
                    replaced(v, expression, index),
                )
            })
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

impl Foundation {
    /// The files of `/app`: plain ones as they are, `*.j2` rendered with these inputs (a spec's) and
    /// without the ending.
    ///
    /// # Errors
    /// The file that does not render.
    pub fn files(
        &self,
        inputs: &BTreeMap<String, Value>,
        name: &str,
    ) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let scope = Scope::of(self, inputs, name);
        let mut files = BTreeMap::new();
        for (path, content) in &self.files {
            match path.strip_suffix(".j2") {
                Some(plain) => {
                    let template = std::str::from_utf8(content)
                        .map_err(|_| format!("files/{path} is not UTF-8 text"))?;
                    let rendered =
                        text(template, &scope).map_err(|why| format!("files/{path}: {why}"))?;
                    files.insert(plain.to_owned(), rendered.into_bytes());
                }
                None => {
                    files.insert(path.clone(), content.clone());
                }
            }
        }
        Ok(files)
    }
}

/// The longest name made up for an automation, in characters.
const NAME_MAX: usize = 40;

/// A name for an automation out of any text.
pub(crate) fn name_from(text: &str) -> Option<Slug> {
    let short: String = text.chars().take(NAME_MAX).collect();
    Slug::from_words(&short)
}
