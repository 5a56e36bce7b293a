//! A scripted model server to point a client at by hand.
//!
//! ```sh
//! cargo run -p agentwright-testkit --example model_server -- 'text:hello' 'tool:Write:{"file_path":"a","content":"b"}'
//! ```
//!
//! Each argument is one answer, the last is given again and again: `text:WORDS`, `tool:NAME:{ARGUMENTS}`, or `fault:overloaded`,
//! `fault:cut`, `fault:hang`. Prints its addresses, then one line for each question, until it is interrupted.

#![expect(clippy::print_stdout, reason = "an example talks to a person")]

use agentwright_testkit::model_server::{Fault, ModelServer, Question, Step};
use std::collections::VecDeque;

#[tokio::main]
async fn main() -> Result<(), String> {
    let mut steps: VecDeque<Step> = std::env::args()
        .skip(1)
        .map(|text| step(&text))
        .collect::<Result<_, _>>()?;
    if steps.is_empty() {
        steps.push_back(Step::text("hello"));
    }
    let server = ModelServer::start(move |question| {
        println!("{}", line(question));
        match steps.len() {
            0 | 1 => steps.front().cloned(),
            _ => steps.pop_front(),
        }
        .unwrap_or_else(|| Step::text("hello"))
    })
    .await;
    println!("Anthropic, Ollama: {}", server.url());
    println!("OpenAI: {}", server.openai_url());
    tokio::signal::ctrl_c().await.map_err(|e| e.to_string())
}

fn step(text: &str) -> Result<Step, String> {
    let mut parts = text.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("text"), Some(_), _) => Ok(Step::text(&text["text:".len()..])),
        (Some("tool"), Some(name), Some(arguments)) => {
            let arguments = serde_json::from_str(arguments).map_err(|e| format!("{text}: {e}"))?;
            Ok(Step::tool(name, arguments))
        }
        (Some("fault"), Some("overloaded"), None) => Ok(Step::fault(Fault::Overloaded)),
        (Some("fault"), Some("cut"), None) => Ok(Step::fault(Fault::Cut)),
        (Some("fault"), Some("hang"), None) => Ok(Step::fault(Fault::Hang)),
        _ => Err(format!("not an answer: {text}")),
    }
}

fn line(question: &Question) -> String {
    let said: String = question.last_user_text().chars().take(60).collect();
    let answers: Vec<&str> = question
        .results
        .iter()
        .map(|result| result.content.as_str())
        .collect();
    format!(
        "{} {} model={} stream={} tools={} said={said:?} results={answers:?}",
        question.number,
        question.path,
        question.model,
        question.stream,
        question.tools.join(",")
    )
}
