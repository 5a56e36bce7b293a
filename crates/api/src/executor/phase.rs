//! The six phases: which of our stages are which, and how far a build is at each.

use agentwright_domain::build::Stage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The phases by their names.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum PhaseName {
    /// Intent → spec.
    #[serde(rename = "SPEC Generation")]
    Spec,
    /// The repository.
    Package,
    /// Written and looked at.
    Build,
    /// The four levels, and the dry run.
    Verify,
    /// To the target.
    Deploy,
    /// Into the directory.
    Register,
}

/// Short for [`PhaseName`].
pub type Phase = PhaseName;

impl PhaseName {
    /// In order.
    pub const ALL: [Self; 6] = [
        Self::Spec,
        Self::Package,
        Self::Build,
        Self::Verify,
        Self::Deploy,
        Self::Register,
    ];

    /// The phase that a stage belongs to.
    pub fn of(stage: Stage) -> Self {
        match stage {
            Stage::Spec => Self::Spec,
            Stage::Package => Self::Package,
            Stage::Generate | Stage::Review => Self::Build,
            Stage::Verify | Stage::Preview => Self::Verify,
            Stage::Deploy => Self::Deploy,
            Stage::Register => Self::Register,
        }
    }

    /// As sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::Spec => "SPEC Generation",
            Self::Package => "Package",
            Self::Build => "Build",
            Self::Verify => "Verify",
            Self::Deploy => "Deploy",
            Self::Register => "Register",
        }
    }

    /// The last of its stages.
    pub(crate) fn last_stage(self) -> Stage {
        match self {
            Self::Spec => Stage::Spec,
            Self::Package => Stage::Package,
            Self::Build => Stage::Review,
            Self::Verify => Stage::Preview,
            Self::Deploy => Stage::Deploy,
            Self::Register => Stage::Register,
        }
    }

    /// How far the whole build is when it begins and when it ends.
    pub(crate) fn span(self) -> (u8, u8) {
        let first = match self {
            Self::Spec => Stage::Spec,
            Self::Package => Stage::Package,
            Self::Build => Stage::Generate,
            Self::Verify => Stage::Verify,
            Self::Deploy => Stage::Deploy,
            Self::Register => Stage::Register,
        };
        (span(first).0, span(self.last_stage()).1)
    }

    /// How far the phase is when the whole build is at `percent`.
    pub(crate) fn part(self, percent: u8) -> u8 {
        let (from, to) = self.span();
        let done = u32::from(percent.clamp(from, to) - from);
        u8::try_from(done * 100 / u32::from(to - from)).unwrap_or(100)
    }
}

/// The stage of that word.
pub(crate) fn stage_of(word: &str) -> Option<Stage> {
    Stage::ALL.into_iter().find(|stage| stage.word() == word)
}

/// How far the whole build is, 0 to 100, before and after a stage: by how long the stages commonly take.
fn span(stage: Stage) -> (u8, u8) {
    match stage {
        Stage::Spec => (0, 10),
        Stage::Package => (10, 15),
        Stage::Generate => (15, 45),
        Stage::Review => (45, 55),
        Stage::Verify => (55, 75),
        Stage::Preview => (75, 80),
        Stage::Deploy => (80, 95),
        Stage::Register => (95, 100),
    }
}

/// How far the whole build is when a stage has come so far (0 to 100).
pub fn percent_of(stage: Stage, of_stage: u8) -> u8 {
    let (from, to) = span(stage);
    let done = u32::from(to - from) * u32::from(of_stage.min(100)) / 100;
    from + u8::try_from(done).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_cover_0_to_100_without_gaps() {
        let mut at = 0;
        for stage in Stage::ALL {
            assert_eq!(percent_of(stage, 0), at);
            at = percent_of(stage, 100);
        }
        assert_eq!(at, 100);
        for phase in PhaseName::ALL {
            assert_eq!(phase.part(phase.span().0), 0);
            assert_eq!(phase.part(phase.span().1), 100);
            assert_eq!(PhaseName::of(phase.last_stage()), phase);
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.word());
        }
        assert_eq!(PhaseName::Build.part(45), 75);
    }
}
