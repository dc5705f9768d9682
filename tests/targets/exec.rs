//! `exec`: what a program is told, and what its end means.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use taut_sim::{AckOutcome, Sample};

use crate::support::{SOON, until};
use crate::{Stand, exec_route};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_the_payload_and_nothing_of_ours() {
    let mut stand = Stand::new("", &exec_route("handler", "")).await;
    stand.script(
        "handler",
        r#"cd_is=$(pwd); cat > "$1/stdin"; tr '\0' '\n' < /proc/$$/environ > "$1/env"
           ls -l /proc/$$/fd > "$1/fds"; cut -d' ' -f1,5 /proc/$$/stat > "$1/group"; umask > "$1/umask"
           tr '\0' '\n' < /proc/$$/cmdline > "$1/argv"; echo "$cd_is" > "$1/cwd"; : > "$1/done""#,
    );
    stand.start().await;
    stand.acked(Sample::Message).await;
    until("the program ran", || stand.path("done").exists()).await;
    stand.until_dry().await;

    let payload = stand.text("stdin");
    assert!(payload.ends_with('\n') && payload.is_ascii(), "one line of ASCII: {payload}");
    let payload: Value = serde_json::from_str(&payload).expect("the payload's JSON");
    assert_eq!(payload["event"]["type"], "message");

    let environment = stand.lines("env");
    let names: Vec<_> =
        environment.iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let expected =
        ["ATTEMPT", "DEADLINE_MS", "DELIVERY_ID", "EPOCH", "IDEMPOTENCY_KEY", "KIND", "ROUTE", "TENANT"];
    assert_eq!(names, expected.map(|name| format!("TAUT_{name}")), "{environment:?}");
    let event = payload["event_id"].as_str().expect("an id");
    for line in ["TAUT_TENANT=acme", "TAUT_ROUTE=bot", "TAUT_KIND=events_api", "TAUT_ATTEMPT=1"] {
        assert!(environment.iter().any(|found| found == line), "{line} in {environment:?}");
    }
    assert!(environment.contains(&format!("TAUT_IDEMPOTENCY_KEY=acme:{event}")), "{environment:?}");

    // What this test's own parents left open goes from taut's parent through taut; nothing of taut's own may.
    let ours: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .expect("Linux")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .collect();
    let descriptors = stand.lines("fds");
    let descriptors: Vec<_> =
        descriptors.iter().filter(|line| !ours.iter().any(|link| line.ends_with(link))).cloned().collect();
    let descriptors = descriptors.join("\n");
    for word in ["store", "socket:", "worker.log", "eventpoll", "eventfd"] {
        assert!(!descriptors.contains(word), "the program holds {word}: {descriptors}");
    }
    assert_eq!(descriptors.matches("pipe:").count(), 3, "{descriptors}");
    let group = stand.text("group");
    let (process, group) = group.trim().split_once(' ').expect("two numbers");
    assert_eq!(process, group, "it leads a group of its own");
    assert_eq!((stand.text("cwd").as_str(), stand.text("umask").as_str()), ("/\n", "0077\n"));
    let run = stand.site.dir.path().join("run");
    assert_eq!(stand.lines("argv").last().map(String::as_str), run.to_str(), "the arguments as configured");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_are_done_retry_or_a_dead_letter() {
    let routes = exec_route("handler", "order = \"none\"");
    let mut stand = Stand::new("", &routes).await;
    // The first two attempts ask for a retry, then it is done; what has a channel of its own is refused for good.
    stand.script(
        "handler",
        r#"cat > "$1/payload.$$"
           if grep -q C0POISON "$1/payload.$$"; then echo why >&2; exit 3; fi
           if grep -q C0KILLED "$1/payload.$$" && [ "$TAUT_ATTEMPT" = 1 ]; then kill -9 $$; fi
           echo "$TAUT_ATTEMPT $TAUT_DELIVERY_ID" >> "$1/attempts"
           [ "$TAUT_ATTEMPT" -lt 3 ] && exit 75; exit 0"#,
    );
    stand.start().await;
    stand.acked(Sample::Message).await;
    stand.until_dry().await;
    let attempts = stand.lines("attempts");
    assert_eq!(attempts.len(), 3, "{attempts:?}");
    let ids: Vec<_> = attempts.iter().filter_map(|line| line.split_once(' ')).map(|(_, id)| id).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2], "one delivery: {attempts:?}");

    stand.acked(taut_sim::Push::from(Sample::Message).in_channel("C0POISON")).await;
    stand.site.until_tenant("acme", "a dead letter", |tenant| tenant.dead_letters == 1).await;
    let list = stand.site.taut(&["deadletter", "list"]).await.ok();
    assert!(list.contains("exit code 3"), "{list}");
    stand.acked(taut_sim::Push::from(Sample::Message).in_channel("C0KILLED")).await;
    stand.until_dry().await;
    assert_eq!(stand.site.tenant("acme").await.dead_letters, 1, "what was killed by another is tried again");
    assert!(stand.attempts("transient").await >= 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_prints_answers_a_request() {
    let mut stand = Stand::new("", &exec_route("handler", "")).await;
    stand.script(
        "handler",
        r#"case "$TAUT_KIND" in
             slash_commands) printf 'on it \303\251\n\n';;
             block_suggestion) echo '{"options":[]}';;
             view_submission) head -c 70000 /dev/zero | tr '\0' x;;
             shortcut) exit 1;;
           esac"#,
    );
    stand.start().await;
    assert_eq!(stand.acked(Sample::SlashCommand).await.as_deref(), Some("{\"text\":\"on it é\"}"));
    assert_eq!(stand.acked(Sample::BlockSuggestion).await.as_deref(), Some("{\"options\":[]}"));
    assert_eq!(stand.acked(Sample::BlockActions).await, None, "a bare ack");
    for sample in [Sample::ViewSubmission, Sample::Shortcut] {
        let refused = stand.app.push(sample).wait_ack(Duration::from_secs(1)).await;
        assert!(matches!(refused, AckOutcome::Unacked { .. }), "{sample:?}: {refused:?}");
    }
    let reason = |reason| format!("taut_envelopes_refused_total{{tenant=\"acme\",reason=\"{reason}\"}}");
    assert!(stand.site.metric(&reason("answer_too_large")).await >= 1.0);
    assert!(stand.site.metric(&reason("handler_refused")).await >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_program_answers_as_well() {
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let Ok(python) = python.map(|out| String::from_utf8(out.stdout).expect("a path is text")) else {
        return println!("skipped: there is no python3 here");
    };
    let python = std::fs::canonicalize(python.trim()).expect("its own word");
    let routes = format!(
        "[[tenants.routes]]\nname = \"bot\"\ntarget = {{ exec = [\"{}\", \"DIR/handler.py\"] }}\n",
        python.display()
    );
    let mut stand = Stand::new("", &routes).await;
    stand.site.replace_config("exec_allow = [", &format!("exec_allow = [\"{}\", ", python.display()));
    let program = "import json, os, sys\ncommand = json.load(sys.stdin)\n\
                   print(json.dumps({'text': command['command'] + ' ' + os.environ['TAUT_TENANT']}))\n";
    std::fs::write(stand.path("handler.py"), program).expect("a program is written");
    stand.start().await;
    let answer = stand.acked(Sample::SlashCommand).await.expect("a payload");
    assert!(answer.ends_with(" acme\"}"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_the_targets_fault_and_loses_nothing() {
    let mut stand = Stand::new("", &exec_route("handler", "order = \"none\"")).await;
    stand.start().await;
    for _ in 0..20 {
        stand.app.push(Sample::Message);
    }
    let broken = |tenant: &taut::seeing::status::TenantStatus| {
        tenant.routes_down.iter().any(|(_, why)| why == "breaker_open")
    };
    stand.site.until_tenant("acme", "the breaker is open", broken).await;
    let checked = stand.site.taut(&["check"]).await;
    assert!(checked.code == 0 && checked.stderr.contains("No such file"), "{checked:?}");
    // A directory, a file that is no program, one of another format, then the right one.
    std::fs::write(stand.path("handler"), "no interpreter").expect("a file is written");
    stand.script("fresh", "cat > /dev/null; echo $TAUT_DELIVERY_ID >> $1/ids");
    std::fs::rename(stand.path("fresh"), stand.path("handler")).expect("they share a directory");
    stand.until_dry().await;
    let mut ids = stand.lines("ids");
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), stand.site.tenant("acme").await.dead_letters), (20, 0));
    assert!(stand.attempts("target_fault").await >= 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_need_not_read_and_may_flood() {
    let mut stand = Stand::new("", &exec_route("handler", "order = \"none\"")).await;
    // A payload larger than a pipe holds is not read; the first attempt floods both outputs until they are closed.
    stand.script("handler", r#"[ "$TAUT_ATTEMPT" = 1 ] && { yes >&2 & exec yes; }; : > "$1/done"; exit 0"#);
    stand.start().await;
    let text = "x".repeat(300_000);
    let payload = serde_json::json!({
        "type": "event_callback", "event_id": "Ev1", "api_app_id": stand.app.id(), "event": { "type": "message", "text": text }
    });
    stand.acked(taut_sim::Push::raw(payload.to_string()).typed(taut_sim::EnvelopeType::EventsApi)).await;
    until("the second attempt", || stand.path("done").exists()).await;
    stand.until_dry().await;
    assert_eq!(stand.site.tenant("acme").await.dead_letters, 0);
    assert!(stand.site.memory("VmHWM") < 200 << 20, "{}", stand.site.memory("VmHWM"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_a_quarter_of_the_hosts_programs() {
    let mut stand =
        Stand::new("exec_max = 4", &exec_route("handler", "order = \"none\"\nconcurrency = 16")).await;
    stand.script("handler", r#"echo start >> "$1/log"; sleep 0.05; echo end >> "$1/log""#);
    stand.start().await;
    for _ in 0..8 {
        stand.app.push(Sample::Message);
    }
    until("all have run", || stand.lines("log").len() == 16).await;
    let one_by_one = ["start", "end"].repeat(8);
    assert_eq!(stand.lines("log"), one_by_one, "a quarter of four is one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_programs_say_is_shown_outside_prod_only() {
    for (environment, shown) in [("dev", true), ("prod", false)] {
        let tenant = format!("environment = \"{environment}\"\n{}", exec_route("handler", ""));
        let mut stand = Stand::new("", &tenant).await;
        stand.script("handler", "echo the-quoted-words >&2");
        stand.start().await;
        stand.acked(Sample::Message).await;
        stand.until_dry().await;
        until("a line", || stand.site.read("worker.log").contains("standard error")).await;
        assert_eq!(stand.site.read("worker.log").contains("the-quoted-words"), shown, "{environment}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_out_of_the_list_is_never_followed() {
    let mut stand = Stand::new("", &exec_route("handler", "")).await;
    let outside = stand.site.dir.path().join("outside");
    stand.script("fresh", "echo $0 >> $1/ran");
    std::fs::rename(stand.path("fresh"), &outside).expect("one file system");
    std::os::unix::fs::symlink(&outside, stand.path("handler")).expect("a link");
    stand.start().await;
    stand.acked(Sample::Message).await;
    let failing = async {
        while stand.attempts("target_fault").await < 3.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, failing).await.expect("the target is at fault");
    assert_eq!(stand.text("ran"), "", "it never ran");
    let checked = stand.site.taut(&["check"]).await;
    assert!(checked.stderr.contains("leads elsewhere"), "{checked:?}");
}
