//! What does not fit an ack, or came after it, goes to the request's `response_url`.
//! (<https://docs.slack.dev/interactivity/handling-user-interaction>)

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Uri};
use taut_core::{Envelope, RouteBits};
use taut_net::http::HttpRequest;
use tracing::warn;

use crate::shared::Shared;

/// Posts tried before an answer is given up on. A `response_url` takes five.
const POSTS_MAX: u32 = 3;
/// Pause between posts.
const POST_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Time for one post.
const POST_TIMEOUT: Duration = Duration::from_secs(10);
/// Slack's answer is `ok` or an error word.
const ANSWER_BYTES_MAX: usize = 4_096;

/// Posts in the background, within the limit on requests under way; without a usable URL nothing happens.
pub(crate) fn post(shared: &Arc<Shared>, envelope: &Envelope, json: String) {
    let facts = envelope.facts();
    let Some(url) = facts.response_url.as_deref() else { return };
    let Some(url) = shared.response_hosts.usable(url) else {
        warn!(
            tenant = %shared.tenant,
            "a response_url leads to a host that slack.response_hosts does not have, and was not used"
        );
        return;
    };
    let Ok(permit) = Arc::clone(&shared.requests).try_acquire_owned() else {
        warn!(tenant = %shared.tenant, "too many requests under way: an answer for a response_url was dropped");
        return;
    };
    let shared = Arc::clone(shared);
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        send(&shared, url, json).await;
        drop(permit);
    });
}

/// Posts for a request that was delivered from the backlog, if this route was the one to answer it.
pub(crate) fn post_if_answering(shared: &Arc<Shared>, route: RouteBits, envelope: &Envelope, json: String) {
    let (_, answering) = shared.router.bits(envelope.kind, &envelope.facts());
    if answering == route {
        post(shared, envelope, json);
    }
}

async fn send(shared: &Shared, url: Uri, json: String) {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let request = HttpRequest {
        method: Method::POST,
        url,
        headers,
        body: json.into(),
        timeout: POST_TIMEOUT,
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    for attempt in 1..=POSTS_MAX {
        let what = match shared.outside.send(request.clone()).await {
            Ok(answer) if (200..300).contains(&answer.status) => return,
            Ok(answer) if (400..500).contains(&answer.status) && answer.status != 429 => {
                warn!(tenant = %shared.tenant, status = answer.status, "a response_url refused an answer");
                return;
            }
            Ok(answer) => format!("status {}", answer.status),
            // The error may name the URL, which is a secret of its own.
            Err(_) => "not reachable".to_owned(),
        };
        if attempt == POSTS_MAX {
            warn!(tenant = %shared.tenant, last = what, "an answer could not be posted to its response_url");
        } else {
            tokio::time::sleep(POST_AGAIN_AFTER).await;
        }
    }
}
