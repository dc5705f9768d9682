//! The shape of the house, checked: pure rooms are pure, arrows go one way, no file outgrows its subject.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, in lines.
const LINES_MAX: usize = 600;
/// What a pure module may not speak of, and why.
const IMPURE: [(&str, &str); 9] = [
    ("tokio::", "a runtime"),
    ("tokio_util::", "a runtime"),
    ("std::fs", "files"),
    ("std::thread", "threads"),
    ("std::process", "processes"),
    ("TcpStream", "sockets"),
    ("SystemTime", "the wall clock"),
    ("Instant", "a clock"),
    ("dyn Clock", "a clock"),
];

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a directory.
fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir()
            && !path.ends_with("target")
            && !path.ends_with("node_modules")
            && !path.ends_with(".venv")
        {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// A file's text without comments, and without its tests.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a readable file");
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn pure_modules_know_no_runtime_no_clock_and_no_io() {
    let workers = repository().join("workers");
    let is_pure = |path: &&PathBuf| {
        let text = path.to_string_lossy();
        let in_tests = text.contains("/tests") || text.ends_with("tests.rs");
        let pure = text.contains("/pure/") || text.ends_with("/pure.rs") || text.contains("/core/src/");
        // The trait through which shells read time is core's; nothing in core calls it.
        pure && !in_tests && !text.ends_with("core/src/time.rs")
    };
    let files = rust_files(&workers);
    let pure: Vec<_> = files.iter().filter(is_pure).collect();
    assert!(pure.len() > 30, "the pure modules were not found");
    for path in pure {
        let code = code_of(path);
        for (word, what) in IMPURE {
            assert!(
                !code.contains(word),
                "{}: `{word}`: a pure module knows no such thing as {what}",
                path.display()
            );
        }
    }
}

#[test]
fn roles_do_not_know_each_other() {
    let allowed = [
        ("core", vec![]),
        ("vault", vec!["taut-core"]),
        ("net", vec!["taut-core", "taut-vault"]),
        ("store", vec!["taut-core"]),
        ("socket", vec!["taut-core", "taut-net", "taut-vault"]),
        ("delivery", vec!["taut-core", "taut-net", "taut-vault"]),
        ("sim", vec![]),
    ];
    for (member, allowed) in allowed {
        let manifest = repository().join("workers").join(member).join("Cargo.toml");
        let text = fs::read_to_string(manifest).expect("a manifest");
        let (_, rest) = text.split_once("[dependencies]").expect("dependencies");
        let normal = rest.split("\n[").next().unwrap_or_default();
        for line in normal.lines().filter(|line| line.starts_with("taut-")) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(allowed.contains(&name), "{member} must not depend on {name}");
        }
    }
}

#[test]
fn no_file_outgrows_its_subject() {
    for path in
        ["src", "workers", "tests", "benches"].iter().flat_map(|part| rust_files(&repository().join(part)))
    {
        let lines = fs::read_to_string(&path).expect("a readable file").lines().count();
        assert!(lines <= LINES_MAX, "{}: {lines} lines: look for the seam", path.display());
    }
}

#[test]
fn the_backoff_crate_is_imported_in_one_file() {
    for path in rust_files(&repository().join("workers")) {
        let imports = fs::read_to_string(&path).expect("a readable file").contains("use backoff::");
        assert!(!imports || path.ends_with("net/src/retry.rs"), "{} imports backoff", path.display());
    }
}

/// Faults of the matrix that need more than one host.
const FLEET_FAULTS: [u32; 19] = [10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 69];
/// The last fault of the matrix.
const FAULT_LAST: u32 = 74;

/// Names of tests that a table's cell gives in backticks.
fn tests_of(cell: &str) -> impl Iterator<Item = &str> {
    let is_name =
        |word: &&str| word.bytes().all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit());
    cell.split('`').skip(1).step_by(2).filter(is_name)
}

/// All Rust files' text.
fn all_code() -> String {
    let files =
        ["src", "workers", "tests", "benches"].iter().flat_map(|part| rust_files(&repository().join(part)));
    files.map(|path| fs::read_to_string(path).expect("a readable file")).collect()
}

#[test]
fn every_fault_of_one_host_has_a_row_and_every_test_it_names_exists() {
    let known = all_code();
    let text = fs::read_to_string(repository().join("docs/faults.md")).expect("the matrix is there");
    let mut rows = Vec::new();
    for line in text.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let Some(number) = cells.get(1).filter(|cell| cell.ends_with(|c: char| c.is_ascii_digit())) else {
            continue;
        };
        let shown_by = if let Ok(fault) = number.parse::<u32>() {
            assert_eq!(cells.len(), 7, "row {number}: five columns: {line}");
            rows.push(fault);
            cells[4]
        } else {
            assert_eq!(cells.len(), 5, "row {number}: three columns: {line}");
            cells[3]
        };
        let mut tests = tests_of(shown_by).peekable();
        assert!(tests.peek().is_some() || shown_by == "open", "row {number} names no test");
        for test in tests {
            assert!(known.contains(&format!("fn {test}(")), "row {number}: there is no test `{test}`");
        }
    }
    let expected: Vec<_> = (1..=FAULT_LAST).filter(|number| !FLEET_FAULTS.contains(number)).collect();
    assert_eq!(rows, expected, "one row for each fault, in order");
}

#[test]
fn every_limit_has_a_test_that_reaches_it() {
    let known = all_code();
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).expect("the walk-through is there");
    let (_, limits) = text.split_once("\n## Limits\n").expect("the section is there");
    let (limits, _) = limits.split_once("\n## ").expect("another one follows");
    let mut rows = 0;
    for line in limits.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| limit |")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 7, "five columns: {line}");
        let limit = cells[1];
        let mut tests = tests_of(cells[5]).peekable();
        assert!(tests.peek().is_some(), "{limit}: names no test");
        for test in tests {
            assert!(known.contains(&format!("fn {test}(")), "{limit}: there is no test `{test}`");
        }
        rows += 1;
    }
    assert!(rows > 60, "{rows} rows: has the table moved?");
}
