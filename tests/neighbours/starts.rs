//! Row 61: thousands of tenants start at once.

use std::time::Duration;

use taut_sim::{AppHandle, NoteKind, SimConfig, Switches};

use crate::support::{Site, echo, signing_secret};

/// Tenants of the row.
const TENANTS: u32 = 2_000;
/// The pace given; at the default of 100 a second it would be 20 s.
const PER_SECOND: u32 = 1_000;
/// How long they may take on a busy machine; at their pace it is 2 s.
const ALL_UP: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn f61_two_thousand_tenants_start_at_once_paced_and_are_ready_before_they_are_up() {
    let config =
        SimConfig { switches: Switches::default(), journal_notes_max: 100_000, ..SimConfig::default() };
    let mut site = Site::with_sim("", config).await;
    site.slack(&format!("opens_per_second = {PER_SECOND}"));
    let handler = echo("nobody").await;
    let mut apps = Vec::new();
    for number in 1..=TENANTS {
        let id = format!("tenant-{number}");
        let url = handler.add_path(&format!("/{id}"), signing_secret(&id));
        apps.push(site.add_simple(number, &id, &url));
    }
    site.start().await;
    let up = |apps: &[AppHandle]| apps.iter().filter(|app| !app.connections().is_empty()).count();
    let when_it_answered = up(&apps);
    assert!(when_it_answered < apps.len(), "it answers operators before everybody is up");
    for app in &apps {
        let connected = app.wait_connected(1, ALL_UP).await;
        assert!(connected, "{} of {TENANTS} are up\n{}", up(&apps), site.worker.log_tail());
    }
    let mut opens = Vec::new();
    for note in site.sim.journal().notes(None) {
        if let NoteKind::Open { outcome } = note.kind {
            assert_eq!(outcome, "ok", "no open is refused for its rate");
            opens.push(note.at);
        }
    }
    // A handshake may time out while everybody's are under way, and is then made again.
    let most = apps.len() + apps.len() / 20;
    assert!((apps.len()..=most).contains(&opens.len()), "{} opens", opens.len());
    // A busy machine only makes it longer: at their pace, less the burst, the opens take at least this long.
    let least = Duration::from_secs(u64::from(TENANTS / PER_SECOND) - 1);
    let took = opens.last().copied().unwrap_or_default().saturating_sub(opens[0]);
    assert!(took >= least, "{} opens within {took:?}", opens.len());
    let cpu = site.cpu();
    println!(
        "{when_it_answered} up when it answered; {} opens within {took:?}; {cpu:?} of processor time",
        opens.len()
    );
    site.until_status("all are connected", |status| status.ready.ready).await;
}
