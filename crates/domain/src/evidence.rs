//! What verify saw, level by level.

use crate::digest::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The test levels; 0 is for faults of our own.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A fault of agentwright itself, not of the code under test.
    Fault,
    /// Files parse.
    Structure,
    /// It installs, builds and imports.
    Deployment,
    /// It runs to completion on minimal input.
    Smoke,
    /// The side effects really happened.
    Assertion,
}

impl Level {
    /// 0 to 4, as stored in `agent_test_results.test_level`.
    pub fn number(self) -> u8 {
        match self {
            Self::Fault => 0,
            Self::Structure => 1,
            Self::Deployment => 2,
            Self::Smoke => 3,
            Self::Assertion => 4,
        }
    }

    /// The word of the glossary.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Structure => "structure",
            Self::Deployment => "deployment",
            Self::Smoke => "smoke",
            Self::Assertion => "assertion",
        }
    }
}

/// Whether a level held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything held.
    Pass,
    /// Something did not; the log says what.
    Fail,
}

/// The result of one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestResult {
    /// Which level.
    pub level: Level,
    /// Whether it held.
    pub verdict: Verdict,
    /// One sentence for people: what held, or the first thing that did not.
    pub summary: String,
    /// What was done and seen, line by line, cut to [`LOG_MAX`].
    pub log: String,
    /// What was kept beside the log, by name.
    pub evidence: Vec<EvidenceRef>,
    /// Wall clock.
    pub duration_ms: u64,
    /// Processor time of the code under test.
    pub cpu_ms: u64,
    /// Largest resident memory of the code under test.
    pub max_rss_bytes: u64,
    /// How strong the walls were: `full`, `process`, `none`.
    pub tier: String,
}

/// The longest log kept with a result, in bytes.
pub const LOG_MAX: usize = 64 * 1024;

/// One kept piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceRef {
    /// What it is: `seed`, `stdout`, `before.json`, `network.json`, …
    pub name: String,
    /// Digest of its bytes in the artifact directory.
    pub digest: Digest,
    /// Size.
    pub bytes: u64,
}
