//! `taut handler test`: try a Request URL without Slack.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::{Args, Subcommand};
use taut_core::config::{NetworkConfig, SecretRef};
use taut_delivery::handler_test::{ProbeRow, probe};
use taut_net::clock::BootClock;
use taut_net::dial::{Dialer, Way};
use taut_net::http::{HttpClient, HttpLimits};
use taut_sim::{EnvelopeType, Sample};
use taut_vault::SigningSecret;

use super::{Failure, Outcome};

/// `taut handler …`
#[derive(Debug, Subcommand)]
pub enum HandlerCommand {
    /// Send a signed `url_verification`, then one sample of each kind, and show what each answer would become.
    Test(TestArgs),
}

/// `taut handler test`
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The handler's Request URL.
    #[arg(value_name = "URL")]
    pub url: String,
    /// File with the handler's signing secret.
    #[arg(long, value_name = "FILE")]
    pub signing_secret_file: PathBuf,
}

pub(super) async fn run(command: HandlerCommand) -> Outcome {
    let HandlerCommand::Test(args) = command;
    let reference = SecretRef::File(args.signing_secret_file);
    let resolved = taut_vault::resolve(&reference, Path::new(".")).map_err(Failure::refused)?;
    let secret = SigningSecret::new(resolved.secret);
    let dialer = Dialer::new(&NetworkConfig::default(), None).map_err(|error| error.to_string())?;
    let http = HttpClient::new(dialer, Way::Direct, HttpLimits::default());
    let rows = probe(&args.url, &secret, &http, &BootClock, &samples()).await.map_err(Failure::refused)?;
    say!("{:<22} {:>6} {:>8}  what Slack would get", "sample", "status", "ms");
    for row in &rows {
        let status = row.status.map_or_else(|| "-".into(), |status| status.to_string());
        say!("{:<22} {status:>6} {:>8}  {}", row.name, row.millis, row.outcome);
    }
    let verified = rows.first().is_some_and(|row: &ProbeRow| row.ok);
    if !verified {
        return Err(
            "the handler did not pass url_verification: check the URL, the signing secret and both clocks"
                .to_owned()
                .into(),
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// One envelope of each sample, as it would come over a socket.
fn samples() -> Vec<(String, Bytes)> {
    let frame = |(number, sample): (usize, &Sample)| {
        let envelope = format!(
            r#"{{"envelope_id":"00000000-0000-4000-8000-{number:012}","type":"{}","payload":{},"accepts_response_payload":{}}}"#,
            sample.envelope_type().as_str(),
            sample.load(),
            sample.envelope_type() != EnvelopeType::EventsApi
        );
        (sample.name().to_owned(), Bytes::from(envelope))
    };
    Sample::ALL.iter().enumerate().map(frame).collect()
}
