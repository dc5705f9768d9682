//! The process as the kernel and its children see it.

use std::fs;

use taut_sim::{AppSpec, Push, Sample};

use crate::search::Canaries;
use crate::support::{SOON, Site, signing_secret, until};

#[tokio::test(flavor = "multi_thread")]
async fn neither_arguments_nor_a_programs_world_hold_a_secret_and_no_descriptor_is_handed_on() {
    let mut site = Site::new("").await;
    let run = site.dir.path().join("run");
    fs::create_dir(&run).expect("a fresh directory");
    let dir = run.display().to_string();
    site.head(&format!("[delivery]\nexec_allow = [\"{dir}/\"]\n"));
    // All that a program is given without asking; what it may open as the same user is another matter.
    let script = "#!/bin/sh\ncat > \"$1/stdin\"\ncat /proc/self/environ /proc/self/cmdline > \"$1/world\"\n\
                  ls -l /proc/self/fd > \"$1/fds\"\nulimit -Hc > \"$1/core\"\ncat /proc/$PPID/cmdline > \"$1/parent\"\n: > \"$1/done\"\n";
    let program = site.write_secret("run/handler", script);
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("its mode is set");
    let routes =
        format!("[[tenants.routes]]\nname = \"bot\"\ntarget = {{ exec = [\"{dir}/handler\", \"{dir}\"] }}\n");
    let app = site.add_tenant(1, "acme", &routes);
    let (token, secret) = (AppSpec::numbered(1).app_token, signing_secret("acme"));
    // In the worker's environment, where it should not be, and still in no program's.
    site.replace("app_token = { file = \"acme.app\" }", "app_token = { env = \"ACME_APP_TOKEN\" }");
    site.worker.variable("ACME_APP_TOKEN", &token);
    site.start_connected(&[&app]).await;
    app.push(Push::from(Sample::Message)).wait_ack(SOON).await;
    until("the program ran", || run.join("done").exists()).await;

    let canaries = Canaries::new(&[&token, &secret]);
    for name in ["stdin", "world", "fds", "parent"] {
        canaries.assert_absent(name, fs::read(run.join(name)).expect("written"));
    }
    assert_eq!(
        fs::read_to_string(run.join("core")).expect("written"),
        "0\n",
        "a program leaves no core file either"
    );
    let id = site.worker.id().expect("it runs");
    canaries
        .assert_absent("the worker's arguments", fs::read(format!("/proc/{id}/cmdline")).expect("it runs"));
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).expect("it runs");
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"]);
    assert_closed_on_exec(id, &site.read("worker.log"));
}

/// Every descriptor of the worker is closed in its programs, but those that it was given itself and says so. Only root
/// may look, the process being not dumpable.
fn assert_closed_on_exec(id: u32, log: &str) {
    let Ok(entries) = fs::read_dir(format!("/proc/{id}/fdinfo")) else { return };
    let said: Vec<_> = log.lines().filter(|line| line.contains("was left open to taut")).collect();
    let mut seen = 0;
    for entry in entries {
        let number = entry.expect("an entry").file_name().into_string().expect("a number");
        let Ok(info) = fs::read_to_string(format!("/proc/{id}/fdinfo/{number}")) else { continue };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
        let closed = u32::from_str_radix(flags.trim(), 8).expect("octal") & 0o2_000_000 != 0;
        let told = said.iter().any(|line| line.contains(&format!("\"number\":{number},")));
        let standard = number.parse::<u32>().expect("a number") <= 2;
        assert!(closed || standard || told, "descriptor {number} is handed on: {info}");
        seen += 1;
    }
    assert!(seen > 10, "the worker has descriptors");
}
