//! `docs/cli.md`, generated from the command line's own definition.

use std::fmt::Write as _;

use clap::Command;

/// The reference of all commands as Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Command line\n\nGenerated from the command line's own definition; a test keeps it true.\n",
    );
    text.push_str("\nExit codes: 0 done, 1 failed, 2 usage or configuration refused.\n");
    let mut root = super::definition();
    root.build();
    section(&mut text, &root, "taut");
    text
}

fn section(text: &mut String, command: &Command, path: &str) {
    let mut shown = command.clone().term_width(100).no_binary_name(false);
    let help = shown.render_long_help();
    writeln!(text, "\n## `{path}`\n\n```text\n{}\n```", tidy(&help.to_string()))
        .expect("a String takes every write");
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        section(text, inner, &format!("{path} {}", inner.get_name()));
    }
}

fn tidy(help: &str) -> String {
    help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}
