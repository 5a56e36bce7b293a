//! Verify: four levels of tests on acceptance that was sealed before the code existed.
//!
//! Fixtures are laid out with values drawn after the code was committed, the code runs behind the walls of
//! `sandbox`, and probes are evaluated here and never by the code under test. Not here: what a build is, and
//! any store; progress and evidence go through a [`Reporter`].
//!
//! Start at [`Verifier::verify`] for the levels, at [`seal`] for what happens before any code exists, at
//! `case` for what one case does. How a spec becomes a sandbox stands in `sandbox::spec_policy`.

mod verifier;

mod level;

mod case;
mod exchange;
mod fixture;
mod judge;
mod world;

mod beneath;
mod probe;
mod snapshot;

mod mutants;
mod seal;

mod preview;

mod clock;
mod digest;
mod draw;
mod outcome;
mod report;
mod template;

pub use case::{START_LIMIT, STOP_GRACE};
pub use draw::{draw_all, seed_text};
pub use preview::{PreviewError, PreviewReport, PreviewWork};
pub use report::{Ended, NotKept, Reporter, Verification};
pub use seal::{SealError, Sealed, seal};
pub use verifier::{Settings, Verifier, Work, tested_copy};
