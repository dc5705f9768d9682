//! What a person who writes a configuration can rely on: every breach at once, each with its place; provenance; the
//! shipped files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use taut::config::{Breaches, Loaded, keys, load, render, short_form};
use taut_core::config::{Config, SecretRef, Span, Target};
use tempfile::TempDir;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Writes each text to `0.toml`, `1.toml`, … and loads them.
fn load_texts(texts: &[&str], variables: &[(&str, &str)]) -> (TempDir, Result<Loaded, Breaches>) {
    let dir = TempDir::new().expect("a directory");
    let write = |(index, text): (usize, &&str)| {
        let path = dir.path().join(format!("{index}.toml"));
        std::fs::write(&path, text).expect("a file");
        path
    };
    let files: Vec<PathBuf> = texts.iter().enumerate().map(write).collect();
    let loaded = load(&files, &env(variables));
    (dir, loaded)
}

/// What is wrong with a text, one line each, without the directory.
fn breaches(text: &str) -> String {
    let (dir, loaded) = load_texts(&[text], &[]);
    let printed = loaded.map(|_| ()).expect_err("there is a breach").to_string();
    printed.replace(&format!("{}/", dir.path().display()), "")
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

const ACME: &str = r#"
[[tenants]]
id = "acme"
app_token = { file = "acme.token" }
signing_secret = { env = "ACME_SIGNING_SECRET" }
[[tenants.routes]]
name = "bot"
target = { http = "http://127.0.0.1:3000/slack/events" }
"#;

#[test]
fn without_files_the_defaults_hold() {
    let loaded = load(&[], &env(&[])).expect("defaults are valid");
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.origins.values().all(|origin| origin.to_string() == "default"));
}

#[test]
fn every_breach_is_listed_with_key_value_place_and_rule() {
    let text = r#"
[store]
pth = "/var/lib/taut"
[queue]
overflow = "drop"
dedup_window = "5m"
request_reserve_percent = 90
envelopes_max = "many"
[slack]
quiet_max = "14s"
hello_timeout = "soon"
[worker]
tenants_max = -1
[delivery]
retry_first = "10m"
"#;
    assert_eq!(
        breaches(text),
        r#"store.pth = "/var/lib/taut" (0.toml:3): no such key; did you mean store.path?
queue.overflow = "drop" (0.toml:5): must be `dead_letter_oldest` or `refuse`
queue.dedup_window = "5m" (0.toml:6): must be at least 6m: Slack's last retry comes that long after the event
queue.request_reserve_percent = 90 (0.toml:7): must be 0 to 50: events need room too
queue.envelopes_max = "many" (0.toml:8): must be a whole number, such as 10000
slack.quiet_max = "14s" (0.toml:10): must be longer than slack.ping_after (15s), or a socket is dead before it is asked
slack.hello_timeout = "soon" (0.toml:11): `soon` is not a span of time such as 500ms, 9s, 15m or 14d
worker.tenants_max = -1 (0.toml:13): is beyond what this key can hold
delivery.retry_max = "5m" (default): must be at least delivery.retry_first (10m)"#
    );
}

#[test]
fn two_missing_tokens_are_not_one_token() {
    let tenant = |id: &str| format!("[[tenants]]\nid = \"{id}\"\nsigning_secret = {{ env = \"S{id}\" }}\n");
    let breaches = breaches(&(tenant("acme") + &tenant("globex")));
    assert_eq!(breaches.matches("is missing").count(), 2, "{breaches}");
    assert!(!breaches.contains("unique"), "{breaches}");
}

#[test]
fn a_relation_is_not_judged_by_a_value_that_was_refused() {
    let text = "[slack]\nquiet_max = \"10s\"\nping_after = \"soon\"";
    assert_eq!(breaches(text).lines().count(), 1);
}

#[test]
fn a_broken_tenant_does_not_hide_another_ones_breaches() {
    let text = r#"
[[tenants]]
id = "ACME!"
app_token = { file = "a", env = "B" }
[[tenants.routes]]
name = "bot"
target = { http = "http://u:hunter2@127.0.0.1:3000/" }
concurrency = 0

[[tenants]]
id = "globex"
app_token = { env = "T" }
signing_secret = { env = "S" }
[[tenants.routes]]
name = "a"
target = { http = "http://93.184.216.34/" }
[[tenants.routes]]
name = "a"
ordr = "none"
timeout = "1h"
[tenants.routes.match]
kinds = ["events"]
commands = ["deploy"]

[[tenants]]
id = "globex"
app_token = { env = "T" }
signing_secret = { env = "S" }
"#;
    assert_eq!(
        breaches(text),
        r#"tenants[0].signing_secret (0.toml:2): is missing
tenants[0].id = "ACME!" (0.toml:3): must match [a-z0-9._-]{1,64}
tenants[0].app_token (0.toml:4): must have exactly one of credential, env, file
tenants[0].routes[0].target.http = "http://***@127.0.0.1:3000/" (0.toml:7): must have no user info (name:password@): a secret has no place in a URL
tenants[0].routes[0].concurrency = 0 (0.toml:8): must be 1 to 256
tenants[1].routes[0].target.http = "http://93.184.216.34/" (0.toml:16): must be a host that delivery.allow_hosts (loopback, private) lets through
tenants[1].routes[1].target (0.toml:17): is missing
tenants[1].routes[1].name = "a" (0.toml:18): must be unique within its tenant
tenants[1].routes[1].ordr = "none" (0.toml:19): no such key; did you mean tenants[1].routes[1].order?
tenants[1].routes[1].timeout = "1h" (0.toml:20): must be 1s to 5m
tenants[1].routes[1].match.kinds = ["events"] (0.toml:22): must be one of `events_api`, `interactive`, `slash_commands`, `unknown`
tenants[1].routes[1].match.commands = ["deploy"] (0.toml:23): must each begin with a slash
tenants[2].id = "globex" (0.toml:26): must be unique: tenants[1] has it too
tenants[2].app_token (0.toml:27): must be unique: tenants[1] has the same, and one app has one tenant"#
    );
}

#[test]
fn a_pasted_secret_is_refused_and_not_repeated() {
    let text = r#"
[network]
proxy = "http://joe:hunter2@proxy.corp:3128"
proxy_password = "hunter2"
[[tenants]]
id = "acme"
app_token = "xapp-1-A0123-hunter2"
signing_secret = { env = "8f742231b10e8888abcd99bbb22285a5" }
signing_secrt = "hunter2"
bot_token = { env = "xoxb-hunter2" }
sgn = "xapp-1-A0123-hunter2"
[[tenants]]
id = "globex"
app_token = { credential = "../hunter2" }
signing_secret = { value = "hunter2" }
"#;
    let printed = breaches(text);
    assert!(!printed.contains("hunter2") && !printed.contains("8f742231"), "{printed}");
    let refused = [
        "network.proxy ",
        "network.proxy_password ",
        "tenants[0].app_token ",
        "tenants[0].signing_secret ",
        "tenants[0].signing_secrt ",
        "tenants[0].bot_token ",
        "tenants[0].sgn ",
        "tenants[1].app_token ",
        "tenants[1].signing_secret.value ",
    ];
    for key in refused {
        assert!(printed.lines().any(|line| line.starts_with(key)), "{key} in {printed}");
    }
    assert_eq!(printed.lines().count(), refused.len(), "{printed}");
}

#[test]
fn keys_of_later_versions_are_not_called_misspelt() {
    let text = r#"
[store]
kind = "redis"
ack_after = "redis"
[store.redis]
url = "redis://127.0.0.1"
[fleet]
id = "main"
[gateway]
listen = "127.0.0.1:9465"
[worker]
labels = { region = "eu" }
drain_max = "15m"
[[tenants]]
id = "acme"
app_token = { env = "T" }
signing_secret = { env = "S" }
routes = [{ name = "x", target = { redis_stream = "s" } }]
"#;
    let printed = breaches(text);
    assert_eq!(printed.lines().count(), 8, "{printed}");
    let not_yet = |line: &str| line.contains("this version of taut does not have it yet");
    assert!(printed.lines().all(not_yet), "{printed}");
}

#[test]
fn programs_and_files_need_the_hosts_leave() {
    let tenant = |routes: &str| {
        format!(
            "[[tenants]]\nid = \"acme\"\napp_token = {{ env = \"T\" }}\nsigning_secret = {{ env = \"S\" }}\nroutes = [{routes}]\n"
        )
    };
    let events = r#"match = { kinds = ["events_api"] }"#;
    let routes = [
        r#"{ name = "a", target = { exec = ["/bin/true"] } }"#.to_owned(),
        r#"{ name = "b", target = { exec = [] } }"#.to_owned(),
        r#"{ name = "c", target = { exec = ["/opt/h/../../bin/sh"] } }"#.to_owned(),
        format!(r#"{{ name = "d", target = {{ file = "/var/log/x" }}, {events} }}"#),
        r#"{ name = "e", target = { file = "rel" } }"#.to_owned(),
    ];
    assert_eq!(
        breaches(&tenant(&routes.join(", "))),
        r#"tenants[0].routes[0].target.exec = "/bin/true" (0.toml:5): must be let through by delivery.exec_allow, which is empty: nothing is allowed until the host's file says so
tenants[0].routes[1].target.exec = [] (0.toml:5): must name a program, and its arguments if any
tenants[0].routes[2].target.exec = "/opt/h/../../bin/sh" (0.toml:5): must be an absolute path without `.`, `..`, `//` and a slash at its end
tenants[0].routes[3].target.file = "/var/log/x" (0.toml:5): must be let through by delivery.file_dirs, which is empty: nothing is allowed until the host's file says so
tenants[0].routes[4].target.file = "rel" (0.toml:5): must be an absolute path without `.`, `..`, `//` and a slash at its end
tenants[0].routes[4].match.kinds = [] (default): its match.kinds must name events_api or unknown, and nothing else: a file answers nobody, so it takes no requests"#
    );
    let lists = "[delivery]\nexec_allow = [\"/opt/h/\", \"x\"]\nfile_dirs = [\"/var/log/taut\", \"/\"]\n";
    let routes = [
        r#"{ name = "a", target = { exec = ["/opt/h/run", "xoxb-1234567890-abcdef"] } }"#.to_owned(),
        r#"{ name = "b", target = { exec = ["/opt/hh/run"] } }"#.to_owned(),
        format!(r#"{{ name = "c", target = {{ file = "/var/log/taut/x" }}, {events} }}"#),
        format!(r#"{{ name = "d", target = {{ file = "/var/log/taut/x" }}, {events} }}"#),
        format!(r#"{{ name = "e", target = {{ file = "/var/log/x" }}, {events} }}"#),
    ];
    assert_eq!(
        breaches(&format!("{lists}{}", tenant(&routes.join(", ")))),
        r#"delivery.exec_allow = "x" (0.toml:2): must be an absolute path without `.`, `..` and `//`, and not the root directory
delivery.file_dirs = "/" (0.toml:3): must be an absolute path without `.`, `..` and `//`, and not the root directory
tenants[0].routes[0].target.exec = "***" (0.toml:8): must hold no secret: everybody on this host can read a program's arguments
tenants[0].routes[3].target.file = "/var/log/taut/x" (0.toml:8): must be unique: tenants[0].routes[2].target.file is the same file, and a file has one writer"#
    );
    let allowed = lists.replace(", \"x\"", "").replace(", \"/\"", "");
    assert_eq!(
        breaches(&format!("{allowed}{}", tenant(&routes[1..].join(", ")))).lines().count(),
        3,
        "two paths beside the lists, one file twice"
    );
}

#[test]
fn a_file_that_is_not_toml_says_every_line() {
    let printed = breaches("[store\npath = \n[log]\nlevel = \"xapp-1-hunter2\n");
    assert!(printed.lines().count() >= 2 && !printed.contains("hunter2"), "{printed}");
    assert!(printed.starts_with("0.toml:1: is not TOML: "), "{printed}");
    let missing = load(&[PathBuf::from("/nowhere/taut.toml")], &env(&[])).expect_err("there is no such file");
    assert!(missing.to_string().starts_with("/nowhere/taut.toml: cannot be read: "), "{missing}");
}

#[test]
fn later_layers_win_and_every_key_knows_its_layer() {
    let first = format!("[queue]\nenvelopes_max = 5\ndedup_window = \"7m\"\n{ACME}");
    let second = ACME.replace("acme", "globex").replace("ACME", "GLOBEX");
    let second = format!("[queue]\nenvelopes_max = 6\n[delivery]\nallow_hosts = [\"loopback\"]\n{second}");
    let variables = [("TAUT__NETWORK__DEADLINES__TCP", "2s"), ("TAUT__QUEUE__DEDUP_ENTRIES_MAX", "500")];
    let (dir, loaded) = load_texts(&[&first, &second], &variables);
    let Loaded { config, origins, base_dir, warnings } = loaded.expect("a valid configuration");

    assert_eq!(config.queue.envelopes_max, 6);
    assert_eq!(config.queue.dedup_entries_max, 500);
    assert_eq!(config.network.deadlines.tcp, Span::secs(2));
    assert_eq!(config.delivery.allow_hosts, ["loopback"]);
    let ids: Vec<_> = config.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
    assert_eq!(ids, ["acme", "globex"]);
    assert_eq!(base_dir, dir.path());
    assert_eq!(warnings, Vec::<String>::new());

    let origin = |key: &str| origins[key].to_string().replace(&format!("{}/", dir.path().display()), "");
    assert_eq!(origin("queue.envelopes_max"), "1.toml:2");
    assert_eq!(origin("queue.dedup_window"), "0.toml:3");
    assert_eq!(origin("queue.dedup_entries_max"), "env TAUT__QUEUE__DEDUP_ENTRIES_MAX");
    assert_eq!(origin("network.deadlines.tcp"), "env TAUT__NETWORK__DEADLINES__TCP");
    assert_eq!(origin("network.deadlines.tls"), "default");
    assert_eq!(origin("tenants[1].id"), "1.toml:7");
    assert_eq!(origin("tenants[1].routes[0].timeout"), "default");
}

#[test]
fn relative_paths_count_from_the_file_that_names_them() {
    let (dir, loaded) = load_texts(&[ACME, "[store]\npath = \"state\""], &[]);
    let config = loaded.expect("a valid configuration").config;
    assert_eq!(config.tenants[0].app_token, SecretRef::File(dir.path().join("acme.token")));
    assert_eq!(config.store.path, Some(dir.path().join("state")));
}

#[test]
fn a_variable_that_sets_nothing_is_refused_with_a_suggestion() {
    let variables = [
        ("TAUT__STORE__PTH", "x"),
        ("TAUT__QUEUE__ENVELOPES_MAX", "many"),
        ("TAUT__DELIVERY__ALLOW_HOSTS", "private"),
        ("TAUT__STORE", "disk"),
        ("TAUT__FLEET__ID", "main"),
        ("TAUT__NETWORK__PROXY_PASSWORD", "hunter2"),
        ("TAUT_OTHER", "is not ours"),
    ];
    let printed = load(&[], &env(&variables)).expect_err("there are breaches").to_string();
    assert_eq!(
        printed,
        r#"TAUT__DELIVERY__ALLOW_HOSTS = "private": is a list; set it in a file
TAUT__FLEET__ID = "main": this version of taut does not have it yet (it runs on one host)
TAUT__NETWORK__PROXY_PASSWORD = ***: is a table; set one of its keys, e.g. TAUT__NETWORK__PROXY_PASSWORD__FILE
TAUT__QUEUE__ENVELOPES_MAX = "many": must be a whole number
TAUT__STORE = "disk": is a table; set one of its keys, e.g. TAUT__STORE__KIND
TAUT__STORE__PTH = "x": no such key; did you mean TAUT__STORE__PATH?"#
    );
}

#[test]
fn a_secret_of_a_later_layer_replaces_the_whole_reference() {
    let text = "[network]\nproxy_user = \"taut\"\nproxy_password = { file = \"x\" }";
    let (_dir, loaded) = load_texts(&[text], &[("TAUT__NETWORK__PROXY_PASSWORD__ENV", "PROXY_PASSWORD")]);
    let config = loaded.expect("one reference").config;
    assert_eq!(config.network.proxy_password, Some(SecretRef::Env("PROXY_PASSWORD".into())));
}

#[test]
fn what_works_but_should_be_known_is_a_warning() {
    let text = ACME.replace("[[tenants.routes]]", "environment = \"prod\"\n[[tenants.routes]]");
    let globex =
        "[[tenants]]\nid = \"globex\"\napp_token = { env = \"T\" }\nsigning_secret = { env = \"S\" }";
    let text = format!("[metrics]\nlisten = \"0.0.0.0:9464\"\n{text}\n{globex}");
    let (_dir, loaded) = load_texts(&[&text], &[]);
    let warnings = loaded.expect("warnings are no breaches").warnings;
    let about = |key: &str| warnings.iter().any(|warning| warning.starts_with(key));
    assert!(about("metrics.listen (") && about("tenants[0].signing_secret (") && about("tenants[1] ("));
    assert_eq!(warnings.len(), 3, "{warnings:?}");
}

#[test]
fn the_way_to_slack_is_safe_or_refused() {
    for (text, ok) in [
        ("[slack]\napi_url = \"http://127.0.0.1:8080/api/\"", true),
        ("[slack]\napi_url = \"http://localhost:8080/api/\"", true),
        ("[slack]\napi_url = \"http://slack.com/api/\"", false),
        ("[slack]\napi_url = \"https://slack.com/api\"", false),
        ("[network]\nproxy = \"http://proxy.corp:3128\"", true),
        ("[network]\nproxy = \"https://proxy.corp:3128\"", true),
        ("[network]\nproxy = \"socks5://proxy.corp:3128\"", false),
        ("[network]\nproxy = \"proxy.corp:3128\"", false),
        ("[network]\nproxy_password = { env = \"P\" }", false),
        ("[admin]\nlisten = \"127.0.0.1:9000\"", false),
        ("[admin]\nlisten = \"unix:/run/taut/admin.sock\"", true),
        ("[metrics]\nlisten = \"localhost\"", false),
        ("[log]\nlevel = \"inof\"", false),
        ("[delivery]\nallow_hosts = [\"http://x\"]", false),
    ] {
        let (_dir, loaded) = load_texts(&[text], &[]);
        assert_eq!(loaded.is_ok(), ok, "{text}: {loaded:?}");
    }
}

#[test]
fn the_short_form_is_one_tenant_and_one_route() {
    let variables = env(&[("SLACK_APP_TOKEN", "xapp-1-hunter2"), ("SLACK_SIGNING_SECRET", "hunter2")]);
    let loaded = short_form(&variables, "http://localhost:3000/slack/events").expect("valid");
    let [tenant] = loaded.config.tenants.as_slice() else { panic!("one tenant: {loaded:?}") };
    assert_eq!(tenant.id.as_str(), "default");
    assert_eq!(tenant.app_token, SecretRef::Env("SLACK_APP_TOKEN".into()));
    assert_eq!(tenant.signing_secret, SecretRef::Env("SLACK_SIGNING_SECRET".into()));
    let [route] = tenant.routes.as_slice() else { panic!("one route: {tenant:?}") };
    assert_eq!(route.name.as_str(), "default");
    assert_eq!(route.target, Target::Http("http://localhost:3000/slack/events".into()));
    assert_eq!(loaded.config.metrics.listen, "127.0.0.1:0");
    assert_eq!(loaded.origins["tenants[0].routes[0].target"].to_string(), "--forward");
    assert_eq!(loaded.origins["tenants[0].app_token"].to_string(), "env SLACK_APP_TOKEN");
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn the_short_form_says_all_that_is_missing() {
    let variables = env(&[("SLACK_APP_TOKEN", "xoxb-1-hunter2")]);
    let printed = short_form(&variables, "localhost:3000").expect_err("three breaches").to_string();
    assert_eq!(printed.lines().count(), 3, "{printed}");
    assert!(printed.contains("SLACK_SIGNING_SECRET: must be set"), "{printed}");
    assert!(printed.contains("SLACK_APP_TOKEN = ***: is a bot token"), "{printed}");
    assert!(
        printed.contains("target.http = \"localhost:3000\" (--forward): must be a whole URL"),
        "{printed}"
    );
}

#[test]
fn what_check_prints_loads_again_and_says_where_values_come_from() {
    let (dir, loaded) = load_texts(&[ACME], &[("TAUT__LOG__LEVEL", "debug")]);
    let loaded = loaded.expect("valid");
    let page = render(&loaded);
    let line = |text: &str| {
        let line =
            page.lines().find(|line| line.starts_with(text)).unwrap_or_else(|| panic!("{text}: {page}"));
        line.replace(&format!("{}/", dir.path().display()), "")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("level ="), r#"level = "debug" # env TAUT__LOG__LEVEL"#);
    assert_eq!(line("app_token ="), r#"app_token = { file = "acme.token" } # 0.toml:4"#);
    assert_eq!(line("overflow ="), r#"overflow = "dead_letter_oldest" # default"#);
    assert_eq!(line("target ="), r#"target = { http = "http://127.0.0.1:3000/slack/events" } # 0.toml:8"#);
    assert!(page.contains("# proxy is not set"), "{page}");
    let (_dir, again) = load_texts(&[&page], &[]);
    assert_eq!(again.expect("the page is a configuration").config, loaded.config);
}

#[test]
fn the_shipped_file_holds_the_defaults_and_names_every_key() {
    let file = repository("config/taut.toml");
    let loaded = load(std::slice::from_ref(&file), &env(&[])).expect("the shipped file is valid");
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, Vec::<String>::new());

    // A `#` with a key or a table behind it, without a space, is an example: take it at its word.
    let text = std::fs::read_to_string(&file).expect("the shipped file");
    let taken = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest.to_owned(),
        _ => line.to_owned(),
    };
    let examples: Vec<String> = text.lines().map(taken).collect();
    let (_dir, loaded) = load_texts(&[&examples.join("\n")], &[]);
    let loaded = loaded.expect("the examples are valid");
    for key in keys() {
        let key = key.replace("[]", "[0]");
        let named = loaded.origins.get(&key).is_some_and(|origin| origin.to_string() != "default");
        // False and empty values are not written again, so they are looked for in the text.
        let written = examples
            .iter()
            .any(|line| line.starts_with(&format!("{} =", key.rsplit('.').next().unwrap_or(""))));
        assert!(named || (written && !loaded.origins.contains_key(&key)), "{key} is not in config/taut.toml");
    }
}

#[test]
fn the_example_tenants_are_valid() {
    let files = [repository("config/taut.toml"), repository("config/tenants.example.toml")];
    let loaded = load(&files, &env(&[])).expect("valid");
    assert_eq!(loaded.config.tenants.len(), 3);
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn thousands_of_tenants_load_and_a_bad_one_is_found() {
    let tenant = |index: usize| {
        let timeout = if index == 1_999 { "never" } else { "9s" };
        ACME.replace("acme", &format!("t{index}")).replace("ACME", &format!("T{index}"))
            + &format!("timeout = \"{timeout}\"\n")
    };
    let text: String = (0..2_000).map(tenant).collect();
    let printed = breaches(&text);
    assert!(printed.starts_with("tenants[1999].routes[0].timeout = \"never\""), "{printed}");
    assert_eq!(printed.lines().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever stands in a file, loading it ends in a configuration or in breaches that can be printed.
    #[test]
    fn any_file_is_survived(
        lines in prop::collection::vec(
            prop_oneof![
                Just("[[tenants]]".to_owned()),
                Just("[[tenants.routes]]".to_owned()),
                Just("[slack]".to_owned()),
                Just("[network.deadlines]".to_owned()),
                "(id|app_token|target|match|timeout|tcp|tenants|routes|slack|paused) = (1|-9|true|\"[a-z=]{0,5}\"|\\[\\]|\\[1, \\{\\}\\]|\\{ (env|http|file|kinds) = (\"x\"|2|\\[\\{\\}\\]) \\}|99999999999999999999|1979-05-27)",
                "\\PC{0,30}",
            ],
            0..12,
        )
    ) {
        let (_dir, loaded) = load_texts(&[&lines.join("\n")], &[]);
        match loaded {
            Ok(loaded) => prop_assert!(!render(&loaded).is_empty()),
            Err(breaches) => prop_assert!(!breaches.to_string().is_empty()),
        }
    }
}

#[test]
fn what_outgrows_its_bound_is_refused() {
    let route = |n: usize| {
        format!("[[tenants.routes]]\nname = \"r{n}\"\ntarget = {{ http = \"http://127.0.0.1/\" }}\n")
    };
    let routes = |count: usize| ACME.to_owned() + &(1..count).map(route).collect::<String>();
    let globex = ACME.replace("acme", "globex").replace("ACME", "GLOBEX");
    let list = |count: usize| format!("[{}]", vec!["\"C1\""; count].join(", "));
    let channels = |count| format!("{ACME}match = {{ channels = {} }}\n", list(count));
    let hosts = |count: usize| {
        let hosts: Vec<_> = (0..count).map(|n| format!("\"h{n}.example\"")).collect();
        format!("[delivery]\nallow_hosts = [\"loopback\", {}]\n{ACME}", hosts.join(", "))
    };
    let program = |count: usize| {
        let exec = format!("{{ exec = [\"/bin/echo\"{}] }}", ", \"x\"".repeat(count - 1));
        let target = "{ http = \"http://127.0.0.1:3000/slack/events\" }";
        format!("[delivery]\nexec_allow = [\"/bin/echo\"]\n{}", ACME.replace(target, &exec))
    };
    let worker = |count: u32| format!("[worker]\ntenants_max = {count}\n{ACME}{globex}");
    for (fits, too_much, rule) in [
        (routes(64), routes(65), "tenants[0].routes (0.toml:6): must be at most 64"),
        (channels(256), channels(257), "must have at most 256 entries, none of them empty"),
        (hosts(255), hosts(256), "must have at most 256 entries"),
        (program(64), program(65), "must have at most 64 texts of 32768 bytes in all"),
        (worker(2), worker(1), "must be at least the number of [[tenants]] (2)"),
    ] {
        let (_dir, loaded) = load_texts(&[&fits], &[]);
        assert!(loaded.is_ok(), "{rule}: {:?}", loaded.err().map(|breaches| breaches.to_string()));
        let printed = breaches(&too_much);
        assert!(printed.contains(rule) && printed.lines().count() == 1, "{rule}:\n{printed}");
    }
}

#[test]
fn a_file_larger_than_its_bound_is_refused_by_name() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("endless.toml");
    let file = std::fs::File::create(&path).expect("a file");
    file.set_len((64 << 20) + 1).expect("a sparse file");
    let breaches = load(&[path], &env(&[])).map(|_| ()).expect_err("too large").to_string();
    assert!(breaches.contains("endless.toml") && breaches.contains("is larger than 64 MiB"), "{breaches}");
}
