//! Which routes an envelope belongs to. Asked once, at intake; the log keeps the answer.

use taut_core::config::{RouteConfig, RouteMatch};
use taut_core::{Facts, Kind, RouteBits};

/// A configured route with the number the store gave it.
#[derive(Debug, Clone)]
pub struct RouteSpec {
    /// As configured.
    pub config: RouteConfig,
    /// From 0 to 63; stable over restarts.
    pub number: u8,
}

/// A tenant's routes in order, ready to match.
#[derive(Debug, Clone, Default)]
pub struct Router {
    routes: Vec<(RouteMatch, RouteBits)>,
}

impl Router {
    /// A router over these routes, in their order.
    pub fn new(routes: &[RouteSpec]) -> Self {
        let routes = routes
            .iter()
            .map(|route| (route.config.matching.clone(), RouteBits::one(route.number)))
            .collect();
        Self { routes }
    }

    /// `(routes, answering)`: the routes that get the envelope as an event, and for a request the first that
    /// matches, which answers it. Both empty: unrouted.
    pub fn bits(&self, kind: Kind, facts: &Facts<'_>) -> (RouteBits, RouteBits) {
        let mut matching =
            self.routes.iter().filter(|(rule, _)| rule.matches(kind, facts)).map(|(_, bit)| *bit);
        let answering = if kind.is_request() { matching.next().unwrap_or_default() } else { RouteBits::NONE };
        (matching.fold(RouteBits::NONE, |all, bit| all | bit), answering)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(number: u8, name: &str, kinds: &str) -> RouteSpec {
        let json = format!(
            r#"{{"name":"{name}","match":{{"kinds":{kinds}}},"target":{{"http":"http://127.0.0.1:1/"}}}}"#
        );
        RouteSpec { config: serde_json::from_str(&json).unwrap(), number }
    }

    #[test]
    fn the_first_matching_route_answers_a_request_and_the_others_get_a_copy() {
        let router = Router::new(&[
            route(3, "events", r#"["events_api"]"#),
            route(1, "bot", "[]"),
            route(0, "audit", r#"["slash_commands","events_api"]"#),
        ]);
        let bits = |kind| router.bits(kind, &Facts::default());
        assert_eq!(bits(Kind::SlashCommands), (RouteBits::one(0), RouteBits::one(1)));
        assert_eq!(bits(Kind::EventsApi), (RouteBits(0b1011), RouteBits::NONE));
        assert_eq!(bits(Kind::ViewSubmission), (RouteBits::NONE, RouteBits::one(1)));
    }

    #[test]
    fn what_no_route_wants_is_unrouted() {
        let router = Router::new(&[route(0, "events", r#"["events_api"]"#)]);
        let unrouted = (RouteBits::NONE, RouteBits::NONE);
        assert_eq!(router.bits(Kind::SlashCommands, &Facts::default()), unrouted);
        assert_eq!(Router::default().bits(Kind::EventsApi, &Facts::default()), unrouted);
    }
}
