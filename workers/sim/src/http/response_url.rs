//! The sink behind every `response_url`: recorded, and refused when used up or too old.
//!
//! Documented (docs.slack.dev `/interactivity/handling-user-interaction`): five uses within 30 minutes. What a used-up URL
//! answers is not; observed was HTTP 404.

use std::collections::{HashMap, VecDeque};

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::{Answer, Call, noted, text};
use crate::journal::NoteKind;
use crate::shared::Shared;
use crate::switches::Switches;

/// URLs remembered; older ones are answered as if they were fresh.
const URLS_MAX: usize = 50_000;

/// The URLs handed out in samples, by the serial in their last segment.
#[derive(Debug, Default)]
pub(crate) struct ResponseUrls {
    issued: HashMap<Box<str>, Issued>,
    in_order: VecDeque<Box<str>>,
}

#[derive(Debug)]
struct Issued {
    at: Instant,
    uses: u32,
}

impl ResponseUrls {
    /// Starts the life of the URLs of one payload.
    pub(crate) fn issue(&mut self, serial: &str, at: Instant) {
        if self.in_order.len() >= URLS_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.issued.remove(&oldest);
        }
        self.in_order.push_back(serial.into());
        self.issued.insert(serial.into(), Issued { at, uses: 0 });
    }

    /// Whether a URL may be used at this moment; if so, that is one use. Unknown URLs may.
    fn spend(&mut self, serial: &str, now: Instant, switches: &Switches) -> bool {
        let Some(issued) = self.issued.get_mut(serial) else { return true };
        let alive = now.saturating_duration_since(issued.at) < switches.response_url_life;
        let fresh = alive && issued.uses < switches.response_url_uses;
        issued.uses += u32::from(fresh);
        fresh
    }
}

/// One post; the third segment of the path is the app, the last one the serial.
pub(super) fn answer(sim: &Shared, path: &str, call: &Call) -> Answer {
    let app = path.split('/').nth(2).and_then(|app_id| sim.app(app_id));
    let serial = path.rsplit('/').next().and_then(|last| last.strip_prefix("Ev")).unwrap_or_default();
    let accepted =
        call.method == Method::POST && sim.response_urls.lock().spend(serial, Instant::now(), &sim.switches);
    let (path, body) = (path.to_owned(), noted(&call.body));
    sim.journal.note(app.as_ref().map(|app| &app.id), NoteKind::Response { path, body, accepted });
    if accepted { text(StatusCode::OK, "ok") } else { text(StatusCode::NOT_FOUND, "used_url") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_lives_for_its_uses_and_its_time() {
        let switches = Switches { response_url_uses: 2, ..Switches::default() };
        let start = Instant::now();
        let mut urls = ResponseUrls::default();
        urls.issue("1", start);
        urls.issue("2", start);
        let uses: Vec<bool> = (0..3).map(|_| urls.spend("1", start, &switches)).collect();
        assert_eq!(uses, [true, true, false]);
        assert!(!urls.spend("2", start + switches.response_url_life, &switches));
        assert!(urls.spend("never issued", start, &switches));
    }

    #[test]
    fn old_urls_are_forgotten_first() {
        let mut urls = ResponseUrls::default();
        let start = Instant::now();
        for serial in 0..=URLS_MAX {
            urls.issue(&serial.to_string(), start);
        }
        assert_eq!((urls.issued.len(), urls.issued.contains_key("0")), (URLS_MAX, false));
    }
}
