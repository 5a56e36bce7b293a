//! How a command ends: the documented exit codes, and the error that carries one.

use agentwright_api::{ClientError, code};
use std::error::Error;
use std::process::ExitCode;

/// The exit codes. `docs/operations.md` and `--help` list them; scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// The command line could not be understood.
    Usage,
    /// Waits for a person.
    Waiting,
    /// Refused: vague, impossible, input missing, no walls.
    Refused,
    /// Stopped by a limit.
    Limit,
    /// Left with Ctrl-C.
    Left,
    /// `daemon run`, where another daemon has the data directory.
    Taken,
}

impl Exit {
    /// The number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Waiting => 3,
            Self::Refused => 4,
            Self::Limit => 5,
            Self::Left => 130,
            Self::Taken => 75,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// Why a command did not do what it was asked, for the person who gave it.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The code to end with.
    pub(crate) exit: Exit,
    /// Stable word for scripts.
    pub(crate) code: String,
    /// What was attempted, on what, and why it did not work.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Fault {
    /// A failure.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, "failed", message)
    }

    /// A refusal.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, code::REFUSED, message)
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// A failure with its causes.
    pub(crate) fn caused(attempted: impl Into<String>, cause: &dyn Error) -> Self {
        Self::failed(format!("{}: {}", attempted.into(), chain(cause)))
    }

    /// With what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            message: message.into(),
            hint: None,
        }
    }
}

/// An error and what lies below it, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        below = cause.source();
    }
    text
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        let Some(problem) = error.problem() else {
            return Self::failed(chain(&error)).hint(
                "look at it with 'agentwright daemon status'; its log is daemon.log in the data directory",
            );
        };
        let exit = match problem.code.as_str() {
            code::REFUSED | code::UNAVAILABLE => Exit::Refused,
            _ => Exit::Failed,
        };
        let mut message = problem.detail.clone();
        for field in &problem.errors {
            message.push_str(&format!("\n  {}: {}", field.at, field.problem));
        }
        let mut fault = Self::new(exit, &problem.code, message);
        fault.hint = match problem.code.as_str() {
            code::NOT_FOUND => {
                Some("see what there is: agentwright list, agentwright deployments".to_owned())
            }
            code::INTERNAL => problem
                .request_id
                .as_ref()
                .map(|id| format!("the daemon's log has more under request {id}")),
            _ => None,
        };
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentwright_api::{FieldProblem, Problem};

    #[test]
    fn a_refused_intent_ends_with_4_and_other_refusals_with_1() {
        for (word, exit) in [
            (code::REFUSED, 4),
            (code::UNAVAILABLE, 4),
            (code::STORE_FULL, 1),
            (code::STORE_AWAY, 1),
            (code::STALE, 1),
            (code::NOT_FOUND, 1),
        ] {
            let problem = Problem::new(409, word, "title", "detail");
            let fault = Fault::from(ClientError::Refused(Box::new(problem)));
            assert_eq!(fault.exit.number(), exit, "{word}");
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        let mut problem = Problem::new(422, code::INVALID, "title", "the request is not valid");
        problem.errors.push(FieldProblem {
            at: "zone".to_owned(),
            problem: "is not a time zone".to_owned(),
        });
        let fault = Fault::from(ClientError::Refused(Box::new(problem)));
        assert!(fault.message.ends_with("\n  zone: is not a time zone"));
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        let cause = std::io::Error::other("disk on fire");
        let error = ClientError::Unreachable {
            at: "/x".to_owned(),
            source: cause,
        };
        assert_eq!(chain(&error), "cannot reach the daemon at /x: disk on fire");
    }
}
