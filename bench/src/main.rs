//! Measurements of design §10. Each prints one JSON line; none is a test.
//!
//! The daemon runs in a process of its own with an executor that answers at once, so that only ours
//! is measured; requests go over its socket. The limit of the disk is measured in the same run, on
//! the same file system.

#![expect(clippy::print_stdout, reason = "the result")]
#![expect(
    clippy::disallowed_methods,
    reason = "measures real time, starts the server that it kills"
)]

mod cheats;
mod claims;
mod front;
mod limit;
mod llm;
mod load;
mod served;
mod year;

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Measures agentwright; prints one JSON line")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Builds of empty stages over HTTP, many clients at a time.
    W1(Load),
    /// `kill -9` with everything in flight, restart, until all have ended.
    W3(Load),
    /// One such build after the other.
    One(Load),
    /// The newest hundred of many builds (`--n 10000`).
    List(Load),
    /// Many followers (`--n 1000`) of one build's events.
    Events(Load),
    /// Many connections (`--n 10000`) that follow a build which says nothing.
    Idle(Load),
    /// Cold start, and memory at rest without and with builds (`--n 10000`).
    Start(Load),
    /// Claims of the queue and of a connected table beside bare commits (`--n 1000`).
    Claims(Load),
    /// A year of heartbeats by a clock that is moved, and the memory at the end of each month.
    Year(year::Options),
    /// A call of a model beside a bare HTTP round trip.
    Llm(llm::Options),
    /// Programs that lie and programs that do not, judged by review and verify.
    Cheats(cheats::Options),
    /// A bare axum server (started by the others).
    #[command(hide = true)]
    Bare {
        #[arg(long)]
        socket: PathBuf,
        #[arg(long)]
        page: PathBuf,
    },
    /// The server (started by the others).
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        data: PathBuf,
        #[arg(long)]
        store: String,
        /// How long each stage takes, ms.
        #[arg(long, default_value_t = 0)]
        stage_ms: u64,
    },
}

#[derive(Parser, Clone)]
struct Load {
    /// Where the tables are.
    #[arg(long, value_enum, default_value_t = Engine::Sqlite)]
    store: Engine,
    /// How many builds.
    #[arg(long, default_value_t = 1_000)]
    n: usize,
    /// How many clients at a time.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Where the data directory is made; must be a real disk.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    // Behind the walls this program is the first process.
    agentwright_sandbox::run_init_if_requested();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let line = match Args::parse().what {
            What::W1(load) => load::w1(&load).await?,
            What::W3(load) => load::w3(&load).await?,
            What::One(load) => load::one(&load).await?,
            What::List(load) => front::list(&load).await?,
            What::Events(load) => front::events(&load).await?,
            What::Idle(load) => front::idle(&load).await?,
            What::Start(load) => front::start(&load).await?,
            What::Bare { socket, page } => {
                front::bare(&socket, &page).await?;
                return Ok(ExitCode::SUCCESS);
            }
            What::Claims(load) => claims::run(&load).await?,
            What::Year(options) => year::run(&options).await?,
            What::Llm(options) => llm::run(&options).await?,
            What::Cheats(options) => {
                let (line, reached) = cheats::run(&options).await?;
                println!("{line}");
                return Ok(ExitCode::from(u8::from(!reached)));
            }
            What::Serve {
                data,
                store,
                stage_ms,
            } => {
                served::serve(&data, &store, stage_ms).await?;
                return Ok(ExitCode::SUCCESS);
            }
        };
        println!("{line}");
        Ok(ExitCode::SUCCESS)
    })
}
