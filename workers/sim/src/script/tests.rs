use super::*;

fn refusal(text: &str) -> String {
    Script::parse(text).expect_err("this script must be refused").to_string()
}

#[test]
fn a_whole_script_is_read() {
    let script = Script::parse(
        r#"
        seed = 7
        apps = 2
        [switches]
        ack_deadline = "500ms"
        retry_waits = ["1s", "2s", "3s"]
        speed = 60.0
        [[app]]
        id = "A0123456789"
        channels = ["C1", "C2"]
        [load]
        rate = 100.0
        kinds = ["message", "slash_command"]
        start = "1s"
        for = "10s"
        [[step]]
        at = "5s"
        app = "A0123456789"
        do = "refresh"
        [[step]]
        when = { hellos = 2, acked = 10 }
        after = "100ms"
        do = "fail_opens"
        times = 3
        failure = { with = "error", code = "internal_error" }
        [[step]]
        every = "1s"
        do = "push"
        kind = "app_mention"
        count = 4
        "#,
    )
    .unwrap();
    assert_eq!(script.apps.len(), 3);
    assert_eq!(script.apps[0].channels, ["C1", "C2"]);
    assert_eq!(script.switches.ack_deadline, Duration::from_millis(500));
    assert_eq!(script.switches.sockets_max, 10);
    assert_eq!(script.steps.len(), 3);
    assert_eq!(script.load.unwrap().load.kinds, [Sample::Message, Sample::SlashCommand]);
}

#[test]
fn unknown_keys_are_refused_by_name() {
    assert!(refusal("sede = 1").contains("sede"));
    assert!(refusal("[switches]\nack_dedline = \"1s\"").contains("ack_dedline"));
    assert!(refusal("[[step]]\nat = \"1s\"\ndo = \"refresh\"\nnow = true").contains("now"));
    let unknown = refusal("[[step]]\nat = \"1s\"\ndo = \"refesh\"");
    assert!(
        unknown.contains("step 1") && unknown.contains("refesh") && unknown.contains("`refresh`"),
        "{unknown}"
    );
    assert!(refusal("[[step]]\nat = \"1s\"\nwhen = { helloes = 1 }\ndo = \"warn\"").contains("helloes"));
}

#[test]
fn steps_without_a_time_an_app_or_a_sane_value_are_refused() {
    assert!(refusal("[[step]]\ndo = \"warn\"").contains("give `at`"));
    assert!(refusal("[[step]]\nat = \"soon\"\ndo = \"warn\"").contains("at: `soon`"));
    assert!(refusal("[[step]]\nat = \"1s\"\napp = \"A9\"\ndo = \"warn\"").contains("no app `A9`"));
    assert!(refusal("[[step]]\nevery = \"0s\"\ndo = \"warn\"").contains("at least 1ms"));
    assert!(refusal("[[step]]\nat = \"1s\"\ndo = \"push\"\npayload = \"{\"").contains("not JSON"));
    assert!(refusal("[switches]\nspeed = 0.0").contains("above 0"));
    assert!(refusal("[load]\nrate = 1.0\nkinds = [\"mesage\"]").contains("view_submission"));
}

#[test]
fn the_example_scripts_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/sim");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        Script::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        read += 1;
    }
    assert!(read >= 4);
}

#[test]
fn the_document_names_every_switch_and_sample() {
    let document = include_str!("../../../../docs/simulator.md");
    for sample in Sample::ALL {
        assert!(document.contains(&format!("`{sample}`")), "{sample}");
    }
    let refusal = refusal("[switches]\nno_such_switch = 1");
    let named: Vec<&str> = refusal.split('`').skip(3).step_by(2).collect(); // the first is the unknown one
    assert!(named.len() > 25, "{refusal}");
    for switch in named {
        assert!(document.contains(&format!("`{switch}`")), "{switch}");
    }
}
