//! The inner init alone, for this crate's own tests. Products use their own executable.

fn main() {
    agentwright_sandbox::run_init_if_requested();
    std::process::exit(2);
}
