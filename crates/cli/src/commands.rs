//! Carrying out what was asked: one function for each command, one match here.

mod access;
mod backup;
mod build;
mod builds;
mod daemon;
mod decide;
mod deployments;
mod doctor;
mod finish;
mod foundation;
mod logs;
mod plan;
mod queue;
mod run_now;
mod sandbox;
mod schema;
mod service;
mod show;
mod spending;
mod table;
mod up;

use agentwright_server::daemon::Attachment;
use clap::{CommandFactory as _, Parser as _};
use serde_json::json;

use crate::args::{Cli, Command, DaemonCommand};
use crate::connect::Data;
use crate::fault::{Exit, Fault};
use crate::output::{Out, quoted, safe};

/// What every command needs.
pub(crate) struct App {
    /// Where it writes.
    pub(crate) out: Out,
    /// The data directory.
    pub(crate) data: Data,
    /// How this program was called, with the options that repeat it on the same data.
    program: String,
}

impl App {
    /// The exact command that a person can give, for example `agentwright watch x`.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let mut text = self.program.clone();
        for word in words {
            text.push(' ');
            text.push_str(&quoted(word));
        }
        text
    }
}

/// Parses the command line and carries it out.
pub(crate) fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: clap prints them to standard output with code 0.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
        }
    };
    let out = Out::new(cli.global.json);
    let data = match Data::find(cli.global.data.as_deref()) {
        Ok(data) => data.for_organization(cli.global.organization),
        Err(fault) => return report(&out, &fault),
    };
    let app = App {
        out,
        program: program(&data),
        data,
    };
    let exit = match cli.command {
        // The daemon has a runtime of its own, with more than one thread.
        Command::Daemon(DaemonCommand::Run { settings, detached }) => {
            let attachment = if detached {
                Attachment::Detached
            } else {
                Attachment::Foreground
            };
            daemon::run(&app, settings, attachment)
        }
        Command::Up(args) => up::up(&app, &args),
        command => as_client(&app, command),
    };
    let exit = exit.unwrap_or_else(|fault| report(&app.out, &fault));
    match app.out.finish() {
        Ok(()) => exit,
        Err(fault) => report(&app.out, &fault),
    }
}

fn as_client(app: &App, command: Command) -> Result<Exit, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::caused("start a runtime", &error))?;
    let exit = runtime.block_on(carry_out(app, command));
    // A question that was left still reads its line; nobody waits for it.
    runtime.shutdown_background();
    exit
}

async fn carry_out(app: &App, command: Command) -> Result<Exit, Fault> {
    match command {
        Command::Build(args) => build::build(app, *args).await,
        Command::Change(args) => build::change(app, *args).await,
        Command::List(args) => builds::list(app, args).await,
        Command::Show(args) => show::show(app, &args.name).await,
        Command::Logs(args) => logs::logs(app, args).await,
        Command::Watch(args) => builds::watch(app, &args.build).await,
        Command::Approve(args) => decide::approve(app, args).await,
        Command::Reject(args) => decide::reject(app, args).await,
        Command::Cancel(args) => builds::cancel(app, args).await,
        Command::Retry(args) => builds::retry(app, args).await,
        Command::Replay { build } => builds::replay(app, &build).await,
        Command::Deploy(args) => builds::deploy(app, args).await,
        Command::Deployments => deployments::list(app).await,
        Command::RunNow(args) => run_now::run_now(app, args).await,
        Command::Pause(args) => deployments::pause(app, args).await,
        Command::Resume(args) => deployments::resume(app, &args.name).await,
        Command::Stop(args) => deployments::stop(app, &args.name).await,
        Command::Rollback(args) => deployments::rollback(app, args).await,
        Command::Export(args) => deployments::export(app, args).await,
        Command::Remove(args) => deployments::remove(app, args).await,
        Command::Costs(args) => spending::costs(app, args).await,
        Command::Budget(command) => spending::budget(app, command).await,
        Command::Queue(command) => queue::queue(app, command).await.map_err(queue::of_items),
        Command::Heartbeat(args) => queue::heartbeat(app, args).await.map_err(queue::of_items),
        Command::Why { item } => queue::why(app, &item).await.map_err(queue::of_items),
        Command::Connect(args) => table::connect(app, args).await,
        Command::Status(args) => queue::status(app, args).await,
        Command::Report(args) => queue::report(app, args).await,
        // Carried out before there is a runtime.
        Command::Up(args) => up::up(app, &args),
        Command::Login(args) => up::login(app, args).await,
        Command::Key(command) => access::key(app, command).await,
        Command::Organization(command) => access::organization(app, command).await,
        Command::Audit(command) => access::audit(app, command).await,
        Command::Backup { file } => backup::backup(app, &file).await,
        Command::Restore(args) => backup::restore(app, args).await,
        Command::Doctor => doctor::doctor(app).await,
        Command::Schema { format } => Ok(schema::schema(app, format)),
        Command::Foundation(command) => foundation::foundation(app, command),
        Command::Sandbox(args) => sandbox::sandbox(app, args).await,
        Command::Daemon(command) => daemon::daemon(app, command).await,
        Command::Service(command) => service::service(app, command).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "agentwright", &mut script);
            app.out.raw(&script);
            Ok(Exit::Done)
        }
    }
}

fn report(out: &Out, fault: &Fault) -> Exit {
    out.json(&json!({
        "error": {
            "code": fault.code,
            "message": fault.message,
            "hint": fault.hint,
            "exit": fault.exit.number(),
        }
    }));
    out.note(format!("error: {}", safe(&fault.message)));
    if let Some(hint) = &fault.hint {
        out.note(format!("hint: {}", safe(hint)));
    }
    fault.exit
}

/// As the person called it, so that printed commands work when they are pasted: under the same name, and
/// with the data directory where it was an argument. One from the environment is there next time, too.
fn program(data: &Data) -> String {
    let mut words = std::env::args_os();
    let called = words.next().and_then(|name| name.into_string().ok());
    let called = called.filter(|name| !name.is_empty());
    let mut program = quoted(called.as_deref().unwrap_or("agentwright"));
    let explicit = words
        .take_while(|word| word != "--")
        .any(|word| word.to_str().is_some_and(is_data_flag));
    if explicit {
        program.push_str(" --data ");
        program.push_str(&quoted(&data.dir().display().to_string()));
    }
    program
}

fn is_data_flag(word: &str) -> bool {
    word == "--data" || word.starts_with("--data=")
}
