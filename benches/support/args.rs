//! Options that all benches share.

use clap::Args;

/// Options of every bench.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Given by cargo to every bench; means nothing here
    #[arg(long, hide = true)]
    bench: bool,
    /// Tenants, each with one app and one socket
    #[arg(long, default_value_t = 100)]
    pub(crate) tenants: u32,
    /// Core of the client under test, by its number
    #[arg(long, default_value_t = 0)]
    pub(crate) client_core: u32,
    /// Core of the simulated Slack, the handler and the bench itself
    #[arg(long, default_value_t = 1)]
    pub(crate) sim_core: u32,
    /// Where the stores are made; the default is the build's own directory, so that it is a disk and no tmpfs
    #[arg(long)]
    pub(crate) dir: Option<std::path::PathBuf>,
}

impl Common {
    /// The same with this many tenants.
    pub(crate) fn with_tenants(&self, tenants: u32) -> Self {
        Self { tenants, ..self.clone() }
    }
}
