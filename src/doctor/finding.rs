//! What an examination found.

use serde::Serialize;

/// The part of the report that is about the host itself.
pub(super) const HOST: &str = "host";

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Well.
    Ok,
    /// Worth knowing; nothing fails of it now.
    Notice,
    /// It failed.
    Failed,
    /// Not walked; the sentence says why.
    Skipped,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// taut's configuration on this host.
    Configuration,
    /// This host: its resolver, clock, disk, secrets' files.
    Host,
    /// The network between, or its firewall.
    Network,
    /// The proxy, or its operator.
    Proxy,
    /// Slack.
    Slack,
    /// The customer's Slack admin.
    Admin,
    /// The handler, or its operator.
    Handler,
}

impl Fault {
    /// Whose, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Configuration => "taut's configuration",
            Self::Host => "this host",
            Self::Network => "the network between",
            Self::Proxy => "the proxy",
            Self::Slack => "Slack",
            Self::Admin => "the customer's Slack admin",
            Self::Handler => "the handler",
        }
    }
}

/// One step's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `host`, or a tenant's id.
    pub part: String,
    /// Which step, e.g. `tls slack.com`.
    pub step: String,
    /// How it went.
    pub mark: Mark,
    /// What was seen.
    pub seen: String,
    /// Further lines, such as a chain of certificates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Whose fault it is, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whose: Option<Fault>,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

/// Everything that was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// All steps, in the order they were walked.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many steps failed.
    pub fn failures(&self) -> usize {
        self.findings.iter().filter(|finding| finding.mark == Mark::Failed).count()
    }
}

/// The findings of one part as they come.
pub(super) struct Findings {
    part: String,
    found: Vec<Finding>,
}

impl Findings {
    pub(super) fn of(part: &str) -> Self {
        Self { part: part.to_owned(), found: Vec::new() }
    }

    pub(super) fn ok(&mut self, step: impl Into<String>, seen: impl Into<String>) {
        self.add(step, Mark::Ok, seen);
    }

    pub(super) fn notice(&mut self, step: impl Into<String>, seen: impl Into<String>) {
        self.add(step, Mark::Notice, seen);
    }

    pub(super) fn skipped(&mut self, step: impl Into<String>, why: impl Into<String>) {
        self.add(step, Mark::Skipped, why);
    }

    pub(super) fn failed(
        &mut self,
        step: impl Into<String>,
        seen: impl Into<String>,
        whose: Fault,
        advice: impl Into<String>,
    ) {
        self.add(step, Mark::Failed, seen);
        if let Some(last) = self.found.last_mut() {
            (last.whose, last.advice) = (Some(whose), advice.into());
        }
    }

    /// More lines for the latest finding.
    pub(super) fn detail(&mut self, lines: impl IntoIterator<Item = String>) {
        if let Some(last) = self.found.last_mut() {
            last.details.extend(lines);
        }
    }

    fn add(&mut self, step: impl Into<String>, mark: Mark, seen: impl Into<String>) {
        self.found.push(Finding {
            part: self.part.clone(),
            step: step.into(),
            mark,
            seen: seen.into(),
            details: Vec::new(),
            whose: None,
            advice: String::new(),
        });
    }
}

impl From<Findings> for Vec<Finding> {
    fn from(findings: Findings) -> Self {
        findings.found
    }
}
