//! Templates of the acceptance: minijinja over `inputs`, `draw`, `data`, `today`, `saved` and `index`.
//!
//! An undefined name is an error, never an empty text. Rendering is bounded in steps and size. Besides
//! minijinja's own filters there are `sha256`, `fixed(n)` (a number with n decimals) and
//! `days(n)` (a date, n days later). Start at [`Scope`].

use crate::digest;
use agentwright_domain::spec::{HostPort, Spec};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, Serde, ValueOrKwargs};
use minijinja::{Environment, State, UndefinedBehavior, context};
use serde_json::{Map, Value, json};

/// The longest rendered text, in bytes.
pub(crate) const RENDERED_MAX: usize = 16 << 20;
/// The most steps of one rendering.
const FUEL: u64 = 5_000_000;
/// Stands for a value that a request step will keep, before that step was made. A number, because that
/// is JSON and part of a path alike.
const NOT_YET_SAVED: u64 = 4_040_404_040;

/// What templates can see.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    inputs: minijinja::Value,
    draw: minijinja::Value,
    drawn: Value,
    data: minijinja::Value,
    today: String,
    saved: Map<String, Value>,
    index: Option<u64>,
}

impl Scope {
    pub(crate) fn new(spec: &Spec, draw: Value, today: String) -> Self {
        let mut data = Map::new();
        data.insert("state".into(), json!("/state"));
        for folder in &spec.permissions.folders {
            let name = folder.name.as_str();
            data.insert(name.to_owned(), json!(format!("/data/{name}")));
        }
        Self {
            inputs: minijinja::Value::from(Serde(&spec.inputs)),
            draw: minijinja::Value::from(Serde(&draw)),
            drawn: draw,
            data: minijinja::Value::from(Serde(&data)),
            today,
            saved: Map::new(),
            index: None,
        }
    }

    /// The same with a running number.
    pub(crate) fn at(&self, index: u64) -> Self {
        Self {
            index: Some(index),
            ..self.clone()
        }
    }

    /// Keeps a value of an answer.
    pub(crate) fn save(&mut self, name: &str, value: Value) {
        self.saved.insert(name.to_owned(), value);
    }

    /// Makes a name known that a later step will keep.
    pub(crate) fn announce(&mut self, name: &str) {
        self.saved
            .entry(name.to_owned())
            .or_insert_with(|| json!(NOT_YET_SAVED));
    }

    /// The same on another day.
    pub(crate) fn on(&self, today: String) -> Self {
        Self {
            today,
            ..self.clone()
        }
    }

    /// What was drawn.
    pub(crate) fn drawn(&self) -> &Value {
        &self.drawn
    }

    /// The date that `today` renders to.
    pub(crate) fn today(&self) -> &str {
        &self.today
    }

    /// Renders a template. The error says what is wrong with it.
    pub(crate) fn text(&self, template: &str) -> Result<String, String> {
        if !template.contains('{') {
            return Ok(template.to_owned());
        }
        // An index that is not there stays undefined, and so an error where it is used.
        let index = self
            .index
            .map_or(minijinja::Value::UNDEFINED, minijinja::Value::from);
        let shown: String = template.chars().take(120).collect();
        let context = context! {
            inputs => self.inputs.clone(),
            draw => self.draw.clone(),
            data => self.data.clone(),
            today => self.today.clone(),
            saved => minijinja::Value::from(Serde(&self.saved)),
            index => index,
        };
        let text = environment()
            .and_then(|environment| environment.render_str(template, context))
            .map_err(|error| format!("template {shown:?}: {error}"))?;
        if text.len() > RENDERED_MAX {
            return Err(format!(
                "template {shown:?} renders to more than {RENDERED_MAX} bytes"
            ));
        }
        Ok(text)
    }

    /// Renders a template that yields a whole number.
    pub(crate) fn number(&self, template: &str) -> Result<u64, String> {
        let text = self.text(template)?;
        text.trim()
            .parse()
            .map_err(|_| format!("template {template:?} yields {text:?}, not a whole number"))
    }

    /// Renders a template that yields `host:port`.
    pub(crate) fn host(&self, template: &str) -> Result<HostPort, String> {
        HostPort::try_from(self.text(template)?).map_err(|error| error.to_string())
    }

    /// Renders a template that yields a path below a folder.
    pub(crate) fn path(&self, template: &str) -> Result<String, String> {
        let path = self.text(template)?;
        let plain = !path.is_empty()
            && !path.contains('\0')
            && path
                .split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..");
        if plain {
            Ok(path)
        } else {
            Err(format!(
                "path {path:?} must be relative to its folder, without empty parts, \".\" and \"..\""
            ))
        }
    }

    /// Renders a template that yields JSON.
    pub(crate) fn json(&self, template: &str) -> Result<Value, String> {
        let text = self.text(template)?;
        serde_json::from_str(&text)
            .map_err(|error| format!("template {template:?} does not yield JSON: {error}"))
    }

    /// Renders an age such as `30d`, `12h`, `15m` or `90s` to seconds.
    pub(crate) fn age_s(&self, template: &str) -> Result<u64, String> {
        let text = self.text(template)?;
        let wrong = || format!("age {text:?} is not a number followed by d, h, m or s");
        let text = text.trim();
        let unit = match text.chars().last() {
            Some('d') => 86_400,
            Some('h') => 3_600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(wrong()),
        };
        let count: u64 = text[..text.len() - 1].trim().parse().map_err(|_| wrong())?;
        count
            .checked_mul(unit)
            .filter(|age| *age <= AGE_MAX_S)
            .ok_or_else(|| format!("age {text:?} is more than 50 years"))
    }
}

/// The oldest file that can be asked for.
const AGE_MAX_S: u64 = 50 * 366 * 86_400;

fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .keep_trailing_newline(true)
            .build()?,
    );
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.remove_filter("indent");
    environment.add_filter("format", format);
    environment.add_filter("sha256", |text: &str| {
        digest::of(text.as_bytes()).hex().to_owned()
    });
    environment.add_filter("fixed", |value: f64, decimals: usize| {
        format!("{value:.*}", decimals.min(12))
    });
    environment.add_filter("days", |date: &str, days: i64| shift(date, days));
    Ok(environment)
}

/// minijinja's own, without widths that make much out of little.
fn format(
    state: &mut State<'_, '_>,
    pattern: &minijinja::Value,
    arguments: Rest<ValueOrKwargs>,
) -> Result<minijinja::Value, minijinja::Error> {
    const DIGITS_MAX: usize = 3;
    let wide = pattern.as_str().is_some_and(|pattern| {
        let mut runs = pattern.split(|c: char| !c.is_ascii_digit());
        pattern.contains('*') || runs.any(|run| run.len() > DIGITS_MAX)
    });
    if wide {
        let kind = minijinja::ErrorKind::InvalidOperation;
        return Err(minijinja::Error::new(
            kind,
            "a width has at most three digits",
        ));
    }
    minijinja::filters::format(state, pattern, arguments)
}

fn shift(date: &str, days: i64) -> Result<String, minijinja::Error> {
    let wrong = |error: jiff::Error| {
        minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, error.to_string())
    };
    let date: jiff::civil::Date = date.parse().map_err(wrong)?;
    let span = jiff::Span::new().try_days(days).map_err(wrong)?;
    Ok(date.checked_add(span).map_err(wrong)?.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn spec() -> Spec {
        serde_json::from_value(json!({
            "format": 1, "name": "x", "purpose": "p", "kind": "script",
            "inputs": {"keep": 7}, "command": ["python3", "/app/main.py"],
            "permissions": {"folders": [{"name": "source", "path": "/home/x/notes", "access": "read"}]},
            "trigger": {"type": "once"},
            "acceptance": {"smoke": {"name": "s", "steps": []}, "cases": []}
        }))
        .unwrap()
    }

    pub(crate) fn scope() -> Scope {
        Scope::new(
            &spec(),
            json!({"word": "abc", "rows": [{"n": 1}, {"n": 2}]}),
            "2026-02-28".into(),
        )
    }

    #[test]
    fn templates_see_inputs_draws_folders_and_the_date() {
        let text =
            "{{ inputs.keep }} {{ draw.word }} {{ data.source }} {{ data.state }} {{ today }}\n";
        assert_eq!(
            scope().text(text).unwrap(),
            "7 abc /data/source /state 2026-02-28\n"
        );
    }

    #[test]
    fn an_undefined_name_is_an_error_and_not_an_empty_text() {
        let error = scope().text("{{ draw.missing }}").unwrap_err();
        assert!(error.contains("undefined"), "{error}");
    }

    #[test]
    fn sums_dates_digests_and_decimals_can_be_computed() {
        let scope = scope();
        assert_eq!(
            scope.text("{{ draw.rows|sum(attribute='n') }}").unwrap(),
            "3"
        );
        assert_eq!(scope.text("{{ today|days(1) }}").unwrap(), "2026-03-01");
        assert_eq!(scope.text("{{ 2.5|fixed(2) }}").unwrap(), "2.50");
        assert_eq!(
            scope.text("{{ '%.2f %s'|format(2.5, 'x') }}").unwrap(),
            "2.50 x"
        );
        assert!(
            scope
                .text("{{ 'a'|sha256 }}")
                .unwrap()
                .starts_with("ca978112")
        );
        assert!(scope.text("{{ 'x'|days(1) }}").is_err());
    }

    #[test]
    fn paths_never_leave_their_folder() {
        let scope = scope();
        assert_eq!(scope.path("a/{{ draw.word }}.txt").unwrap(), "a/abc.txt");
        for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a\0b"] {
            assert!(scope.path(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn ages_have_a_unit_and_an_end() {
        let scope = scope();
        assert_eq!(scope.age_s("30d").unwrap(), 30 * 86_400);
        assert_eq!(scope.at(3).age_s("{{ index }}h").unwrap(), 3 * 3_600);
        assert_eq!(scope.age_s("2m").unwrap(), 120);
        for age in ["", "d", "12", "-1d", "1w", "99999999999d"] {
            assert!(scope.age_s(age).is_err(), "{age:?}");
        }
    }

    #[test]
    fn an_index_is_there_only_in_a_repetition() {
        assert_eq!(scope().at(4).text("{{ index }}").unwrap(), "4");
        assert!(scope().text("{{ index }}").is_err());
    }

    #[test]
    fn a_template_that_makes_much_out_of_little_is_stopped() {
        for template in [
            "{{ 'x' * 4000000000 }}",
            "{{ '%4000000000d'|format(1) }}",
            "{{ 'x'|indent(4000000000, true) }}",
            "{{ range(4000000000)|list }}",
        ] {
            assert!(scope().text(template).is_err(), "{template}");
        }
    }

    #[test]
    fn a_template_without_end_is_stopped() {
        let error = scope()
            .text("{% for i in range(9999999) %}{{ i }}{% endfor %}")
            .unwrap_err();
        assert!(!error.is_empty());
    }

    #[test]
    fn numbers_hosts_and_json_are_checked() {
        let scope = scope();
        assert_eq!(scope.number("{{ inputs.keep + 1 }}").unwrap(), 8);
        assert!(scope.number("many").is_err());
        assert_eq!(scope.host("Example.org:443").unwrap().host, "example.org");
        assert!(scope.host("example.org").is_err());
        assert_eq!(scope.json("[{{ inputs.keep }}]").unwrap(), json!([7]));
        assert!(scope.json("[").is_err());
    }
}
