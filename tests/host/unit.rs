//! The unit as systemd judges it.

use std::process::{Command, Output};

use crate::{file, text, there};

/// Highest exposure that the unit may have, of 10.
const EXPOSURE_MAX: f64 = 1.5;

/// A directory with the unit, its programs replaced by one that is everywhere.
fn unit_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let unit = text("systemd/taut.service").replace("/usr/bin/taut", "/bin/true");
    std::fs::write(dir.path().join("taut.service"), unit).expect("it is written");
    dir
}

fn analyze(dir: &tempfile::TempDir, arguments: &[&str]) -> Output {
    Command::new("systemd-analyze")
        .args(arguments)
        .arg(dir.path().join("taut.service"))
        .output()
        .expect("systemd-analyze runs")
}

#[test]
fn systemd_has_nothing_to_say_about_the_unit() {
    if !there("systemd-analyze") {
        return;
    }
    let verified = analyze(&unit_dir(), &["verify", "--man=no", "--recursive-errors=no"]);
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn the_drop_in_for_newer_systemds_has_no_key_that_older_ones_take_for_something_else() {
    if !there("systemd-analyze") {
        return;
    }
    let dir = unit_dir();
    let drop_ins = dir.path().join("taut.service.d");
    std::fs::create_dir(&drop_ins).expect("a directory");
    let newer = file("systemd/taut.service.d/systemd-254.conf");
    std::fs::copy(newer, drop_ins.join("systemd-254.conf")).expect("it is copied");
    let verified = analyze(&dir, &["verify", "--man=no", "--recursive-errors=no"]);
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let unknown = |line: &&str| !line.contains("RestartSteps") && !line.contains("RestartMaxDelaySec");
    assert_eq!(said.lines().filter(unknown).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn the_units_exposure_is_low() {
    if !there("systemd-analyze") {
        return;
    }
    let judged = analyze(&unit_dir(), &["security", "--offline=true", "--no-pager"]);
    let said = String::from_utf8_lossy(&judged.stdout).into_owned();
    let overall = said.lines().find(|line| line.contains("Overall exposure level")).expect("a verdict");
    let (_, level) = overall.split_once("taut.service: ").expect("a level");
    let level: f64 = level.split(' ').next().and_then(|level| level.parse().ok()).expect("a number");
    assert!(level <= EXPOSURE_MAX, "{said}");
}

#[test]
fn the_unit_says_what_the_worker_relies_on() {
    let unit = text("systemd/taut.service");
    for wanted in [
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "WatchdogSec=",
        "LimitCORE=0",
        "KillMode=mixed",
        "StateDirectory=taut",
        "RuntimeDirectory=taut",
    ] {
        assert!(unit.lines().any(|line| line.starts_with(wanted)), "{wanted}");
    }
}
