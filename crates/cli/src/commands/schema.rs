//! `schema`: the JSON Schemas of the formats that people write, made from the types that read them.

use agentwright_domain::acceptance::Acceptance;
use agentwright_domain::spec::Spec;
use agentwright_intent::Manifest;
use schemars::{JsonSchema, schema_for};

use super::App;
use crate::args::SchemaName;
use crate::fault::Exit;

/// `schema`.
pub(super) fn schema(app: &App, format: SchemaName) -> Exit {
    let schema = match format {
        SchemaName::Spec => of::<Spec>(),
        SchemaName::Acceptance => of::<Acceptance>(),
        SchemaName::Foundation => of::<Manifest>(),
    };
    app.out.document(&schema);
    Exit::Done
}

fn of<T: JsonSchema>() -> schemars::Schema {
    schema_for!(T)
}
