use super::*;

const TTL: Duration = Duration::from_secs(2);

fn fields(all: &[(&'static str, &'static str)]) -> HeaderMap {
    let field =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    all.iter().map(field).collect()
}

/// Seconds of (fresh, while_revalidate, if_error), or `None`.
fn judged(status: u16, all: &[(&'static str, &'static str)], terms: Terms, guarded: bool) -> Option<(u64, u64, u64)> {
    let status = StatusCode::from_u16(status).unwrap();
    let lifetime = judge(
        (status, &fields(all)),
        &HeaderMap::new(),
        (terms, guarded),
        SystemTime::now(),
    )?;
    let seconds = |duration: Duration| duration.as_secs();
    Some((
        seconds(lifetime.fresh),
        seconds(lifetime.while_revalidate),
        seconds(lifetime.if_error),
    ))
}

fn generous() -> Terms {
    Terms {
        ttl: TTL,
        while_revalidate: Duration::from_secs(10),
        if_error: Duration::from_secs(100),
        ..Terms::default()
    }
}

#[test]
fn what_may_be_shared_and_for_how_long() {
    for (status, said, expected) in [
        (200, &[][..], Some((2, 10, 100))),
        (404, &[], Some((2, 10, 100))),
        (200, &[("cache-control", "max-age=60")], Some((60, 10, 100))),
        (200, &[("cache-control", "MAX-AGE=60, Public")], Some((60, 10, 100))),
        (
            200,
            &[("cache-control", "max-age=60"), ("age", "50")],
            Some((10, 10, 100)),
        ),
        (200, &[("cache-control", "public")], Some((2, 10, 100))),
        (
            200,
            &[("cache-control", "max-age=9, stale-while-revalidate=3, stale-if-error=0")],
            Some((9, 3, 0)),
        ),
        (200, &[("cache-control", "max-age=9, must-revalidate")], Some((9, 0, 0))),
        (200, &[("cache-control", "s-maxage=9, max-age=1")], Some((9, 0, 0))),
        (
            200,
            &[("cache-control", "s-maxage=9, stale-while-revalidate=3")],
            Some((9, 3, 0)),
        ),
        (
            200,
            &[("cache-control", "max-age=99999999999")],
            Some((86_400, 10, 100)),
        ),
        (302, &[("cache-control", "max-age=60")], Some((60, 10, 100))),
        (
            200,
            &[("cache-control", "max-age=0"), ("etag", "\"a\"")],
            Some((0, 10, 100)),
        ),
    ] {
        assert_eq!(judged(status, said, generous(), false), expected, "{status} {said:?}");
    }
}

#[test]
fn what_is_for_the_one_who_asked() {
    for (status, said) in [
        (302, &[][..]),
        (206, &[]),
        (500, &[]),
        (503, &[("cache-control", "max-age=60")]),
        (200, &[("cache-control", "PRIVATE")]),
        (200, &[("cache-control", "private=\"x-a, x-b\"")]),
        (200, &[("cache-control", "max-age=60"), ("cache-control", "No-Store")]),
        (200, &[("cache-control", "no-cache=\"x\", max-age=60")]),
        (200, &[("pragma", "No-Cache")]),
        (200, &[("cache-control", "max-age=0, must-revalidate")]),
        (200, &[("cache-control", "max-age=often, must-revalidate")]),
        (200, &[("expires", "0"), ("cache-control", "must-revalidate")]),
        (200, &[("set-cookie", "a=1"), ("cache-control", "public, max-age=60")]),
        (200, &[("vary", "*"), ("cache-control", "max-age=60")]),
        (200, &[("vary", "accept, *"), ("cache-control", "max-age=60")]),
        (200, &[("content-type", "Text/Event-Stream; charset=utf-8")]),
    ] {
        assert_eq!(judged(status, said, generous(), false), None, "{status} {said:?}");
    }
}

#[test]
fn what_can_t_be_read_may_say_anything() {
    let mut said = fields(&[("cache-control", "max-age=60")]);
    said.append(header::CACHE_CONTROL, HeaderValue::from_bytes(b"\xe9").unwrap());
    let on = (Terms::default(), false);
    assert_eq!(
        judge((StatusCode::OK, &said), &HeaderMap::new(), on, SystemTime::now()),
        None
    );
}

#[test]
fn a_modest_tunnel_shares_only_while_it_comes() {
    let said = judged(200, &[], Terms::default(), false).unwrap();
    assert_eq!(said, (0, 0, 0));
    assert_eq!(
        judged(200, &[("cache-control", "max-age=0")], Terms::default(), false),
        None
    );
    // Heuristics would let a file of last year serve for weeks.
    let old = [("last-modified", "Tue, 24 Nov 2020 10:00:00 GMT")];
    assert_eq!(judged(200, &old, Terms::default(), false), Some((0, 0, 0)));
}

#[test]
fn dates_count_from_the_answer_s_own() {
    let said = [
        ("date", "Tue, 24 Nov 2026 10:00:00 GMT"),
        ("expires", "Tue, 24 Nov 2026 10:01:00 GMT"),
    ];
    assert_eq!(judged(200, &said, Terms::default(), false), Some((60, 0, 0)));
}

#[test]
fn credentials_ask_for_an_express_word() {
    let express = [("cache-control", "public, max-age=60")];
    let plain = [("cache-control", "max-age=60")];
    assert!(judged(200, &express, Terms::default(), true).is_some());
    assert!(judged(200, &plain, Terms::default(), true).is_none());
    let asked = fields(&[("authorization", "Basic x")]);
    for (share_authorized, shared) in [(false, false), (true, true)] {
        let terms = Terms {
            share_authorized,
            ..Terms::default()
        };
        let on = (terms, false);
        let judged = judge((StatusCode::OK, &fields(&plain)), &asked, on, SystemTime::now());
        assert_eq!(judged.is_some(), shared);
    }
}

#[test]
fn the_fields_that_vary_names_are_read_and_bounded() {
    let names = |all: &[(&'static str, &'static str)]| {
        vary(&fields(all)).map(|names| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(names(&[]).unwrap(), [""; 0]);
    let several = names(&[("vary", "X-B, x-a,,X-A"), ("vary", "x-c")]).unwrap();
    assert_eq!(several, ["x-a", "x-b", "x-c"]);
    assert_eq!(names(&[("content-encoding", "gzip")]).unwrap(), ["accept-encoding"]);
    assert_eq!(names(&[("vary", "a b")]), None);
    assert_eq!(names(&[("vary", "a,b,c,d,e,f,g,h,i")]), None);
}
