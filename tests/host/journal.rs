//! Log lines as the systemd journal gets them; the journal is a socket of the test's own.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use taut_sim::{AppHandle, EchoHandler, Sample};

use crate::support::tools::{get, taut};
use crate::support::{SOON, Site, echo, signing_secret, until};

/// How often a count is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A site that logs to `journal` in its directory, with one tenant.
async fn site(format: &str) -> (Site, PathBuf, AppHandle, EchoHandler) {
    let mut site = Site::new("").await;
    let path = site.dir.path().join("journal");
    site.head(&format!("[log]\nformat = \"{format}\"\njournal_socket = \"{}\"\n", path.display()));
    let handler = echo("acme").await;
    let app = site.add_simple(1, "acme", &handler.url());
    (site, path, app, handler)
}

fn listen(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).expect("a socket in the site's directory");
    socket.set_nonblocking(true).expect("it is a socket");
    socket
}

/// The next entry, if there is one.
fn next(journal: &UnixDatagram) -> Option<String> {
    let mut buffer = vec![0; 1 << 17];
    let length = journal.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_reach_the_journal_with_fields_and_without_secrets() {
    let (mut site, path, app, _handler) = site("journald").await;
    let journal = listen(&path);
    let entries = parking_lot::Mutex::new(Vec::new());
    let read = || entries.lock().extend(std::iter::from_fn(|| next(&journal)));
    site.start_connected(&[&app]).await;
    until("a line about the tenant", || {
        read();
        entries.lock().iter().any(|entry: &String| entry.contains("\nTENANT=acme\n"))
    })
    .await;
    site.worker.terminate().await.expect("it stops");
    read();
    let entries = entries.into_inner();
    for entry in &entries {
        for field in ["PRIORITY=", "SYSLOG_IDENTIFIER=taut\n", "MESSAGE=", "TARGET=taut"] {
            assert!(entry.contains(field), "{field} in {entry}");
        }
        assert!(!entry.contains(&signing_secret("acme")) && !entry.contains("xapp-"), "{entry}");
    }
    assert!(entries.iter().any(|entry| entry.starts_with("PRIORITY=6\n")));
    assert_eq!(site.read("worker.log"), "", "nothing goes to stderr beside the journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_hangs_or_goes_away_holds_nothing_up() {
    let (mut site, path, app, handler) = site("journald").await;
    let journal = listen(&path);
    site.start_connected(&[&app]).await;
    let listener = std::iter::from_fn(|| next(&journal)).find_map(|entry| {
        let (_, rest) = entry.split_once("\nMETRICS=")?;
        rest.lines().next().map(ToOwned::to_owned)
    });
    let listener = listener.expect("the worker logs its listener");
    let lost = async || {
        let (_, text) = get(&listener, "/metrics").await;
        let sample = text.lines().find_map(|line| line.strip_prefix("taut_log_lines_lost_total "));
        sample.map_or(0.0, |value| value.parse::<f64>().expect("a number"))
    };
    // Reloads until there are more lost lines than before; each logs a line.
    let until_more_are_lost = async |before: f64| {
        let losing = async {
            while lost().await <= before {
                site.signal(Signal::HUP);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(SOON, losing).await.expect("lines are lost and counted");
    };
    // Nobody reads from it any more: it is full after some lines.
    until_more_are_lost(0.0).await;
    app.push(Sample::Message);
    until("delivered past a full journal", || handler.totals().requests >= 1).await;

    drop(journal);
    std::fs::remove_file(&path).expect("it was there");
    until_more_are_lost(lost().await).await;
    app.push(Sample::Message);
    until("delivered past an absent journal", || handler.totals().requests >= 2).await;

    let journal = listen(&path);
    site.signal(Signal::HUP);
    until("the first line says what is missing", || {
        next(&journal).is_some_and(|entry| {
            entry.contains("\nLINES_LOST=") && entry.contains("lines before this one are lost)\n")
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn journald_without_a_journal_is_refused_at_start() {
    let (site, path, _, _) = site("journald").await;
    site.write_config();
    let run = taut(&["run", "--config", site.dir.path().join("taut.toml").to_str().expect("text")]).await;
    let said = run.all();
    assert!(said.contains("log.format is journald, but no journal listens at"), "{said}");
    assert!(said.contains(path.to_str().expect("text")) && said.contains("set log.format to json"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_goes_to_the_journal_where_stderr_leads_to_it_and_only_there() {
    let (mut site, path, app, _handler) = site("auto").await;
    let journal = listen(&path);
    let stderr = site.dir.path().join("worker.log");
    std::fs::write(&stderr, "").expect("the log is made");
    let stderr = stderr.metadata().expect("just made");

    site.worker.variable("JOURNAL_STREAM", &format!("{}:{}", stderr.dev(), stderr.ino() + 1));
    site.start_connected(&[&app]).await;
    site.worker.terminate().await.expect("it stops");
    assert!(next(&journal).is_none() && site.read("worker.log").starts_with('{'));

    let before = site.read("worker.log");
    site.worker.variable("JOURNAL_STREAM", &format!("{}:{}", stderr.dev(), stderr.ino()));
    site.start_connected(&[&app]).await;
    assert!(next(&journal).is_some_and(|entry| entry.contains("\nMESSAGE=")));
    assert_eq!(site.read("worker.log"), before);
}
