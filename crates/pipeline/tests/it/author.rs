//! A scripted author: knows a good answer to every question that a build of one of the wishes asks, whoever asks it
//! and in which form. Keeps nothing between questions.

use crate::support::{World, nothing};
use crate::wishes::{WISHES, Wish};
use agentwright_llm::{KeyRef, ProviderConfig, Wire};
use agentwright_pipeline::{CoderConfig, CoderKind, ModelSettings};
use agentwright_testkit::model_server::{ModelServer, Question, Step};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// The provider's key. Must be seen nowhere.
pub(crate) const KEY: &str = "model-key-c4n4ry-91f7";

/// Every script answers `--help`.
const HELP: &str =
    "import sys\nif '--help' in sys.argv:\n    sys.exit(print('does what it was made for'))\n";

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Spec,
    Code,
    Repair,
    Review,
}

/// All that was said to the model by us.
pub(crate) fn said(question: &Question) -> String {
    let ours = question
        .turns
        .iter()
        .filter(|turn| turn.role != "assistant");
    let texts: Vec<&str> = ours.map(|turn| turn.text.as_str()).collect();
    texts.join("\n")
}

pub(crate) fn asked(question: &Question) -> Asked {
    if question.system.starts_with("You turn one sentence") {
        Asked::Spec
    } else if question.system.starts_with("You are the overseer") {
        Asked::Review
    } else if said(question).contains("The code that is there failed its test") {
        Asked::Repair
    } else {
        Asked::Code
    }
}

/// Of which wish a question is.
pub(crate) fn wish_of(question: &Question) -> &'static Wish {
    let said = said(question);
    let of = |wish: &&Wish| match asked(question) {
        Asked::Spec => said.contains(wish.sentence),
        Asked::Code | Asked::Repair => {
            said.contains(&format!("Write the automation {}:", wish.name))
        }
        Asked::Review => said.contains(&format!("Summary: {}:", wish.name)),
    };
    WISHES.iter().find(of).unwrap()
}

/// The directory that the question says relative paths start at.
pub(crate) fn base(question: &Question) -> String {
    let said = said(question);
    let (_, rest) = said.split_once("Relative paths start at ").unwrap();
    rest.split(". The person's").next().unwrap().to_owned()
}

/// An answer to a question for a spec: this one, shown by all its effects.
pub(crate) fn proposal(spec: &Value) -> Step {
    let probes = spec["acceptance"]["cases"][0]["probes"].as_array().unwrap();
    let shown = probes.iter().filter(|probe| probe["holds"] == "effect");
    let names: Vec<&Value> = shown.map(|probe| &probe["name"]).collect();
    Step::json(
        json!({ "questions": [], "effects": [{ "effect": "all of it", "probes": names }], "spec": spec }),
    )
}

/// Writes the main file in the way that whoever asks understands.
pub(crate) fn writes(question: &Question, code: &str) -> Step {
    let first = question.results.is_empty();
    let code = &format!("{HELP}{code}");
    let shell = format!("cat > /app/main.py <<'END'\n{code}END\n");
    if question.has_tool("write_file") {
        return if first {
            Step::tool("write_file", json!({ "path": "main.py", "content": code }))
        } else {
            Step::tool("done", json!({ "summary": "written" }))
        };
    }
    if !first {
        return Step::text("It is written.");
    }
    if question.has_tool("Bash") {
        Step::tool(
            "Bash",
            json!({ "command": shell, "description": "Writes it" }),
        )
    } else if question.has_tool("exec_command") {
        Step::tool(
            "exec_command",
            json!({ "cmd": shell, "yield_time_ms": 2000 }),
        )
    } else if question.has_tool("shell") {
        Step::tool("shell", json!({ "command": ["bash", "-c", shell] }))
    } else {
        Step::text(format!("Here it is.\n\n```python main.py\n{code}```\n"))
    }
}

/// The answers of an author whose first code has a bug.
pub(crate) fn author(question: &Question) -> Step {
    let wish = wish_of(question);
    match asked(question) {
        Asked::Spec => proposal(&(wish.spec)(&base(question))),
        Asked::Code => writes(question, wish.bad),
        Asked::Repair => writes(question, wish.good),
        Asked::Review => Step::text("PASS: it does what it says"),
    }
}

/// The same, but the first code is good.
pub(crate) fn faultless(question: &Question) -> Step {
    match asked(question) {
        Asked::Code => writes(question, wish_of(question).good),
        Asked::Spec | Asked::Repair | Asked::Review => author(question),
    }
}

/// One provider, spoken to in this form.
pub(crate) fn settings(server: &ModelServer, wire: Wire) -> ModelSettings {
    let openai = matches!(wire, Wire::OpenaiChat | Wire::OpenaiResponses);
    let provider = ProviderConfig {
        base_url: Some(if openai {
            server.openai_url()
        } else {
            server.url()
        }),
        key: (!wire.is_ollama()).then(|| KeyRef::Env("MODEL_KEY".to_owned())),
        prices: match wire {
            Wire::Anthropic => Some("anthropic".to_owned()),
            Wire::OpenaiChat | Wire::OpenaiResponses => Some("openai".to_owned()),
            Wire::OllamaChat | Wire::OllamaGenerate => None,
        },
        ..ProviderConfig::new("test", wire)
    };
    let mut settings = ModelSettings {
        env: Arc::new(|name| (name == "MODEL_KEY").then(|| KEY.to_owned())),
        ..nothing()
    };
    settings.models.providers.push(provider);
    settings
}

pub(crate) fn coder(kind: CoderKind, program: Option<PathBuf>) -> CoderConfig {
    CoderConfig {
        kind: Some(kind),
        program,
        ..CoderConfig::default()
    }
}

/// The person's real files, as a wish means them.
pub(crate) fn lay_out(world: &World, wish: &Wish) {
    for (path, text) in wish.real {
        world.write(path, text);
    }
}
