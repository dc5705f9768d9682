//! A worker's dead letters with the ids that Slack gave them.

use futures::{StreamExt, TryStreamExt};
use taut::admin::client::Worker;
use taut::admin::letters::LetterView;
use taut_core::log::DeadLetter;

use super::Site;

/// Dead letters asked for in one step.
const PAGE: usize = 1_000;
/// Dead letters looked into at once.
const AT_ONCE: usize = 8;

/// One dead letter.
#[derive(Debug)]
pub struct Letter {
    pub tenant: String,
    pub route: String,
    pub reason: String,
    /// The event's id, or the command's text.
    pub key: String,
}

impl Site {
    /// All dead letters of the running worker.
    pub async fn dead_letters(&self) -> Vec<Letter> {
        let worker = Worker::at(&self.dir.path().join("admin.sock"));
        let mut letters: Vec<Letter> = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/v1/deadletters?max={PAGE}{after}");
            let page: Vec<DeadLetter> = worker.get(&path).await.expect("the worker answers");
            let Some(last) = page.last() else { return letters };
            after = format!("&after={}/{}/{}", last.tenant, last.seq, last.route);
            let views = futures::stream::iter(page.into_iter().map(|letter| look_into(&worker, letter)));
            let views: Vec<Letter> = views.buffered(AT_ONCE).try_collect().await.expect("the worker answers");
            letters.extend(views);
        }
    }
}

async fn look_into(worker: &Worker, letter: DeadLetter) -> Result<Letter, String> {
    let path = format!("/v1/deadletters/{}/{}/{}", letter.tenant, letter.seq, letter.route);
    let view: LetterView = worker.get(&path).await?;
    let frame: serde_json::Value =
        serde_json::from_str(&view.frame.unwrap_or_default()).map_err(|error| error.to_string())?;
    let payload = &frame["payload"];
    let id = payload["event_id"].as_str().or(payload["text"].as_str());
    Ok(Letter {
        tenant: letter.tenant.to_string(),
        route: letter.route.to_string(),
        reason: letter.reason.name().to_owned(),
        key: id.ok_or("a dead letter has an id")?.to_owned(),
    })
}
