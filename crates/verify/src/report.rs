//! What verify tells its caller: progress, evidence, and in the end a [`Verification`].

use crate::digest;
use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::{EvidenceRef, Level, TestResult, Verdict};
use async_trait::async_trait;

/// Where progress and evidence go. Verify knows no store.
#[async_trait]
pub trait Reporter: Send + Sync {
    /// How far it is, 0 to 100, and what is done now. May be called often.
    async fn progress(&self, percent: u8, message: &str);
    /// Keeps bytes of evidence under a name.
    ///
    /// # Errors
    /// When they could not be made durable; the verify then ends with a fault.
    async fn keep(&self, name: &str, bytes: Vec<u8>) -> Result<EvidenceRef, NotKept>;
}

/// Why evidence was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot keep the evidence {name:?}: {why}")]
pub struct NotKept {
    /// Which.
    pub name: String,
    /// Why.
    pub why: String,
}

/// How a verify ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every level held.
    Passed,
    /// The code under test failed: back to the coder, with the log.
    CodeFailed,
    /// The acceptance itself is wrong: to a person, as an amendment with a new seal.
    SpecWrong,
    /// A fault of this program or this machine: level 0. May be tried again after the reason is gone.
    Fault,
    /// Somebody cancelled; what was seen so far is in the results.
    Cancelled,
}

/// The whole result of a verify.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// One per level that was tried, in order; the last one is the one that stopped it.
    pub results: Vec<TestResult>,
    /// How it ended.
    pub ended: Ended,
    /// Digest over all results and their evidence: what a person's yes names.
    pub evidence: Digest,
    /// Digest over the files that were really tested (path, executable or not, content); absent
    /// when they could not be read.
    pub code: Option<Digest>,
}

impl Verification {
    pub(crate) fn new(results: Vec<TestResult>, ended: Ended, code: Option<Digest>) -> Self {
        let evidence = digest::of(&digest::canonical(&results));
        Self {
            results,
            ended,
            evidence,
            code,
        }
    }

    /// Whether every level held.
    pub fn passed(&self) -> bool {
        self.ended == Ended::Passed
    }

    /// The level that did not hold, with its result.
    pub fn stopped_at(&self) -> Option<(Level, &TestResult)> {
        let last = self.results.last()?;
        (last.verdict == Verdict::Fail).then_some((last.level, last))
    }
}
