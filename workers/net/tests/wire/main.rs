//! taut-net against real local servers: proxies, TLS, HTTP, the Web API, WebSockets.

mod http;
mod kit;
mod proxy;
mod slack;
mod tls;
mod ws;
