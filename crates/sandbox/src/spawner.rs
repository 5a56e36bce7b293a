//! The one thread that starts sandboxes and never ends.
//!
//! `--die-with-parent` follows the *thread* that started bubblewrap, and an async runtime's threads come and
//! go. So every start happens here, for the whole life of the process. Start at [`on_spawner_thread`].

use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::sync::oneshot;

use crate::error::Error;

type Job = Box<dyn FnOnce() + Send>;

static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();

/// Runs `work` on the never-ending thread and returns its answer.
pub(crate) async fn on_spawner_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (reply, answer) = oneshot::channel();
    let job: Job = Box::new(move || {
        // A caller that has gone away drops the answer, and with it whatever was started.
        let _ = reply.send(work());
    });
    let gone = || Error::Setup("the thread that starts sandboxes is gone".into());
    sender()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send(job)
        .map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

fn sender() -> &'static Mutex<Sender<Job>> {
    SPAWNER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        let thread = std::thread::Builder::new()
            .name("sandbox-spawner".into())
            .spawn(move || {
                for job in jobs {
                    // A panicking job must not end the thread: that would kill every sandbox.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                }
            });
        if let Err(error) = thread {
            tracing::error!(%error, "cannot start the thread that starts sandboxes");
        }
        Mutex::new(sender)
    })
}
