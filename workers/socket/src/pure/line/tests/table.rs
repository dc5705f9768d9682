//! Every state against every input: nothing panics, no bound breaks, and time alone always leads on.

use super::*;

/// Every shape a line can have, by the shortest way there.
fn states() -> Vec<(&'static str, Rig)> {
    let after = |mut rig: Rig, events: &[(u32, Event)]| {
        for (generation, event) in events {
            rig.event(*generation, event.clone());
        }
        rig
    };
    let wanted = |mut rig: Rig, desired| {
        rig.input(Input::Desired(desired));
        rig
    };
    let opening = || wanted(Rig::fresh(), Desired::Connected);
    let warned = || after(Rig::live(), &[(1, Event::Disconnect("warning".into()))]);
    let replaced = || after(warned(), &[(2, Event::Hello(hello_of("A0ACME", 2)))]);
    vec![
        ("fresh", Rig::fresh()),
        ("opening", opening()),
        ("upgraded", after(opening(), &[(1, Event::Upgraded)])),
        ("socket mode off", after(opening(), &[(1, Event::Opened { socket_mode_off: true }), (1, hello())])),
        ("backing off", after(opening(), &[(1, Event::DialFailed(Reason::new("tcp_refused", "")))])),
        ("parked", after(opening(), &[(1, refusal(RefusalClass::Park, "token_revoked", None))])),
        ("parked, probed", after(opening(), &[(1, refusal(RefusalClass::Park, "accesslimited", None))])),
        ("waiting", after(opening(), &[(1, refusal(RefusalClass::Wait, "team_added_to_org", None))])),
        ("held", after(opening(), &[(1, refusal(RefusalClass::Retry, "ratelimited", Some(secs(30))))])),
        ("live", Rig::live()),
        ("warned", warned()),
        ("warned, renewal upgraded", after(warned(), &[(2, Event::Upgraded)])),
        ("warned, renewal failed", after(warned(), &[(2, Event::Useless)])),
        ("replaced", replaced()),
        ("replaced, warned again", after(replaced(), &[(2, Event::Disconnect("warning".into()))])),
        ("lost", after(Rig::live(), &[(1, Event::Closed(CloseWhy::Quiet))])),
        ("link disabled", after(Rig::live(), &[(1, Event::Disconnect("link_disabled".into()))])),
        ("too many", after(Rig::live(), &[(1, Event::Disconnect("too_many_websockets".into()))])),
        ("paused", wanted(replaced(), Desired::Paused)),
        ("draining", wanted(warned(), Desired::Draining)),
        ("quarantined", wanted(replaced(), Desired::Quarantined)),
    ]
}

fn hello() -> Event {
    Event::Hello(hello_of("A0ACME", 1))
}

/// Every input, for sockets the line may or may not know.
pub(super) fn inputs() -> Vec<Input> {
    let desired = [Desired::Connected, Desired::Paused, Desired::Draining, Desired::Quarantined];
    let reasons = ["warning", "refresh_requested", "link_disabled", "too_many_websockets", "new"];
    let closes = [
        CloseWhy::Peer,
        CloseWhy::Transport,
        CloseWhy::Quiet,
        CloseWhy::FrameTooLarge,
        CloseWhy::Retired,
        CloseWhy::Lost,
    ];
    let events = [
        Event::Opened { socket_mode_off: false },
        Event::Opened { socket_mode_off: true },
        Event::DialFailed(Reason::new("dns_failed", "dns")),
        Event::UpgradeRefused { status: 409, proxy_like: false },
        Event::Upgraded,
        Event::Useless,
        hello(),
        Event::Hello(hello_of("A0GLOBEX", 9)),
        Event::Hello(taut_core::envelope::Hello {
            approximate_connection_time: Some(0),
            ..Default::default()
        }),
        Event::EnvelopeSeen,
        refusal(RefusalClass::Park, "invalid_auth", None),
        refusal(RefusalClass::Park, "no_permission", None),
        refusal(RefusalClass::Wait, "org_login_required", None),
        refusal(RefusalClass::Retry, "fatal_error", None),
        refusal(RefusalClass::Retry, "ratelimited", Some(secs(30))),
    ];
    let events: Vec<_> = events
        .into_iter()
        .chain(reasons.map(|reason| Event::Disconnect(reason.into())))
        .chain(closes.map(Event::Closed))
        .collect();
    let sockets =
        (0..4).flat_map(|n| events.iter().map(move |event| Input::Socket(Generation(n), event.clone())));
    desired
        .map(Input::Desired)
        .into_iter()
        .chain([Input::TokenChanged, Input::AppTaken, Input::Tick])
        .chain(sockets)
        .collect()
}

/// What holds in every state.
pub(super) fn check(line: &Line<rig::Steady>, now: Moment, out: &[Output]) {
    assert!(line.leaving.len() <= LEAVING_MAX);
    assert!(out.iter().filter(|output| matches!(output, Output::Open(_))).count() <= 1);
    if line.desired != Desired::Connected {
        assert!(line.attempt.is_none() && line.current.is_none(), "nothing is wanted");
    }
    if let (Some(at), Some(_)) = (line.wake_at(), out.first()) {
        assert!(at > now, "what is due has been done");
    }
    if line.wants_socket() && !line.stand.parked() {
        assert!(line.stand.next_open().is_some(), "a wanted socket comes by itself unless parked");
    }
    if line.current.is_some() && line.desired == Desired::Connected {
        let (state, _) = line.state();
        assert!(matches!(state, TenantState::Connected | TenantState::Waiting));
    }
}

#[test]
fn every_state_takes_every_input() {
    for (name, rig) in states() {
        for input in inputs() {
            let mut rig = rig.clone();
            let out = rig.input(input.clone());
            check(&rig.line, rig.now, &out);
            let known: Vec<_> = (0..=rig.last()).map(Generation).collect();
            for output in &out {
                if let Output::Retire(generation) | Output::Abort(generation) = output {
                    assert!(known.contains(generation), "{name} + {input:?}: {output:?}");
                }
            }
        }
    }
}

#[test]
fn news_of_a_given_up_socket_changes_nothing() {
    for (name, rig) in states() {
        for input in inputs() {
            let Input::Socket(generation, _) = &input else { continue };
            if rig.line.role(*generation) != Role::Gone {
                continue;
            }
            let mut late = rig.clone();
            late.input(Input::Tick);
            assert_eq!(late.input(input.clone()), [], "{name} + {input:?}");
        }
    }
}

#[test]
fn from_every_state_an_operator_and_a_healthy_slack_lead_to_connected() {
    for (name, rig) in states() {
        for input in inputs() {
            let mut rig = rig.clone();
            rig.input(input.clone());
            random::heal(&mut rig);
            assert!(rig.state().starts_with("connected"), "{name} + {input:?}: {}", rig.state());
        }
    }
}
