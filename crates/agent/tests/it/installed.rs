//! Says which real agents the other tests ran against.

use crate::support::real;

/// Its output is shown also when it passes: a family that did not run must be seen.
#[test]
fn which_real_agents_are_installed_is_said() {
    for program in ["claude", "codex"] {
        if let Some(path) = real(program) {
            println!("{program}: {}", path.display());
        }
    }
}
