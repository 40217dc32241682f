use super::*;

fn tunnel(uid: &str, hostname: &str) -> ir::Tunnel {
    ir::Tunnel {
        uid: uid.into(),
        namespace: "team-a".into(),
        name: "shop".into(),
        hostname: hostname.into(),
        holder_generation: 1,
        app_protocol: ir::AppProtocol::Http1.into(),
        target: Some(ir::tunnel::Target::Agent(ir::AgentTarget { token_uid: "t1".into() })),
        ..ir::Tunnel::default()
    }
}

fn uid_of(routes: &Routes, host: &str) -> Option<String> {
    routes.find(host).map(|tunnel| tunnel.uid.clone())
}

#[test]
fn an_applied_tunnel_is_found_by_its_exact_host_until_it_is_removed() {
    let routes = Routes::default();
    routes.apply(tunnel("u1", "shop.t.example")).unwrap();
    assert_eq!(uid_of(&routes, "shop.t.example").as_deref(), Some("u1"));
    assert_eq!(uid_of(&routes, "a.shop.t.example"), None);
    assert_eq!(uid_of(&routes, "t.example"), None);
    routes.remove("u1");
    assert_eq!(uid_of(&routes, "shop.t.example"), None);
}

#[test]
fn every_problem_of_a_tunnel_is_named_at_once() {
    let bad = ir::Tunnel {
        uid: String::new(),
        target: None,
        app_protocol: 9,
        ..tunnel("", "Shop..example")
    };
    let error = Routes::default().apply(bad).unwrap_err();
    for part in ["no uid", "Shop..example", "no target", "app protocol 9"] {
        assert!(error.contains(part), "{error}");
    }
}

fn url(scheme: &str, host: &str, port: u32, addresses: &[&str]) -> ir::Tunnel {
    let direct = ir::UrlTarget {
        scheme: scheme.into(),
        host: host.into(),
        port,
        addresses: addresses.iter().map(ToString::to_string).collect(),
    };
    ir::Tunnel {
        target: Some(ir::tunnel::Target::Direct(direct)),
        ..tunnel("u1", "shop.t.example")
    }
}

#[test]
fn a_url_that_cannot_be_dialled_is_refused_with_the_reason() {
    for (bad, says) in [
        (url("ftp", "a.example", 21, &[]), "scheme \"ftp\""),
        (url("http", "a.example", 0, &[]), "0 is not a port"),
        (url("http", "a.example", 65_536, &[]), "65536 is not a port"),
        (url("http", "", 80, &[]), "not a host"),
        (url("http", "user@a.example", 80, &[]), "not a host"),
        (url("https", "not a name", 443, &[]), "certificate"),
        (url("http", "web", 80, &["10.0.0"]), "address"),
    ] {
        let error = Routes::default().apply(bad).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn the_app_behind_a_url_gets_its_own_host_and_that_of_a_service_the_visitors() {
    for (target, host) in [
        (url("http", "a.example", 80, &[]), Some("a.example")),
        (url("https", "a.example", 443, &[]), Some("a.example")),
        (url("https", "a.example", 8443, &[]), Some("a.example:8443")),
        (url("http", "2001:db8::1", 8080, &[]), Some("[2001:db8::1]:8080")),
        (url("http", "web", 80, &["10.96.0.7"]), None),
    ] {
        let routes = Routes::default();
        routes.apply(target).unwrap();
        let found = routes.find("shop.t.example").unwrap();
        assert_eq!(found.primary.host.as_deref(), host);
    }
}

#[test]
fn connections_to_another_url_are_not_kept() {
    let routes = Routes::default();
    let after = |tunnel| {
        routes.apply(tunnel).unwrap();
        routes.find("shop.t.example").unwrap().primary.clone()
    };
    let first = after(url("http", "a.example", 80, &[]));
    assert!(Arc::ptr_eq(&first, &after(url("http", "a.example", 80, &[]))));
    assert!(!Arc::ptr_eq(&first, &after(url("http", "b.example", 80, &[]))));
}

#[test]
fn a_bad_edit_keeps_the_last_good_form() {
    let routes = Routes::default();
    routes.apply(tunnel("u1", "shop.t.example")).unwrap();
    routes
        .apply(ir::Tunnel {
            app_protocol: 9,
            ..tunnel("u1", "shop.t.example")
        })
        .unwrap_err();
    assert_eq!(routes.find("shop.t.example").unwrap().closed, None);
}

#[test]
fn a_bad_edit_that_changes_the_token_closes_the_tunnel() {
    let routes = Routes::default();
    routes.apply(tunnel("u1", "shop.t.example")).unwrap();
    let target = Some(ir::tunnel::Target::Agent(ir::AgentTarget { token_uid: "t2".into() }));
    routes
        .apply(ir::Tunnel {
            app_protocol: 9,
            target,
            ..tunnel("u1", "shop.t.example")
        })
        .unwrap_err();
    assert!(routes.find("shop.t.example").unwrap().closed.is_some());
}

#[test]
fn a_feature_that_is_not_known_closes_the_tunnel_and_is_named() {
    let routes = Routes::default();
    routes.apply(tunnel("u1", "shop.t.example")).unwrap();
    let needs = ir::Tunnel {
        required_features: vec!["waf".into()],
        ..tunnel("u1", "shop.t.example")
    };
    assert!(routes.apply(needs.clone()).unwrap_err().contains("\"waf\""));
    assert!(routes.find("shop.t.example").unwrap().closed.is_some());
    let fresh = Routes::default();
    fresh.apply(needs).unwrap_err();
    assert!(fresh.find("shop.t.example").is_none());
}

#[test]
fn a_name_goes_to_the_newer_holder_and_not_back() {
    let routes = Routes::default();
    routes.apply(tunnel("old", "shop.t.example")).unwrap();
    routes
        .apply(ir::Tunnel {
            holder_generation: 2,
            ..tunnel("new", "shop.t.example")
        })
        .unwrap();
    assert_eq!(uid_of(&routes, "shop.t.example").as_deref(), Some("new"));
    assert!(
        routes
            .apply(tunnel("old", "shop.t.example"))
            .unwrap_err()
            .contains("newer holder")
    );
    routes.remove("old");
    assert_eq!(uid_of(&routes, "shop.t.example").as_deref(), Some("new"));
}

#[test]
fn an_edit_keeps_counters_and_pool_but_another_token_gets_its_own_pool() {
    let routes = Routes::default();
    routes.apply(tunnel("u1", "shop.t.example")).unwrap();
    let first = routes.find("shop.t.example").unwrap();
    first.counters.request();
    let timeouts = Some(ir::Timeouts {
        request_ms: 500,
        idle_ms: 0,
    });
    routes
        .apply(ir::Tunnel {
            timeouts,
            ..tunnel("u1", "shop.t.example")
        })
        .unwrap();
    let second = routes.find("shop.t.example").unwrap();
    assert_eq!(second.request_timeout, Some(Duration::from_millis(500)));
    assert_eq!(second.idle_timeout, None);
    assert!(Arc::ptr_eq(&first.primary, &second.primary) && Arc::ptr_eq(&first.counters, &second.counters));
    let target = Some(ir::tunnel::Target::Agent(ir::AgentTarget { token_uid: "t2".into() }));
    routes
        .apply(ir::Tunnel {
            target,
            ..tunnel("u1", "shop.t.example")
        })
        .unwrap();
    let third = routes.find("shop.t.example").unwrap();
    assert!(!Arc::ptr_eq(&first.primary, &third.primary) && Arc::ptr_eq(&first.counters, &third.counters));
}

#[test]
fn another_hostname_frees_the_first() {
    let routes = Routes::default();
    routes.apply(tunnel("u1", "a.t.example")).unwrap();
    routes.apply(tunnel("u1", "b.t.example")).unwrap();
    assert_eq!(uid_of(&routes, "a.t.example"), None);
    assert_eq!(uid_of(&routes, "b.t.example").as_deref(), Some("u1"));
}

#[test]
fn a_closed_tunnel_needs_no_target_but_a_code_of_the_edge() {
    let routes = Routes::default();
    let closed = |code: &str| {
        Some(ir::Closed {
            code: code.into(),
            message: "Suspended by its owner.".into(),
        })
    };
    let shut = ir::Tunnel {
        target: None,
        closed: closed("HAWSE-1008"),
        ..tunnel("u1", "shop.t.example")
    };
    routes.apply(shut.clone()).unwrap();
    assert_eq!(
        routes
            .find("shop.t.example")
            .unwrap()
            .closed
            .as_ref()
            .unwrap()
            .code
            .status,
        503
    );
    for code in ["HAWSE-2003", "1008", ""] {
        routes
            .apply(ir::Tunnel {
                closed: closed(code),
                ..shut.clone()
            })
            .unwrap_err();
    }
}

fn with_standby(host: &str, failback_ms: u32) -> ir::Tunnel {
    let Some(ir::tunnel::Target::Direct(direct)) = url("http", host, 80, &[]).target else {
        panic!("no URL")
    };
    let standby = ir::Standby {
        target: Some(ir::standby::Target::Direct(direct)),
        failback_ms,
        ..ir::Standby::default()
    };
    ir::Tunnel {
        standby: Some(standby),
        ..tunnel("u1", "shop.t.example")
    }
}

#[test]
fn an_edit_keeps_what_answers_unless_a_target_is_another() {
    let routes = Routes::default();
    let state_after = |tunnel| {
        routes.apply(tunnel).unwrap();
        routes.by_uid("u1").unwrap().standby.as_ref().unwrap().state.clone()
    };
    let first = state_after(with_standby("a.example", 1));
    first.lost(tokio::time::Instant::now(), Side::Primary, "gone");
    let edited = state_after(with_standby("a.example", 2));
    assert!(Arc::ptr_eq(&first, &edited));
    assert_eq!(edited.active(), Side::Standby);
    assert_eq!(state_after(with_standby("b.example", 2)).active(), Side::Primary);
}

#[test]
fn a_standby_is_checked_by_one_task_until_that_ends() {
    let routes = Routes::default();
    routes.apply(with_standby("a.example", 1)).unwrap();
    let claims = routes.unchecked();
    assert_eq!((claims.len(), routes.unchecked().len()), (1, 0));
    drop(claims);
    assert_eq!(routes.unchecked().len(), 1);
}

#[test]
fn agents_of_the_standby_are_asked_under_a_name_of_its_own_and_a_bad_edit_with_another_closes_the_tunnel() {
    let routes = Routes::default();
    let with_agents = |token: &str, app_protocol| {
        let agent = ir::AgentTarget {
            token_uid: token.into(),
        };
        let mut tunnel = with_standby("a.example", 1);
        let standby = tunnel.standby.as_mut().unwrap();
        standby.target = Some(ir::standby::Target::Agent(agent));
        standby.app_protocol = app_protocol;
        tunnel
    };
    routes.apply(with_agents("t2", 0)).unwrap();
    let found = routes.by_uid("u1").unwrap();
    assert!(matches!(&found.endpoint(Side::Standby).way, crate::endpoint::Way::Agent(name) if name == "u1/standby"));
    routes.apply(with_agents("t2", 9)).unwrap_err();
    assert!(routes.by_uid("u1").unwrap().closed.is_none());
    routes.apply(with_agents("t3", 9)).unwrap_err();
    assert!(routes.by_uid("u1").unwrap().closed.is_some());
}

/// A TCP tunnel, and the address of its port: one that no other test has.
fn tcp(uid: &str, port: u16, generation: u64) -> ir::Tunnel {
    ir::Tunnel {
        hostname: format!("tcp-{port}.t.example"),
        app_protocol: ir::AppProtocol::Tcp.into(),
        tcp_port: port.into(),
        required_features: vec!["tcp/1".into()],
        holder_generation: generation,
        ..tunnel(uid, "")
    }
}

fn at(last: u8) -> (Routes, std::net::IpAddr) {
    let (routes, address) = (Routes::default(), [127, 78, 0, last].into());
    routes.ports.bind_at(address);
    (routes, address)
}

fn is_open(address: std::net::IpAddr, port: u16) -> bool {
    std::net::TcpStream::connect((address, port)).is_ok()
}

#[test]
fn a_tcp_tunnel_is_found_by_its_port_and_never_by_its_name() {
    let (routes, address) = at(1);
    routes.apply(tcp("u1", 20_001, 1)).unwrap();
    assert_eq!(routes.at_port(20_001).unwrap().uid, "u1");
    assert!(routes.find("tcp-20001.t.example").is_none(), "no request may go there");
    assert!(is_open(address, 20_001));
    routes.remove("u1");
    assert!(routes.at_port(20_001).is_none() && !is_open(address, 20_001));
}

#[test]
fn a_port_goes_from_holder_to_holder_by_generation_and_stays_open() {
    let (routes, address) = at(2);
    routes.apply(tcp("u1", 20_001, 2)).unwrap();
    let late = routes.apply(tcp("u0", 20_001, 1)).unwrap_err();
    assert!(late.contains("newer holder"), "{late}");
    routes.apply(tcp("u2", 20_001, 3)).unwrap();
    routes.remove("u1");
    assert_eq!(routes.at_port(20_001).unwrap().uid, "u2");
    assert!(is_open(address, 20_001));
    routes.apply(tcp("u2", 20_002, 3)).unwrap();
    assert!(routes.at_port(20_001).is_none() && !is_open(address, 20_001) && is_open(address, 20_002));
}

#[test]
fn a_port_that_cannot_be_had_is_the_tunnels_refusal_and_its_last_form_stays() {
    let (routes, address) = at(3);
    let _other = std::net::TcpListener::bind((address, 20_002)).unwrap();
    routes.apply(tcp("u1", 20_001, 1)).unwrap();
    let taken = routes.apply(tcp("u1", 20_002, 1)).unwrap_err();
    assert!(
        taken.contains("127.78.0.3:20002") && taken.contains("in use"),
        "{taken}"
    );
    assert!(routes.at_port(20_001).is_some() && is_open(address, 20_001));
    let fresh = routes.apply(tcp("u2", 20_002, 1)).unwrap_err();
    assert!(fresh.contains("in use") && routes.by_uid("u2").is_none());
}

#[test]
fn a_tcp_tunnel_has_a_port_and_apps_that_take_tcp_and_no_other_has() {
    let (routes, _) = at(4);
    let ordinary = ir::Tunnel {
        tcp_port: 20_001,
        ..tunnel("u1", "shop.t.example")
    };
    let portless = ir::Tunnel {
        tcp_port: 0,
        ..tcp("u1", 20_001, 1)
    };
    let standby = ir::Standby {
        target: Some(ir::standby::Target::Agent(ir::AgentTarget { token_uid: "t2".into() })),
        ..ir::Standby::default()
    };
    let mixed = ir::Tunnel {
        standby: Some(standby),
        ..tcp("u1", 20_001, 1)
    };
    let direct = ir::UrlTarget {
        scheme: "https".into(),
        host: "db.example".into(),
        port: 5432,
        addresses: vec![],
    };
    let url = ir::Tunnel {
        target: Some(ir::tunnel::Target::Direct(direct)),
        ..tcp("u1", 20_001, 1)
    };
    let no_port = ir::Tunnel {
        tcp_port: 70_000,
        ..tcp("u1", 20_001, 1)
    };
    for (bad, says) in [
        (ordinary, "has a port"),
        (portless, "has a port"),
        (mixed, "has a port"),
        (url, "\"https\" does not go with the protocol Tcp"),
        (no_port, "70000 is not a TCP port"),
    ] {
        let error = routes.apply(bad).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    let closed = ir::Closed {
        code: "HAWSE-1008".into(),
        message: "Suspended.".into(),
    };
    let suspended = ir::Tunnel {
        closed: Some(closed),
        target: None,
        ..tcp("u1", 20_001, 1)
    };
    routes.apply(suspended).unwrap();
    assert!(routes.at_port(20_001).unwrap().closed.is_some());
}
