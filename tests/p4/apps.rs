//! The handler apps of `tests/apps` as processes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::direct;
use crate::support::{SOON, signing_secret};

/// How an app is started, and what it stands.
#[derive(Debug)]
pub(crate) struct Program {
    /// The tenant's id and the name in failures.
    pub(crate) name: &'static str,
    /// Which listeners it can have: `listener_absent_in` of the cases speaks of families.
    pub(crate) family: &'static str,
    interpreter: &'static str,
    arguments: &'static [&'static str],
    /// Requests it is sent at once. Bolt for Python's own server takes one after the other; the standard library's
    /// keeps five connections waiting.
    pub(crate) at_once: usize,
}

const VENV: &str = ".venv/bin/python";
const JS: &str = "bolt-js/app.js";
const PYTHON: &str = "bolt-python/app.py";

/// Every app; all verify signatures.
pub(crate) const APPS: [Program; 6] = [
    program("js-http", "node", &[JS, "--receiver", "http"], 16),
    program("js-express", "node", &[JS, "--receiver", "express"], 16),
    program("py-builtin", VENV, &[PYTHON, "--server", "builtin"], 1),
    program("py-flask", VENV, &[PYTHON, "--server", "flask"], 16),
    program("py-aiohttp", VENV, &[PYTHON, "--server", "aiohttp"], 16),
    program("java-adapter", "python3", &["java-adapter/receiver.py"], 4),
];

const fn program(
    name: &'static str,
    interpreter: &'static str,
    arguments: &'static [&'static str],
    at_once: usize,
) -> Program {
    let family = match name.as_bytes() {
        [b'j', b's', ..] => "js",
        [b'p', b'y', ..] => "py",
        _ => "java",
    };
    Program { name, family, interpreter, arguments, at_once }
}

/// A listener that ran, and for which request.
#[derive(Debug, Deserialize)]
pub(crate) struct Ran {
    pub(crate) listener: String,
    pub(crate) id: serde_json::Value,
}

/// A running app; it ends with this value.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) program: &'static Program,
    pub(crate) port: u16,
    record_port: u16,
    _child: Child,
}

impl App {
    /// Starts the app and waits until it takes requests.
    pub(crate) async fn start(program: &'static Program) -> Self {
        let mut child =
            command(program).spawn().unwrap_or_else(|error| not_installed(program, &error.to_string()));
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let ports = timeout(SOON, ports(&mut lines)).await;
        let Ok(Some((port, record_port))) = ports else { not_installed(program, "it did not listen") };
        // What the servers print later must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { program, port, record_port, _child: child }
    }

    /// Where Slack would send its requests.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, direct::PATH)
    }

    /// The listeners that ran so far.
    pub(crate) async fn record(&self) -> Vec<Ran> {
        let answer = direct::get(self.record_port, "/record").await;
        serde_json::from_slice(&answer.body).expect("the record is a list of listeners and ids")
    }
}

fn command(program: &Program) -> Command {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps");
    let needed = match program.family {
        "js" => "bolt-js/node_modules/.stamp",
        "py" => ".venv/.stamp",
        _ => "java-adapter/receiver.py",
    };
    if !home.join(needed).exists() {
        not_installed(program, &format!("tests/apps/{needed} is missing"));
    }
    let interpreter =
        if program.interpreter == VENV { home.join(VENV) } else { PathBuf::from(program.interpreter) };
    let mut command = Command::new(interpreter);
    command
        .args(program.arguments)
        .current_dir(home)
        .env("SLACK_SIGNING_SECRET", signing_secret(program.name))
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

fn not_installed(program: &Program, why: &str) -> ! {
    panic!("the handler app {} cannot run: {why}; run .ci/install", program.name)
}

/// The app's two ports, once it has printed both; `None` if it ended first.
async fn ports(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<(u16, u16)> {
    let (mut listening, mut record) = (None, None);
    loop {
        if let (Some(listening), Some(record)) = (listening, record) {
            return Some((listening, record));
        }
        let line = lines.next_line().await.ok()??;
        match line.split_once(' ') {
            Some(("listening", port)) => listening = port.parse().ok(),
            Some(("record", port)) => record = port.parse().ok(),
            _ => {}
        }
    }
}
