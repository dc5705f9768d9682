//! The way out: dialer, TLS, proxy, HTTP client, Slack's Web API, WebSocket upgrade, start gate
