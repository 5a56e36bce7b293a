//! The inner init alone, for this crate's own tests and measurements. Products use their own executable.

fn main() {
    agentwright_sandbox::run_init_if_requested();
    std::process::exit(2);
}
