//! A step as what goes over the connection: status, headers, pieces of a body, and how it ends.

use super::{ApiForm, Fault, Question, Step};
use super::{anthropic, ollama, openai_chat, openai_responses};
use serde_json::Value;
use std::time::Duration;

/// Frames of a stream, and the one that marks the end.
#[derive(Debug, Default)]
pub(super) struct Frames {
    body: Vec<String>,
    last: Option<String>,
}

impl Frames {
    pub(super) fn push(&mut self, frame: String) {
        self.body.push(frame);
    }

    pub(super) fn end(&mut self, frame: String) {
        self.last = Some(frame);
    }
}

/// What a connection does.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) pieces: Vec<Vec<u8>>,
    /// Whether the length is told before; otherwise the body comes in chunks.
    pub(super) length: Option<usize>,
    pub(super) pace: Duration,
    pub(super) end: End,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it should; the connection goes on.
    Proper,
    /// The connection is closed without the body's end.
    Cut,
    /// Nothing more comes.
    Hang,
    /// White space comes, for ever.
    Blank,
    /// Not even a status comes.
    Silent,
    /// The connection is reset at once.
    Reset,
}

impl Answer {
    fn new(status: u16, content_type: &str, pieces: Vec<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            pieces,
            length: None,
            pace: Duration::ZERO,
            end: End::Proper,
        }
    }

    fn ending(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// One JSON body.
    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::body(status, "application/json", value.to_string().into_bytes())
    }

    fn body(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let length = Some(body.len());
        Self {
            length,
            ..Self::new(status, content_type, vec![body])
        }
    }

    /// What a step says to a question.
    pub(super) fn of(question: &Question, step: &Step) -> Self {
        let mut answer = match &step.fault {
            Some(fault) => failing(question, step, fault),
            None if question.stream => streamed(question, step),
            None => Self::json(200, &whole(question, step)),
        };
        answer.pace = answer.pace.max(step.pace);
        let id = format!("req_{:04}", question.number);
        answer.headers.push(("request-id".to_owned(), id.clone()));
        answer.headers.push(("x-request-id".to_owned(), id));
        answer
    }

    /// A wrong key.
    pub(super) fn unauthorized(form: Option<ApiForm>) -> Self {
        let form = form.unwrap_or(ApiForm::OpenaiChat);
        Self::json(
            401,
            &error(form, "authentication_error", "the key is wrong"),
        )
    }
}

pub(super) fn sse(name: Option<&str>, value: &Value) -> String {
    let name = name.map(|name| format!("event: {name}\n"));
    format!("{}data: {value}\n\n", name.unwrap_or_default())
}

fn whole(question: &Question, step: &Step) -> Value {
    match question.form {
        ApiForm::Anthropic => anthropic::message(question, step),
        ApiForm::OpenaiChat => openai_chat::completion(question, step),
        ApiForm::OpenaiResponses => openai_responses::response(question, step),
        ApiForm::OllamaGenerate | ApiForm::OllamaChat => ollama::whole(question, step),
    }
}

fn frames(question: &Question, step: &Step) -> Frames {
    match question.form {
        ApiForm::Anthropic => anthropic::stream(question, step),
        ApiForm::OpenaiChat => openai_chat::stream(question, step),
        ApiForm::OpenaiResponses => openai_responses::stream(question, step),
        ApiForm::OllamaGenerate | ApiForm::OllamaChat => ollama::stream(question, step),
    }
}

fn stream_type(form: ApiForm) -> &'static str {
    match form {
        ApiForm::OllamaGenerate | ApiForm::OllamaChat => "application/x-ndjson",
        _ => "text/event-stream",
    }
}

fn streamed(question: &Question, step: &Step) -> Answer {
    let frames = frames(question, step);
    let all = frames.body.into_iter().chain(frames.last);
    let pieces = all.map(String::into_bytes).collect();
    Answer::new(200, stream_type(question.form), pieces)
}

/// An error object in the form of the question.
fn error(form: ApiForm, code: &str, message: &str) -> Value {
    match form {
        ApiForm::Anthropic => anthropic::error(code, message),
        ApiForm::OpenaiChat => openai_chat::error(code, message),
        ApiForm::OpenaiResponses => openai_responses::error(code, message),
        ApiForm::OllamaGenerate | ApiForm::OllamaChat => ollama::error(message),
    }
}

/// An error in the middle of a stream.
fn error_frame(form: ApiForm) -> String {
    let (code, message) = ("overloaded_error", "Overloaded");
    match form {
        ApiForm::Anthropic => anthropic::event(&anthropic::error(code, message)),
        ApiForm::OpenaiChat => sse(None, &openai_chat::error(code, message)),
        ApiForm::OpenaiResponses => openai_responses::failed(code, message),
        ApiForm::OllamaGenerate | ApiForm::OllamaChat => ollama::line(&ollama::error(message)),
    }
}

fn failing(question: &Question, step: &Step, fault: &Fault) -> Answer {
    let form = question.form;
    let refused =
        |status, code: &str, message: &str| Answer::json(status, &error(form, code, message));
    match fault {
        Fault::RateLimited { retry_after } => {
            let mut answer = refused(429, "rate_limit_error", "too many requests");
            let after = retry_after.map(|s| ("retry-after".to_owned(), s.to_string()));
            answer.headers.extend(after);
            answer
        }
        Fault::Overloaded => refused(529, "overloaded_error", "Overloaded"),
        Fault::Server => refused(500, "api_error", "something broke"),
        Fault::Unauthorized => refused(401, "authentication_error", "the key is wrong"),
        Fault::PaymentRequired => refused(402, "billing_error", "no credit is left"),
        Fault::UnknownModel => {
            let message = format!("model '{}' not found", question.model);
            refused(404, "not_found_error", &message)
        }
        Fault::HtmlBadGateway => {
            let page = b"<html><body><h1>502 Bad Gateway</h1></body></html>".to_vec();
            Answer::body(502, "text/html", page)
        }
        Fault::ContextOverflow => refused(
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens, the context length is 200000",
        ),
        Fault::Raw {
            status,
            headers,
            body,
        } => Answer {
            headers: headers.clone(),
            ..Answer::body(*status, "", body.clone())
        },
        Fault::Hang => Answer::new(200, "", Vec::new()).ending(End::Silent),
        Fault::Reset => Answer::new(200, "", Vec::new()).ending(End::Reset),
        Fault::WrongKind if question.stream => Answer::json(200, &whole(question, step)),
        Fault::WrongKind => streamed(question, step),
        _ if question.stream => failing_stream(question, step, fault),
        _ => failing_whole(question, step, fault),
    }
}

/// A stream that fails after it began.
fn failing_stream(question: &Question, step: &Step, fault: &Fault) -> Answer {
    let mut frames = frames(question, step);
    let half = frames.body.len().div_ceil(2);
    let kind = stream_type(question.form);
    let answer = |frames: Vec<String>, more: Option<Vec<u8>>| {
        let pieces = frames.into_iter().map(String::into_bytes);
        Answer::new(200, kind, pieces.chain(more).collect())
    };
    let ollama = kind == "application/x-ndjson";
    match fault {
        Fault::InvalidJson => {
            let text = if ollama {
                "not json\n"
            } else {
                "data: not json\n\n"
            };
            answer(Vec::new(), Some(text.into()))
        }
        Fault::EmptyBody => answer(Vec::new(), None),
        Fault::BlankDrip(every) => Answer {
            pace: *every,
            ..answer(Vec::new(), None).ending(End::Blank)
        },
        Fault::Drip(every) => {
            let all: String = frames.body.into_iter().chain(frames.last).collect();
            let bytes = all.bytes().map(|byte| vec![byte]).collect();
            Answer {
                pace: *every,
                ..Answer::new(200, kind, bytes)
            }
        }
        Fault::EarlyEnd => answer(frames.body, None),
        _ => {
            frames.body.truncate(half);
            match fault {
                Fault::TruncatedJson => {
                    let text = if ollama {
                        "{\"model\":\"x\",\"resp\n"
                    } else {
                        "data: {\"type\":\"x\n\n"
                    };
                    answer(frames.body, Some(text.into()))
                }
                Fault::InvalidUtf8 => {
                    let text: &[u8] = if ollama {
                        b"{\"a\":\"\xff\"}\n"
                    } else {
                        b"data: {\"a\":\"\xff\"}\n\n"
                    };
                    answer(frames.body, Some(text.to_vec()))
                }
                Fault::ErrorEvent => {
                    let error = error_frame(question.form).into_bytes();
                    answer(frames.body, Some(error))
                }
                Fault::HangMidStream => answer(frames.body, None).ending(End::Hang),
                _ => answer(frames.body, None).ending(End::Cut),
            }
        }
    }
}

/// An answer in one piece that fails after its headers.
fn failing_whole(question: &Question, step: &Step, fault: &Fault) -> Answer {
    let kind = "application/json";
    let body = whole(question, step).to_string().into_bytes();
    let half = body[..body.len() / 2].to_vec();
    match fault {
        Fault::InvalidJson => Answer::body(200, kind, b"not json".to_vec()),
        Fault::EmptyBody => Answer::body(200, kind, Vec::new()),
        Fault::TruncatedJson | Fault::EarlyEnd => Answer::body(200, kind, half),
        Fault::InvalidUtf8 => Answer::body(200, kind, b"{\"a\":\"\xff\"}".to_vec()),
        Fault::ErrorEvent => {
            Answer::json(200, &error(question.form, "overloaded_error", "Overloaded"))
        }
        Fault::Drip(every) => Answer {
            length: Some(body.len()),
            pace: *every,
            ..Answer::new(200, kind, body.into_iter().map(|byte| vec![byte]).collect())
        },
        Fault::BlankDrip(every) => Answer {
            pace: *every,
            ..Answer::new(200, kind, Vec::new()).ending(End::Blank)
        },
        Fault::HangMidStream => Answer {
            length: Some(body.len()),
            ..Answer::new(200, kind, vec![half]).ending(End::Hang)
        },
        _ => Answer {
            length: Some(body.len()),
            ..Answer::new(200, kind, vec![half]).ending(End::Cut)
        },
    }
}
