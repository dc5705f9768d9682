//! The `Debug` forms of what holds a secret.

use taut_core::config::{NetworkConfig, SecretRef};
use taut_delivery::Signer;
use taut_delivery::pure::sign::SigningKey;
use taut_net::dial::{Dialer, Way};
use taut_net::http::{HttpClient, HttpLimits};
use taut_net::slack::{SlackApi, TicketUrl};
use taut_vault::{AppToken, BotToken, ProxyPassword, SecretText, SigningSecret, resolve};

use crate::search::Canaries;

const SECRET: &str = "planted-debug-canary";

#[tokio::test]
async fn no_debug_form_shows_a_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("secret"), SECRET).expect("written");
    let resolved = resolve(&SecretRef::File("secret".into()), directory.path()).expect("found");
    let network = NetworkConfig {
        proxy: Some("http://127.0.0.1:3128".into()),
        proxy_user: Some("taut".into()),
        ..NetworkConfig::default()
    };
    let dialer = Dialer::new(&network, Some(ProxyPassword::from(SECRET))).expect("a dialer");
    let http = HttpClient::new(dialer.clone(), Way::Outside, HttpLimits::default());
    let api = SlackApi::new(http.clone(), "https://slack.com/api/").expect("a URL");
    let ticket =
        TicketUrl::parse(&format!("wss://wss.slack.com/link/?ticket={SECRET}"), true).expect("a ticket");
    let signing = SigningSecret::from(SECRET);
    let forms = [
        format!("{:?} {:#?}", SecretText::from(SECRET), resolved),
        format!(
            "{:?} {:?} {:?}",
            AppToken::from(SECRET),
            BotToken::from(SECRET),
            ProxyPassword::from(SECRET)
        ),
        format!("{signing:?} {:?} {:?}", Signer::new(&signing), SigningKey::new(&signing)),
        format!("{dialer:?} {dialer:#?} {http:?} {http:#?} {api:?} {api:#?}"),
        format!("{ticket:?} {ticket:#?}"),
    ];
    let canaries = Canaries::new(&[SECRET]);
    for form in forms {
        canaries.assert_absent("a Debug form", form);
    }
}
