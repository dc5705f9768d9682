//! A service manager of the test's own: the socket behind `NOTIFY_SOCKET`, and a hold on single threads of a worker.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::ptrace;
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::net::UnixDatagram;

use crate::support::Site;

/// The span named to the worker. Long enough for a machine under load, short enough to wait for.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(4);

/// What a worker told its service manager so far, one entry for each assignment.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    /// Listens where `site`'s worker will find it.
    pub(crate) fn listen(site: &mut Site) -> Self {
        let path = site.dir.path().join("notify.sock");
        site.worker.variable("NOTIFY_SOCKET", path.to_str().expect("temporary paths are text"));
        site.worker.variable("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string());
        let told = Self::default();
        told.clone().receive(&path);
        told
    }

    fn receive(self, path: &Path) {
        let socket = UnixDatagram::bind(path).expect("a socket in the site's directory");
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(length) = socket.recv(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                self.0.lock().extend(text.lines().map(ToOwned::to_owned));
            }
        });
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    /// How often a line that begins so was told.
    pub(crate) fn count(&self, begins: &str) -> usize {
        self.0.lock().iter().filter(|line| line.starts_with(begins)).count()
    }

    /// Where the first line that begins so stands.
    pub(crate) fn position(&self, begins: &str) -> Option<usize> {
        self.0.lock().iter().position(|line| line.starts_with(begins))
    }
}

/// Threads of a worker that stand still. They go on when this is dropped.
pub(crate) struct Held {
    release: Option<mpsc::Sender<()>>,
    holder: Option<JoinHandle<()>>,
}

impl Held {
    /// Stops every thread of a process that has this name; `None` if this machine does not let us.
    ///
    /// From outside, by ptrace: the worker has no hook for it.
    pub(crate) fn threads(process: u32, name: &str) -> Option<Self> {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the worker runs");
        let ids: Vec<i32> = tasks
            .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
            .filter(|id| {
                let path = format!("/proc/{process}/task/{id}/comm");
                std::fs::read_to_string(path).is_ok_and(|comm| comm.trim() == name)
            })
            .collect();
        assert!(!ids.is_empty(), "no thread is named {name}");
        let (release, released) = mpsc::channel();
        let (held, answer) = mpsc::channel();
        // A thread is held by the thread that seized it, for as long as that one lives.
        let holder = std::thread::spawn(move || {
            let seize = |id: &i32| {
                let thread = Pid::from_raw(*id);
                ptrace::seize(thread, ptrace::Options::empty()).and_then(|()| ptrace::interrupt(thread))
            };
            held.send(ids.iter().map(seize).collect::<Result<Vec<()>, _>>()).expect("the test waits");
            // Told or dropped: both end it.
            let _end = released.recv();
        });
        match answer.recv().expect("the holder answers") {
            Ok(_) => Some(Self { release: Some(release), holder: Some(holder) }),
            Err(error) => {
                eprintln!("SKIPPED: threads of the worker cannot be held here (ptrace: {error})");
                None
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(holder) = self.holder.take() {
            holder.join().expect("the holder ends");
        }
    }
}
