//! Secrets' files that are not as they should be, and a state directory that others were in before.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::geteuid;
use taut_sim::AppSpec;

use crate::search::{Canaries, every_path};
use crate::support::{Site, connected};

const ROUTE: &str = "[[tenants.routes]]\nname = \"bot\"\ntarget = { http = \"http://127.0.0.1:9/\" }\n";

#[tokio::test(flavor = "multi_thread")]
async fn f58_each_fault_of_a_secrets_file_is_named_and_its_content_is_not() {
    let mut site = Site::new("").await;
    let mut cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", b"".to_vec(), "is empty"),
        ("breaks", b"\r\n\n".to_vec(), "is empty"),
        ("padded", b"planted-content \n".to_vec(), "begins or ends with a space"),
        ("lines", b"planted-content\nplanted-content\n".to_vec(), "not one line of text"),
        ("marked", b"\xef\xbb\xbfplanted-content".to_vec(), "not one line of text"),
        ("binary", b"planted-content\xff\0".to_vec(), "not one line of text"),
        ("huge", b"planted-content".repeat(1000), "larger than 8192 bytes"),
        ("pipe", Vec::new(), "not in a regular file"),
        ("directory", Vec::new(), "not in a regular file"),
        ("missing", Vec::new(), "could not read"),
    ];
    if !geteuid().is_root() {
        cases.push(("unreadable", b"planted-content".to_vec(), "could not read"));
    }
    for (number, (id, content, _)) in (1..).zip(&cases) {
        site.add_tenant(number, id, ROUTE);
        let path = site.dir.path().join(format!("{id}.signing"));
        fs::remove_file(&path).expect("it was made");
        match *id {
            "pipe" => mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe"),
            "directory" => fs::create_dir(&path).expect("a directory"),
            "missing" => {}
            _ => {
                fs::write(&path, content).expect("written");
                let mode = if *id == "unreadable" { 0o000 } else { 0o600 };
                fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode is set");
            }
        }
    }
    // What may be forgiven: a line break of another system, and a mode that deserves a warning.
    let crlf = site.add_simple(100, "crlf", "http://127.0.0.1:9/");
    site.write_secret("crlf.app", &format!("{}\r\n", AppSpec::numbered(100).app_token));
    let open = site.add_simple(101, "open", "http://127.0.0.1:9/");
    for (name, mode) in [("open.app", 0o644), ("open.signing", 0o620)] {
        fs::set_permissions(site.dir.path().join(name), Permissions::from_mode(mode))
            .expect("its mode is set");
    }
    site.start_connected(&[&crlf, &open]).await;
    for (id, _, words) in &cases {
        let tenant = site.until_tenant(id, "refused", |tenant| tenant.reason == "secret_missing").await;
        let text = &tenant.reason_text;
        assert!(text.contains(words) && text.contains(&format!("{id}.signing")), "{id}: {text}");
    }
    let log = site.read("worker.log");
    for words in
        ["everybody on this host can read the secret in", "others on this host can change the secret in"]
    {
        assert!(log.contains(words), "{words}");
    }
    let canaries = Canaries::new(&["planted-content"]);
    canaries.assert_absent("the log", &log);
    for command in [&["status", "--json"][..], &["check"], &["doctor"]] {
        canaries.assert_absent("a command", site.taut(command).await.all());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_umask_and_whatever_was_there_others_are_shut_out() {
    let mut site = Site::new("").await;
    site.launch_by("umask 0000\nexec \"$@\"");
    let app = site.add_simple(1, "acme", "http://127.0.0.1:9/");
    site.start_connected(&[&app]).await;
    let root = site.dir.path().to_owned();
    let modes = |what: &str| {
        for path in every_path(&root.join("store")).into_iter().chain([root.join("admin.sock")]) {
            // A socket that has ended takes its file with it.
            let Ok(there) = fs::metadata(&path) else { continue };
            let mode = there.permissions().mode();
            assert_eq!(mode & 0o077, 0, "{what}: {} has mode {mode:o}", path.display());
        }
    };
    modes("a new store");
    site.worker.terminate().await.expect("it stops");
    for path in every_path(&root.join("store")) {
        let mode = if path.is_dir() { 0o777 } else { 0o666 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode is set");
    }
    site.start().await;
    assert!(connected(&app).await);
    modes("a store that was open to all");
    assert!(site.read("worker.log").contains("let others at a file of the store"), "and it was said");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_link_makes_taut_write_nowhere_else() {
    let site = Site::new("").await;
    site.write_config();
    let victim = site.write_secret("victim", "theirs");
    let (config, store) = (site.dir.path().join("taut.toml"), site.dir.path().join("store"));
    let run =
        async || crate::support::tools::taut(&["run", "--config", config.to_str().expect("a text")]).await;
    for name in ["lock", "taut.redb", "segments"] {
        drop(fs::remove_dir_all(&store));
        fs::create_dir(&store).expect("a fresh directory");
        symlink(&victim, store.join(name)).expect("a link");
        let ended = run().await;
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains("is a link") && ended.stderr.contains(name), "{}", ended.stderr);
    }
    fs::remove_dir_all(&store).expect("removed");
    let socket = site.dir.path().join("admin.sock");
    for made in
        [symlink(&victim, &socket), fs::remove_file(&socket).and_then(|()| fs::write(&socket, "theirs too"))]
    {
        made.expect("it is in the way");
        let ended = run().await;
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains("no socket; it is left as it is"), "{}", ended.stderr);
    }
    assert_eq!(fs::read_to_string(&victim).expect("there"), "theirs");
    assert_eq!(fs::read_to_string(&socket).expect("there"), "theirs too");
}

/// A secret where none should be, in every way to write one down.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_configuration_names_the_key_and_never_a_secret() {
    const PLANTED: &str = "plantedvalue";
    let site = Site::new("").await;
    let texts = [
        "app_token = \"xapp-1-A1-1-PLANTED\n",
        "signing_secret = PLANTED\n",
        "signing_secret = { file = \"a\" }\nsigning_secret = \"PLANTED\"\n",
        "signing_secret = [\"PLANTED\"]\nbot_token = { env = \"xoxb-1-PLANTED\" }\n",
        "token = \"PLANTED\"\napp_token = { file = \"a\", value = \"PLANTED\" }\n",
        "network = { proxy = \"http://u:PLANTED@h:1\", proxy_password = \"PLANTED\" }\n",
        "[[tenants.routes]]\nname = \"b\"\ntarget = { http = \"http://u:PLANTED@h/?token=PLANTED#\" }\n",
        "[network]\nproxy_password = \"PLANTED\"\n[slack]\napi_url = \"https://u:PLANTED@h/?token=PLANTED\"\n",
    ];
    let canaries = Canaries::new(&[PLANTED]);
    for text in texts {
        let text = format!("[[tenants]]\nid = \"acme\"\n{}", text.replace("PLANTED", PLANTED));
        let path = site.write_secret("broken.toml", &text);
        for command in ["check", "run", "doctor"] {
            let run =
                crate::support::tools::taut(&[command, "--config", path.to_str().expect("a text")]).await;
            assert_eq!(run.code, 2, "{run:?}");
            canaries.assert_absent(&format!("taut {command} of {text}"), run.all());
        }
    }
    let variables = [
        ("TAUT__NETWORK__PROXY_PASSWORD", PLANTED),
        ("TAUT__SLACK__API_URL", "http://u:plantedvalue@x"),
        ("SLACK_APP_TOKEN", PLANTED),
        ("SLACK_SIGNING_SECRET", " "),
    ];
    let forward = ["run", "--forward", "http://u:plantedvalue@127.0.0.1:1/"];
    let run = crate::support::tools::taut_with(&forward, &variables).await;
    assert_eq!(run.code, 2, "{run:?}");
    canaries.assert_absent("the short form", run.all());
}
