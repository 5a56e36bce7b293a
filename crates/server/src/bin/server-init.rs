//! The inner init alone, for this crate's own tests. The product uses its own executable.

fn main() {
    agentwright_sandbox::run_init_if_requested();
    std::process::exit(2);
}
