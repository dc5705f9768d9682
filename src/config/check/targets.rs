//! Routes' targets, and the host's lists that bound them. What stands on the disk is looked at by `taut check`, and at
//! each use: a program that is not there yet is no reason to refuse a configuration.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use taut_core::config::{DeliveryConfig, RouteMatch, Target};
use taut_delivery::allow::AllowHosts;
use taut_delivery::allow::paths::PathRules;
use taut_delivery::{FILE_KINDS_RULE, fits_a_file};

use super::Checker;
use super::net::{LIST_MAX, Url};
use crate::logging;

/// Most arguments of a program, the program included, and their bytes.
const ARGS_MAX: usize = 64;
const ARGS_BYTES_MAX: usize = 32 * 1024;

/// `delivery.exec_allow` and `delivery.file_dirs`.
pub(super) fn check_lists(exec_allow: &[String], file_dirs: &[String], checker: &mut Checker<'_>) {
    for (key, entries, readable) in [
        (
            "delivery.exec_allow",
            exec_allow,
            (|entry| PathRules::programs(entry).is_ok()) as fn(&[String]) -> bool,
        ),
        ("delivery.file_dirs", file_dirs, |entry| PathRules::directories(entry).is_ok()),
    ] {
        for entry in entries {
            let rule = "must be an absolute path without `.`, `..` and `//`, and not the root directory";
            checker.require(readable(std::slice::from_ref(entry)), key, entry, rule);
        }
        let rule = format!("must have at most {LIST_MAX} entries");
        checker.require(entries.len() <= LIST_MAX, key, entries.len() as u64, rule);
    }
}

/// Checks targets against the lists, and files against each other.
pub(super) struct Targets<'a> {
    delivery: &'a DeliveryConfig,
    hosts: AllowHosts,
    programs: PathRules,
    directories: PathRules,
    /// Which route has which file.
    files: HashMap<PathBuf, String>,
}

impl<'a> Targets<'a> {
    pub(super) fn new(delivery: &'a DeliveryConfig) -> Self {
        // What cannot be parsed is a breach of its own; the rest is judged as at the tenant's start.
        let hosts = readable(&delivery.allow_hosts, |entry| AllowHosts::parse(entry).is_ok());
        let programs = readable(&delivery.exec_allow, |entry| PathRules::programs(entry).is_ok());
        let directories = readable(&delivery.file_dirs, |entry| PathRules::directories(entry).is_ok());
        Self {
            delivery,
            hosts: AllowHosts::parse(&hosts).expect("each entry is readable"),
            programs: PathRules::programs(&programs).expect("each entry is readable"),
            directories: PathRules::directories(&directories).expect("each entry is readable"),
            files: HashMap::new(),
        }
    }

    /// One route's target.
    pub(super) fn check(
        &mut self,
        route: &str,
        target: &Target,
        matching: &RouteMatch,
        checker: &mut Checker<'_>,
    ) {
        match target {
            Target::Http(url) => self.check_http(&format!("{route}.target.http"), url, checker),
            Target::Exec(argv) => self.check_exec(&format!("{route}.target.exec"), argv, checker),
            Target::File(path) => {
                self.check_file(route, path, checker);
                let key = format!("{route}.match.kinds");
                checker.require(fits_a_file(matching), &key, &matching.kinds, FILE_KINDS_RULE);
            }
        }
    }

    fn check_http(&self, key: &str, url: &str, checker: &mut Checker<'_>) {
        if let Err(rule) = Url::parse(url) {
            checker.require(false, key, url, rule);
            return;
        }
        let allowed = self.hosts.check(url).is_ok();
        let list = self.delivery.allow_hosts.join(", ");
        let rule = format!("must be a host that delivery.allow_hosts ({list}) lets through");
        checker.relate(allowed, key, url, "delivery.allow_hosts", rule);
    }

    fn check_exec(&self, key: &str, argv: &[String], checker: &mut Checker<'_>) {
        let Some(program) = argv.first() else {
            return checker.require(false, key, argv, "must name a program, and its arguments if any");
        };
        let bytes: usize = argv.iter().map(String::len).sum();
        let fits =
            argv.len() <= ARGS_MAX && bytes <= ARGS_BYTES_MAX && argv.iter().all(|arg| !arg.contains('\0'));
        let rule =
            format!("must have at most {ARGS_MAX} texts of {ARGS_BYTES_MAX} bytes in all, without NUL");
        checker.require(fits, key, argv, rule);
        let secret = argv.iter().any(|arg| logging::redact(arg) != arg.as_str());
        let rule = "must hold no secret: everybody on this host can read a program's arguments";
        checker.require(!secret, key, "***", rule);
        let (list, rule) = (&self.delivery.exec_allow, self.programs.check(Path::new(program)));
        relate_path(key, program, ("delivery.exec_allow", list), rule, checker);
    }

    fn check_file(&mut self, route: &str, path: &Path, checker: &mut Checker<'_>) {
        let key = format!("{route}.target.file");
        let (list, rule) = (&self.delivery.file_dirs, self.directories.check(path));
        relate_path(&key, path, ("delivery.file_dirs", list), rule, checker);
        if let Some(first) = self.files.insert(path.to_owned(), key.clone()) {
            let rule = format!("must be unique: {first} is the same file, and a file has one writer");
            checker.require(false, &key, path, rule);
        }
    }
}

/// Holds a path against its list; the rule names what the list has.
fn relate_path(
    key: &str,
    path: impl serde::Serialize,
    (list_key, list): (&str, &[String]),
    judged: Result<(), taut_delivery::allow::paths::RefusedPath>,
    checker: &mut Checker<'_>,
) {
    use taut_delivery::allow::paths::RefusedPath;
    let rule = match judged {
        Ok(()) => return,
        Err(error @ RefusedPath::NotPlain) => return checker.require(false, key, path, error.to_string()),
        Err(RefusedPath::NotAllowed { .. }) if list.is_empty() => {
            format!(
                "must be let through by {list_key}, which is empty: nothing is allowed until the host's file says so"
            )
        }
        Err(RefusedPath::NotAllowed { .. }) => {
            format!("must be let through by {list_key} ({})", list.join(", "))
        }
    };
    checker.relate(false, key, path, list_key, rule);
}

fn readable(entries: &[String], judge: impl Fn(&[String]) -> bool) -> Vec<String> {
    entries.iter().filter(|entry| judge(std::slice::from_ref(*entry))).cloned().collect()
}
