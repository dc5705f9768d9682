//! Which programs routes may run, and which files they may append to: bounded by the host's own file
//! (`delivery.exec_allow`, `delivery.file_dirs`), never by a tenant.
//!
//! A path is judged twice: as it is written, here and without looking at the disk; and as it resolves, at each use,
//! against the same rules resolved the same way ([`PathRules::resolved`]). Both must hold, so neither `..` nor a
//! symbolic link leads out of the list. An empty list lets nothing through.

use std::path::{Path, PathBuf};

/// Longest path, in bytes: Linux takes no longer one.
const PATH_BYTES_MAX: usize = 4_095;

/// A list of paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathRules {
    key: &'static str,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// This file.
    File(PathBuf),
    /// What is below this directory, at any depth.
    Below(PathBuf),
}

/// Why a path was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedPath {
    /// Not absolute, or with `.`, `..`, empty components or a NUL in it.
    #[error("must be an absolute path without `.`, `..`, `//` and a slash at its end")]
    NotPlain,
    /// The list does not have it.
    #[error("`{}` is not in {key}; whoever runs this host adds it there", path.display())]
    NotAllowed {
        /// The path as it was judged.
        path: PathBuf,
        /// The list's key.
        key: &'static str,
    },
}

impl PathRules {
    /// Programs: files, and directories that end in a slash.
    ///
    /// # Errors
    /// The first entry that is neither.
    pub fn programs(entries: &[String]) -> Result<Self, BadPathEntry> {
        let rules = entries.iter().map(|entry| match entry.strip_suffix('/') {
            Some(directory) => Rule::below(directory, entry),
            None if is_plain(entry) => Ok(Rule::File(entry.into())),
            None => Err(BadPathEntry { entry: entry.clone() }),
        });
        Ok(Self { key: "delivery.exec_allow", rules: rules.collect::<Result<_, _>>()? })
    }

    /// Directories, with or without a slash at the end.
    ///
    /// # Errors
    /// The first entry that is none.
    pub fn directories(entries: &[String]) -> Result<Self, BadPathEntry> {
        let rules = entries.iter().map(|entry| Rule::below(entry.strip_suffix('/').unwrap_or(entry), entry));
        Ok(Self { key: "delivery.file_dirs", rules: rules.collect::<Result<_, _>>()? })
    }

    /// Judges a path as it is written.
    ///
    /// # Errors
    /// [`RefusedPath`] says why.
    pub fn check(&self, path: &Path) -> Result<(), RefusedPath> {
        if !path.to_str().is_some_and(is_plain) {
            return Err(RefusedPath::NotPlain);
        }
        let lets_through = |rule: &Rule| match rule {
            Rule::File(file) => file == path,
            Rule::Below(directory) => path != directory && path.starts_with(directory),
        };
        if self.rules.iter().any(lets_through) {
            return Ok(());
        }
        Err(RefusedPath::NotAllowed { path: path.to_owned(), key: self.key })
    }

    /// The same list with every entry replaced by what `resolve` makes of it; entries without a result are left out.
    #[must_use]
    pub fn resolved(&self, resolve: impl Fn(&Path) -> Option<PathBuf>) -> Self {
        let rules = self.rules.iter().filter_map(|rule| match rule {
            Rule::File(file) => resolve(file).map(Rule::File),
            Rule::Below(directory) => resolve(directory).map(Rule::Below),
        });
        Self { key: self.key, rules: rules.collect() }
    }
}

/// An entry of a list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` is not an absolute path without `.`, `..` and `//`, or is the root directory")]
pub struct BadPathEntry {
    /// The entry.
    pub entry: String,
}

impl Rule {
    fn below(directory: &str, entry: &str) -> Result<Self, BadPathEntry> {
        if is_plain(directory) {
            Ok(Self::Below(directory.into()))
        } else {
            Err(BadPathEntry { entry: entry.to_owned() })
        }
    }
}

/// Whether a path is absolute, has a name at its end, and every component of it is a name.
fn is_plain(path: &str) -> bool {
    let name = |part: &str| !matches!(part, "" | "." | "..");
    path.len() <= PATH_BYTES_MAX
        && !path.contains('\0')
        && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn programs(entries: &[&str]) -> PathRules {
        PathRules::programs(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn an_empty_list_lets_nothing_through() {
        let refused = programs(&[]).check(Path::new("/bin/true")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`/bin/true` is not in delivery.exec_allow; whoever runs this host adds it there"
        );
        assert!(PathRules::directories(&[]).unwrap().check(Path::new("/var/log/x")).is_err());
    }

    #[test]
    fn a_file_stands_for_itself_and_a_directory_for_what_is_below() {
        let rules = programs(&["/usr/bin/handler", "/opt/handlers/"]);
        for path in ["/usr/bin/handler", "/opt/handlers/a", "/opt/handlers/a/b"] {
            assert_eq!(rules.check(Path::new(path)), Ok(()), "{path}");
        }
        for path in [
            "/usr/bin/handler2",
            "/usr/bin",
            "/usr/bin/handler/x",
            "/opt/handlers",
            "/opt/handlersX/a",
            "/opt/handlers/../../bin/sh",
            "/opt/handlers/./a",
            "/opt/handlers//a",
            "/opt/handlers/",
            "opt/handlers/a",
            "",
            "/",
            "/opt/handlers/a\0b",
        ] {
            assert!(rules.check(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn entries_that_mean_everything_or_nothing_are_refused() {
        for entry in ["", "/", "//", "bin/", "/a/../b", "/a//", "./x", "/a/\0"] {
            assert!(PathRules::programs(&[entry.to_owned()]).is_err(), "{entry}");
            assert!(PathRules::directories(&[entry.to_owned()]).is_err(), "{entry}");
        }
    }

    proptest! {
        /// However a path is spelt: if it passes, walking it component by component ends inside the list.
        #[test]
        fn no_spelling_leads_out_of_the_list(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("..".to_owned()), Just(".".to_owned()), Just(String::new()), Just("safe".to_owned()),
                    Just("opt".to_owned()), "[a-z]{1,3}", "\\PC{0,4}",
                ],
                0..8,
            ),
            absolute: bool,
        ) {
            let path = format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"));
            if programs(&["/opt/safe/"]).check(Path::new(&path)).is_ok() {
                let mut walked: Vec<&str> = Vec::new();
                for part in path.split('/') {
                    match part {
                        "" | "." => {}
                        ".." => drop(walked.pop()),
                        name => walked.push(name),
                    }
                }
                prop_assert!(path.starts_with('/') && walked.len() > 2 && walked[..2] == ["opt", "safe"], "{}", path);
            }
        }
    }
}
