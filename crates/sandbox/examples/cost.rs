//! What the walls cost: start to end of `true` in the full tier, beside the bare process. One JSON line.
//!
//! `cargo run --profile ci -p agentwright-sandbox --example cost -- 200`

use std::time::{Duration, Instant};

use agentwright_sandbox::{Access, Command, Mount, Policy, Sandbox, Settings};
use tokio_util::sync::CancellationToken;

/// bubblewrap alone, with the same namespaces and next to no mounts.
const BUBBLEWRAP: &str = "/usr/bin/bwrap --unshare-all --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev /usr/bin/true";
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
    let (mut bare, mut alone, mut empty, mut folders) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (line, times) in [("/usr/bin/true", &mut bare), (BUBBLEWRAP, &mut alone)] {
            let mut words = line.split_whitespace();
            #[expect(
                clippy::disallowed_methods,
                reason = "the bare processes to compare with"
            )]
            let mut command = std::process::Command::new(words.next().unwrap_or_default());
            let begun = Instant::now();
            command.args(words).status()?;
            times.push(begun.elapsed());
        }
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
    let (bare, alone, empty, folders) = (
        percentiles(bare),
        percentiles(alone),
        percentiles(empty),
        percentiles(folders),
    );
    #[expect(clippy::print_stdout, reason = "the result")]
    {
        println!(
            "{{\"bench\":\"sandbox_start\",\"tier\":\"{tier}\",\"rounds\":{rounds},\"bare_p50_ms\":{:.2},\"bwrap_alone_p50_ms\":{:.2},\"p50_ms\":{:.2},\
             \"p99_ms\":{:.2},\"over_p50_ms\":{:.2},\"folders_p50_ms\":{:.2},\"folders_over_p50_ms\":{:.2}}}",
            bare.0,
            alone.0,
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
