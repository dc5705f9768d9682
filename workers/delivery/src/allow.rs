//! What handlers' URLs may reach: bounded by the host's own file, never by a tenant.
