//! Process groups: nothing that a program started outlives its attempt, and nothing of it outlives a kill of taut
//! but what the repeat's key tells apart.

use taut_sim::Sample;

use crate::support::until;
use crate::{Stand, exec_route};

/// Whether a process runs; one that only waits to be reaped does not.
fn runs(id: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    let state = status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_time_the_whole_group_is_killed_even_if_it_will_not_go() {
    let mut stand = Stand::new("", &exec_route("handler", "timeout = \"1s\"")).await;
    stand.script(
        "handler",
        r#"[ "$TAUT_ATTEMPT" -gt 1 ] && exit 0
           trap '' TERM; (trap '' TERM; echo $$ > "$1/leader"; sleep 1000) & sleep 1000 & echo $! > "$1/child"; wait; sleep 1000"#,
    );
    stand.start().await;
    stand.acked(Sample::Message).await;
    until("its child is there", || stand.path("child").exists() && !stand.text("child").is_empty()).await;
    assert!(runs(&stand.text("child")));
    stand.until_dry().await;
    until("nobody is left", || !runs(&stand.text("leader")) && !runs(&stand.text("child"))).await;
    let leader = stand.text("leader");
    assert!(!std::path::Path::new(&format!("/proc/{}", leader.trim())).exists(), "the leader was reaped");
    assert!(stand.attempts("transient").await >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_leaves_behind_is_killed_with_its_end() {
    let mut stand = Stand::new("", &exec_route("handler", "")).await;
    stand.script("handler", r#"sleep 1000 & echo $! >> "$1/children"; exit 0"#);
    stand.start().await;
    for _ in 0..5 {
        stand.acked(Sample::Message).await;
    }
    stand.until_dry().await;
    let children = stand.lines("children");
    assert_eq!(children.len(), 5);
    until("nobody is left", || !children.iter().any(|child| runs(child))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_the_delivery_is_repeated_with_the_same_key() {
    let mut stand = Stand::new("", &exec_route("handler", "")).await;
    stand.script("handler", r#"echo "$TAUT_IDEMPOTENCY_KEY" >> "$1/keys"; [ -e "$1/go" ] || sleep 1000"#);
    stand.start().await;
    stand.acked(Sample::Message).await;
    until("the program runs", || stand.lines("keys").len() == 1).await;
    stand.site.worker.kill().await.expect("it runs");
    std::fs::write(stand.path("go"), "").expect("a file is written");
    stand.start().await;
    stand.until_dry().await;
    let keys = stand.lines("keys");
    assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_programs_finish() {
    let mut stand = Stand::new("exec_max = 1", &exec_route("handler", "order = \"none\"")).await;
    stand.script("handler", r#"echo start >> "$1/log"; sleep 0.3; echo end >> "$1/log""#);
    stand.start().await;
    for _ in 0..8 {
        stand.app.push(Sample::Message);
    }
    until("one runs", || stand.lines("log").len() == 1).await;
    let (whole, _) = stand.site.worker.terminate().await.expect("it stops");
    assert!(whole, "{}", stand.site.worker.log_tail());
    let log = stand.lines("log");
    assert_eq!(
        log.iter().filter(|line| *line == "start").count() * 2,
        log.len(),
        "each that began has ended: {log:?}"
    );
    stand.start().await;
    stand.until_dry().await;
    assert_eq!(stand.lines("log").len(), 16, "and the others ran later, each once");
}
