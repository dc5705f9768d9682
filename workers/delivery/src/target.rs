//! Targets that are not reached over HTTP: a program for each attempt, or a file that events are appended to.
//!
//! Each turns one attempt into the same [`Posted`](crate::route::Posted) as HTTP does, so verdicts, breaker, retries,
//! dead letters and the request desk know no difference.

pub(crate) mod exec;
pub(crate) mod file;
