//! OpenAPI 3.1 of every route, made from the wire types themselves.
//!
//! The types' schemas are schemars', which reads the limits that garde checks, so the two cannot drift (decision
//! 0013). The list of operations is in `openapi/operations.rs`; a test compares it with the router. Start at
//! [`document`].

mod operations;

use agentwright_api::Problem;
use axum::http::Method;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// The statuses of refusals.
const REFUSALS: [u16; 12] = [400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 500, 503];

/// Makes a schema, or a reference to one.
type Make = fn(&mut SchemaGenerator) -> Schema;

/// What an operation answers.
enum Answer {
    Json(Make),
    /// Of this media type.
    Other(&'static str),
    /// 101.
    WebSocket,
}

/// Where it is, which says how faults are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Surface {
    /// `/api/v1`: 422 for what is not valid.
    Ours,
    /// `/executor` and the service contract: 400.
    Seeds,
}

/// Whether a key is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    Key,
}

/// One operation.
struct Operation {
    method: Method,
    path: &'static str,
    summary: &'static str,
    surface: Surface,
    door: Door,
    query: Option<Make>,
    body: Option<Make>,
    headers: Vec<&'static str>,
    answers: Vec<(u16, Answer)>,
    refusals: Vec<u16>,
}

impl Operation {
    fn new(method: Method, path: &'static str, summary: &'static str) -> Self {
        let ours = path.starts_with(agentwright_api::PREFIX);
        Self {
            method,
            path,
            summary,
            surface: if ours { Surface::Ours } else { Surface::Seeds },
            door: Door::Key,
            query: None,
            body: None,
            headers: Vec::new(),
            answers: Vec::new(),
            refusals: Vec::new(),
        }
    }

    fn open(mut self) -> Self {
        self.door = Door::Open;
        self
    }

    fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(|generator| T::json_schema(generator));
        self
    }

    fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(|generator| generator.subschema_for::<T>());
        self
    }

    fn answers<T: JsonSchema>(self, status: u16) -> Self {
        let make: Make = |generator| generator.subschema_for::<T>();
        self.answer(status, Answer::Json(make))
    }

    fn answer(mut self, status: u16, answer: Answer) -> Self {
        self.answers.push((status, answer));
        self
    }

    /// Takes an `Idempotency-Key`.
    fn repeatable(mut self) -> Self {
        self.headers.push("Idempotency-Key");
        self.refusals.push(409);
        self
    }

    /// Takes an `If-Match`.
    fn guarded(mut self) -> Self {
        self.headers.push("If-Match");
        self.refusals.extend([409, 412]);
        self
    }

    /// May be refused so, besides what any operation may.
    fn refuses(mut self, status: u16) -> Self {
        self.refusals.push(status);
        self
    }

    fn names(&self) -> Vec<&'static str> {
        let parts = self.path.split(['{', '}']).skip(1).step_by(2);
        parts.map(|name| name.trim_start_matches('*')).collect()
    }

    fn statuses(&self) -> Vec<u16> {
        let mut all = vec![429, 500, 503];
        if self.door == Door::Key {
            all.extend([401, 403]);
        }
        let faulty = match self.surface {
            Surface::Ours => 422,
            Surface::Seeds => 400,
        };
        if self.query.is_some() || self.body.is_some() || !self.headers.is_empty() {
            all.push(faulty);
        }
        if self.body.is_some() {
            all.extend([400, 413, 415]);
        }
        if !self.names().is_empty() {
            // A beginning of an id may fit several.
            all.extend([404, 409]);
        }
        all.extend(&self.refusals);
        all.sort_unstable();
        all.dedup();
        all
    }

    fn document(&self, generator: &mut SchemaGenerator) -> Value {
        let mut answers = Map::new();
        for (status, answer) in &self.answers {
            let told = answer.document(generator);
            let known = answers.entry(status.to_string()).or_insert(told.clone());
            let content = known.get_mut("content").and_then(Value::as_object_mut);
            if let (Some(content), Some(more)) = (content, told["content"].as_object()) {
                content.extend(more.clone());
            }
        }
        for status in self.statuses() {
            let refusal = json!({ "$ref": format!("#/components/responses/{status}") });
            answers.entry(status.to_string()).or_insert(refusal);
        }
        let id = format!("{}{}", self.method.as_str().to_lowercase(), self.path)
            .replace(['/', '{', '}', '-', '*', '.'], "_");
        let mut operation = json!({
            "operationId": id,
            "summary": self.summary,
            "parameters": self.parameters(generator),
            "responses": answers,
        });
        if let Some(make) = self.body {
            let schema = make(generator);
            operation["requestBody"] = json!({
                "required": true,
                "content": { "application/json": { "schema": schema } },
            });
        }
        operation["security"] = match self.door {
            Door::Open => json!([]),
            Door::Key => json!([{ "key": [] }]),
        };
        operation
    }

    fn parameters(&self, generator: &mut SchemaGenerator) -> Value {
        let mut all: Vec<Value> = self
            .names()
            .into_iter()
            .map(|name| {
                json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
            })
            .collect();
        if let Some(make) = self.query {
            let schema = make(generator).to_value();
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let fields = schema["properties"].as_object().cloned();
            for (name, field) in fields.unwrap_or_default() {
                let needed = required.contains(&json!(name));
                let (about, field) = present(field);
                let mut told = json!({
                    "name": name, "in": "query", "required": needed, "schema": field,
                });
                if let Some(about) = about {
                    told["description"] = about;
                }
                all.push(told);
            }
        }
        for name in &self.headers {
            let most = agentwright_api::IDEMPOTENCY_MAX;
            let schema = match *name {
                "Idempotency-Key" => {
                    json!({ "type": "string", "minLength": 1, "maxLength": most, "pattern": "^[!-~]+$" })
                }
                _ => json!({ "type": "string" }),
            };
            all.push(json!({ "name": name, "in": "header", "required": false, "schema": schema }));
        }
        Value::from(all)
    }
}

impl Answer {
    fn document(&self, generator: &mut SchemaGenerator) -> Value {
        match self {
            Self::Json(make) => {
                let schema = make(generator);
                json!({ "description": "As asked", "content": { "application/json": { "schema": schema } } })
            }
            Self::Other(media) => json!({ "description": "As asked", "content": { *media: {} } }),
            Self::WebSocket => json!({ "description": "The connection becomes a WebSocket" }),
        }
    }
}

/// A query's field is absent or there, never null and never a default; its description stands beside the schema.
fn present(field: Value) -> (Option<Value>, Value) {
    let Value::Object(mut field) = field else {
        return (None, field);
    };
    let null = json!("null");
    let about = field.remove("description");
    field.remove("default");
    if let Some(Value::Array(kinds)) = field.get_mut("type") {
        kinds.retain(|kind| *kind != null);
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            field.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = field.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != null);
        if let [only] = choices.as_slice() {
            return (about, only.clone());
        }
    }
    (about, Value::Object(field))
}

/// Each refusal once, for all operations.
fn refusals(generator: &mut SchemaGenerator) -> Value {
    let problem = generator.subschema_for::<Problem>();
    let all = REFUSALS.map(|status| {
        let refusal = json!({
            "description": refusal(status),
            "content": { "application/problem+json": { "schema": problem } },
        });
        (status.to_string(), refusal)
    });
    Value::Object(all.into_iter().collect())
}

fn refusal(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be read, or a parameter is wrong",
        401 => "A key is needed",
        403 => "Not allowed",
        404 => "Not found",
        409 => "Not in this state",
        412 => "It has changed since it was looked at",
        413 => "Too large",
        415 => "Not this type of body",
        422 => "The request is not valid",
        429 => "Too many requests; Retry-After says when again",
        503 => "Not possible now; Retry-After says when again",
        _ => "A fault of agentwright",
    }
}

/// The whole document.
pub(crate) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations::all() {
        let told = operation.document(&mut generator);
        let path = operation.path.replace("{*", "{");
        let known = paths.entry(path).or_insert_with(|| json!({}));
        known[operation.method.as_str().to_lowercase()] = told;
    }
    let refusals = refusals(&mut generator);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "agentwright",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Builds automations from intents: submit, watch, approve, deploy. Refusals are problems (RFC 9457) with a stable code.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": refusals,
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// The document as a file: `docs/openapi.json` holds exactly this.
pub fn text() -> String {
    // Invariant: the document has string keys only.
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// With this in the environment the kept document is written anew.
    const UPDATE: &str = "UPDATE_OPENAPI";

    /// Each path that a router's source names.
    fn routed(source: &str) -> Vec<&str> {
        let calls = source.split(".route(").skip(1);
        calls.filter_map(|call| call.split('"').nth(1)).collect()
    }

    #[test]
    fn every_route_is_documented() {
        let document = document();
        let known: BTreeSet<&str> = document["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        for source in [
            include_str!("router.rs"),
            include_str!("routes/executor.rs"),
            include_str!("routes/executor/contract.rs"),
        ] {
            let paths = routed(source);
            assert!(paths.len() > 2);
            // Forms of the pages and links of notices are no part of this surface.
            let pages = ["/login", "/logout", "/hooks/decide/{token}"];
            for path in paths.into_iter().filter(|path| !pages.contains(path)) {
                let path = path.replace("{*", "{");
                let places = ["", "/api/v1", "/executor"].map(|prefix| format!("{prefix}{path}"));
                let there = places.iter().any(|place| known.contains(place.as_str()));
                assert!(there, "{path} is routed, and not in openapi/operations.rs");
            }
        }
    }

    #[test]
    fn the_kept_document_is_the_served_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(path, text()).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        let same = kept == text();
        assert!(
            same,
            "docs/openapi.json is old: run this test with {UPDATE}=1"
        );
    }

    #[test]
    fn operations_have_different_names_and_each_refusal_is_a_problem() {
        let document = document();
        let mut names = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(names.insert(id.to_owned()), "{method} {path}");
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    let refused = status.starts_with(['4', '5']);
                    let problem = answer["$ref"] == format!("#/components/responses/{status}");
                    let told =
                        ["/health", "/executor/health"].contains(&path.as_str()) && status == "500";
                    assert_eq!(refused && !told, problem, "{method} {path} {status}");
                    let known = &document["components"]["responses"][status];
                    assert!(!problem || known.is_object(), "{status}");
                }
            }
        }
    }
}
