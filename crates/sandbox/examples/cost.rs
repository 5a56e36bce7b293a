//! What the walls cost: start to end of `true` in the full tier, beside the bare process. One JSON line.
//!
//! `cargo run --profile ci -p agentwright-sandbox --example cost -- 200`

use std::time::{Duration, Instant};

use agentwright_sandbox::{Access, Command, Mount, Policy, Sandbox, Settings};
use tokio_util::sync::CancellationToken;

const DEFAULT_ROUNDS: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    agentwright_sandbox::run_init_if_requested();
    let rounds = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(DEFAULT_ROUNDS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure(rounds))
}

async fn measure(rounds: usize) -> Result<(), Box<dyn std::error::Error>> {
    let scratch = std::env::temp_dir().join(format!("sandbox-cost-{}", std::process::id()));
    let state = scratch.join("state");
    std::fs::create_dir_all(&state)?;
    let sandbox = Sandbox::new("/proc/self/exe", &scratch, Settings::default())?;
    let tier = sandbox.probe().await.tier;
    let mount = |inside: &str, access| Mount {
        host: state.clone(),
        inside: inside.into(),
        access,
    };
    let with_folders = Policy {
        mounts: vec![mount("/app", Access::Read), mount("/state", Access::Write)],
        ..Policy::default()
    };
    let (mut bare, mut empty, mut folders) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = Instant::now();
        #[expect(
            clippy::disallowed_methods,
            reason = "the bare process to compare with"
        )]
        std::process::Command::new("/usr/bin/true").status()?;
        bare.push(begun.elapsed());
        for (policy, times) in [
            (Policy::default(), &mut empty),
            (with_folders.clone(), &mut folders),
        ] {
            let command = Command {
                argv: vec!["true".into()],
                stdin: Vec::new(),
            };
            let begun = Instant::now();
            let report = sandbox
                .run(policy, command, CancellationToken::new())
                .await?;
            times.push(begun.elapsed());
            assert!(report.succeeded(), "{report:?}");
        }
    }
    std::fs::remove_dir_all(&scratch)?;
    let (bare, empty, folders) = (percentiles(bare), percentiles(empty), percentiles(folders));
    #[expect(clippy::print_stdout, reason = "the result")]
    {
        println!(
            "{{\"bench\":\"sandbox_start\",\"tier\":\"{tier}\",\"rounds\":{rounds},\"bare_p50_ms\":{:.2},\"p50_ms\":{:.2},\
             \"p99_ms\":{:.2},\"over_p50_ms\":{:.2},\"folders_p50_ms\":{:.2},\"folders_over_p50_ms\":{:.2}}}",
            bare.0,
            empty.0,
            empty.1,
            empty.0 - bare.0,
            folders.0,
            folders.0 - bare.0
        );
    }
    Ok(())
}

fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |share: usize| {
        times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1000.0
    };
    (at(50), at(99))
}
