//! The line's rules, one example each; every state against every input; and whatever order the world chooses.

mod random;
mod rig;
mod table;

use std::time::Duration;

use super::*;
use rig::{Rig, hello_of, minutes, opens, refusal, secs};

#[test]
fn a_wanted_line_opens_one_socket_and_is_connected_only_at_hello() {
    let mut rig = Rig::fresh();
    let out = rig.input(Input::Desired(Desired::Connected));
    assert_eq!(opens(&out), 1);
    assert_eq!(rig.state(), "starting: start");
    rig.event(1, Event::Opened { socket_mode_off: false });
    rig.event(1, Event::Upgraded);
    assert_eq!(rig.state(), "starting: start");
    let out = rig.hello(1);
    assert!(out.contains(&Output::OpenEnded("hello")));
    assert!(out.contains(&Output::Claim(AppId::new("A0ACME").expect("an app id"))));
    assert_eq!(rig.state(), "connected: hello");
}

#[test]
fn a_warning_is_answered_by_a_second_socket_before_the_first_ends() {
    for reason in ["warning", "refresh_requested", "never_heard_of"] {
        let mut rig = Rig::live();
        let out = rig.event(1, Event::Disconnect(reason.into()));
        assert_eq!(opens(&out), 1, "{reason}");
        assert_eq!(rig.state(), "connected: hello");
        rig.event(2, Event::Upgraded);
        let out = rig.hello(2);
        assert!(!out.contains(&Output::Retire(Generation(1))), "Slack announced the close, so Slack closes");
        let out = rig.event(1, Event::Closed(CloseWhy::Peer));
        let label = if reason == "never_heard_of" { "other" } else { reason };
        assert_eq!(out, [Output::SocketEnded(label)]);
        assert_eq!(rig.state(), "connected: hello");
    }
}

#[test]
fn a_close_that_slack_announced_and_forgot_is_done_by_us() {
    let mut rig = Rig::live();
    rig.event(1, Event::Disconnect("warning".into()));
    rig.hello(2);
    assert!(rig.pass(secs(20)).contains(&Output::Retire(Generation(1))));
    let out = rig.pass(secs(8));
    assert!(out.contains(&Output::Abort(Generation(1))));
    assert!(out.contains(&Output::SocketEnded("warning")));
}

#[test]
fn an_ageing_socket_is_replaced_before_slack_does_it_and_closed_by_us() {
    let mut rig = Rig::fresh();
    rig.input(Input::Desired(Desired::Connected));
    let mut hello = hello_of("A0ACME", 1);
    hello.approximate_connection_time = Some(18_060);
    rig.event(1, Event::Hello(hello));
    assert_eq!(rig.total_opens, 1);
    rig.pass(secs(18_060 * 3 / 4 - 1));
    assert_eq!(rig.total_opens, 1, "not too early");
    rig.pass(secs(18_060 * 15 / 100 + 2));
    assert_eq!(rig.total_opens, 2, "and ahead of Slack");
    assert!(rig.hello(2).contains(&Output::Retire(Generation(1))));
    assert_eq!(rig.event(1, Event::Closed(CloseWhy::Retired)), [Output::SocketEnded("age")]);
}

#[test]
fn another_token_gets_another_socket_first() {
    let mut rig = Rig::live();
    let out = rig.input(Input::TokenChanged);
    assert_eq!(opens(&out), 1);
    assert!(rig.hello(2).contains(&Output::Retire(Generation(1))));
}

#[test]
fn too_many_websockets_opens_nothing_for_half_a_minute() {
    let mut rig = Rig::live();
    let out = rig.event(1, Event::Disconnect("too_many_websockets".into()));
    assert!(out.contains(&Output::Alarm(Alarm::TooManyWebsockets)));
    assert_eq!(rig.state(), "waiting: too_many_websockets");
    rig.input(Input::Desired(Desired::Connected));
    rig.pass(secs(29));
    assert_eq!(rig.total_opens, 1, "not even an operator's nudge opens one");
    rig.pass(secs(3));
    assert_eq!(rig.total_opens, 2);
}

#[test]
fn too_many_websockets_closes_our_surplus_and_keeps_the_socket_that_works() {
    let mut rig = Rig::live();
    rig.event(1, Event::Disconnect("warning".into()));
    rig.event(2, Event::Upgraded);
    let out = rig.event(2, Event::Disconnect("too_many_websockets".into()));
    assert!(out.contains(&Output::Retire(Generation(2))));
    assert_eq!(rig.state(), "connected: too_many_websockets");
    assert_eq!(rig.total_opens, 2);
}

#[test]
fn a_storm_of_refreshes_is_paced() {
    let mut rig = Rig::live();
    for round in 1..200 {
        rig.event(rig.last(), Event::Disconnect("refresh_requested".into()));
        rig.pass(Duration::from_millis(40));
        if rig.total_opens > round {
            rig.hello(rig.last());
        }
    }
    assert!(rig.total_opens <= 4 + 16, "8 s gave {} opens", rig.total_opens);
}

#[test]
fn a_switched_off_app_is_probed_every_five_minutes_for_an_hour_and_then_hourly() {
    let mut rig = Rig::live();
    rig.event(1, Event::Disconnect("link_disabled".into()));
    assert_eq!(rig.state(), "waiting: link_disabled");
    let mut probes = Vec::new();
    for minute in 1..=240_u32 {
        let before = rig.total_opens;
        rig.pass(minutes(1));
        if rig.total_opens > before {
            probes.push(minute);
            rig.event(rig.last(), Event::Upgraded);
            rig.event(rig.last(), Event::Disconnect("link_disabled".into()));
            assert_eq!(rig.state(), "waiting: link_disabled");
        }
    }
    assert_eq!(probes, [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 120, 180, 240]);
}

#[test]
fn socket_mode_off_is_shown_until_an_envelope_comes() {
    let mut rig = Rig::fresh();
    rig.input(Input::Desired(Desired::Connected));
    rig.event(1, Event::Opened { socket_mode_off: true });
    rig.hello(1);
    assert_eq!(rig.state(), "waiting: socket_mode_off");
    rig.event(1, Event::EnvelopeSeen);
    assert_eq!(rig.state(), "connected: hello");
}

#[test]
fn a_bad_token_parks_until_another_comes_or_an_operator_asks() {
    for lift in [Input::TokenChanged, Input::Desired(Desired::Connected)] {
        let mut rig = Rig::fresh();
        rig.input(Input::Desired(Desired::Connected));
        let out = rig.event(1, refusal(RefusalClass::Park, "invalid_auth", None));
        assert!(out.contains(&Output::OpenEnded("park")));
        assert_eq!(rig.state(), "parked: invalid_auth");
        rig.pass(minutes(60 * 24 * 7));
        assert_eq!(rig.total_opens, 1, "a bad token is never tried again by itself");
        rig.input(lift);
        assert_eq!((rig.total_opens, rig.state().as_str() != "parked: invalid_auth"), (2, true));
    }
}

#[test]
fn a_park_by_policy_is_probed_hourly() {
    let mut rig = Rig::fresh();
    rig.input(Input::Desired(Desired::Connected));
    rig.event(1, refusal(RefusalClass::Park, "accesslimited", None));
    rig.pass(minutes(59));
    assert_eq!(rig.total_opens, 1);
    rig.pass(minutes(1));
    assert_eq!((rig.total_opens, rig.state().as_str()), (2, "parked: accesslimited"));
}

#[test]
fn retry_after_is_honoured_and_told_to_the_gate() {
    let mut rig = Rig::fresh();
    rig.input(Input::Desired(Desired::Connected));
    let out = rig.event(1, refusal(RefusalClass::Retry, "ratelimited", Some(secs(40))));
    assert!(out.contains(&Output::OpenEnded("rate_limited")));
    assert!(out.contains(&Output::HoldOpens(rig.now + secs(40))));
    rig.pass(secs(39));
    assert_eq!(rig.total_opens, 1);
    rig.pass(secs(1));
    assert_eq!(rig.total_opens, 2);
}

#[test]
fn every_failed_attempt_asks_for_a_new_ticket_after_a_pause() {
    let failures = [
        Event::DialFailed(Reason::new("tcp_timeout", "tcp")),
        Event::UpgradeRefused { status: 409, proxy_like: false },
        Event::UpgradeRefused { status: 200, proxy_like: true },
        Event::Useless,
        Event::Closed(CloseWhy::Peer),
        Event::Disconnect("refresh_requested".into()),
        refusal(RefusalClass::Retry, "internal_error", None),
    ];
    for failure in failures {
        let mut rig = Rig::fresh();
        rig.input(Input::Desired(Desired::Connected));
        rig.event(1, failure.clone());
        assert_eq!(rig.total_opens, 1, "{failure:?} is not answered at once");
        rig.pass(secs(1));
        assert_eq!(rig.total_opens, 2, "{failure:?}");
    }
}

#[test]
fn a_socket_without_hello_is_dropped() {
    let mut rig = Rig::fresh();
    rig.input(Input::Desired(Desired::Connected));
    rig.event(1, Event::Upgraded);
    let out = rig.pass(secs(15));
    assert!(out.contains(&Output::Abort(Generation(1))) && out.contains(&Output::OpenEnded("no_hello")));
    assert_eq!(rig.hello(1), [], "a late hello changes nothing");
    assert_eq!(rig.state(), "starting: no_hello");
}

#[test]
fn a_hello_of_another_app_is_cut_off_and_parks() {
    let mut rig = Rig::live();
    rig.event(1, Event::Closed(CloseWhy::Peer));
    let out = rig.event(2, Event::Hello(hello_of("A0GLOBEX", 1)));
    assert!(out.contains(&Output::Abort(Generation(2))));
    assert!(out.contains(&Output::Alarm(Alarm::ForeignApp { found: "A0GLOBEX".into() })));
    assert_eq!(rig.state(), "parked: foreign_app");
    rig.pass(minutes(600));
    assert_eq!(rig.total_opens, 2);
}

#[test]
fn an_app_that_another_tenant_holds_parks_the_later_one() {
    let mut rig = Rig::live();
    let out = rig.input(Input::AppTaken);
    assert!(out.contains(&Output::Alarm(Alarm::DuplicateApp)));
    assert_eq!(rig.state(), "parked: duplicate_app");
}

#[test]
fn back_off_starts_over_only_after_a_stable_minute() {
    let mut rig = Rig::live();
    for round in 2..5 {
        rig.event(rig.last(), Event::Closed(CloseWhy::Transport));
        assert_eq!(rig.total_opens, round, "the first losses are answered at once");
        rig.hello(rig.last());
    }
    rig.event(rig.last(), Event::Closed(CloseWhy::Transport));
    assert_eq!(rig.total_opens, 4, "then there is a pause");
    rig.pass(secs(1));
    rig.hello(rig.last());
    assert_eq!(rig.resets(), 1, "a hello alone resets nothing");
    rig.pass(secs(60));
    assert_eq!(rig.resets(), 2);
    rig.event(rig.last(), Event::Closed(CloseWhy::Transport));
    assert_eq!(rig.total_opens, 6);
}

#[test]
fn a_pause_closes_politely_and_a_quarantine_at_once() {
    let mut rig = Rig::live();
    assert!(rig.input(Input::Desired(Desired::Paused)).contains(&Output::Retire(Generation(1))));
    assert_eq!(rig.state(), "paused: operator");
    let out = rig.event(1, Event::Closed(CloseWhy::Retired));
    assert_eq!(out, [Output::SocketEnded("operator")]);
    assert_eq!(rig.pass(minutes(60)), []);

    let mut rig = Rig::live();
    let out = rig.input(Input::Desired(Desired::Quarantined));
    assert!(out.contains(&Output::Abort(Generation(1))) && rig.line.is_empty());
    assert_eq!(rig.state(), "quarantined: operator");
}

#[test]
fn two_hellos_with_more_sockets_than_ours_are_an_alarm() {
    let mut rig = Rig::fresh();
    rig.input(Input::Desired(Desired::Connected));
    rig.event(1, Event::Hello(hello_of("A0ACME", 3)));
    rig.pass(secs(61));
    rig.event(1, Event::Disconnect("warning".into()));
    let out = rig.event(2, Event::Hello(hello_of("A0ACME", 4)));
    assert!(out.contains(&Output::Foreign(2)));
    assert!(out.contains(&Output::Alarm(Alarm::ForeignSockets(2))));
}

#[test]
fn an_oversized_frame_costs_a_pause() {
    let mut rig = Rig::live();
    let out = rig.event(1, Event::Closed(CloseWhy::FrameTooLarge));
    assert!(out.contains(&Output::Alarm(Alarm::FrameTooLarge)));
    assert_eq!(rig.total_opens, 1);
    rig.pass(secs(1));
    assert_eq!(rig.total_opens, 2);
}

#[test]
fn four_sockets_at_most_are_on_their_way_out_and_the_oldest_is_cut_off() {
    let mut rig = Rig::live();
    let mut cut_off = Vec::new();
    let mut opened = rig.total_opens;
    for _ in 0..200 {
        rig.event(rig.last(), Event::Disconnect("refresh_requested".into()));
        rig.pass(Duration::from_millis(40));
        if rig.total_opens > opened {
            opened = rig.total_opens;
            for output in rig.hello(rig.last()) {
                if let Output::Abort(generation) = output {
                    cut_off.push(generation);
                }
            }
        }
    }
    assert_eq!(rig.line.leaving.len(), LEAVING_MAX);
    assert_eq!(cut_off.first(), Some(&Generation(1)), "{cut_off:?}");
    rig.pass(ANNOUNCED_CLOSE_MAX);
    rig.pass(RETIRE_MAX);
    assert!(rig.line.leaving.is_empty(), "and all end");
}
