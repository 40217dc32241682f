use super::*;

fn made(fields: &[(&'static str, &'static str)], pieces: &[Bytes], counters: &Arc<Counters>) -> Stored {
    let field =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let fields: HeaderMap = fields.iter().map(field).collect();
    let lifetime = Lifetime {
        fresh: Duration::from_secs(60),
        ..Lifetime::default()
    };
    Stored::new((StatusCode::OK, &fields, pieces), lifetime, Instant::now(), counters)
}

async fn asked(stored: &Stored, method: &str, fields: &[(&str, &str)]) -> (u16, HeaderMap, String) {
    let mut request = Request::builder().method(method);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answer = stored.answer(&request.body(body::empty()).unwrap(), Instant::now(), Says::Hit);
    let (head, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (
        head.status.as_u16(),
        head.headers,
        String::from_utf8(bytes.to_vec()).unwrap(),
    )
}

#[tokio::test(start_paused = true)]
async fn whole_parts_and_heads_are_told_as_they_are() {
    let pieces = [Bytes::from_static(b"01234"), Bytes::from_static(b"56789")];
    let stored = made(
        &[("etag", "\"v\""), ("content-type", "text/plain"), ("age", "7")],
        &pieces,
        &Arc::default(),
    );
    for (method, fields, status, length, range, text) in [
        ("GET", &[][..], 200, "10", None, "0123456789"),
        ("HEAD", &[], 200, "10", None, ""),
        ("GET", &[("range", "bytes=2-4")], 206, "3", Some("bytes 2-4/10"), "234"),
        ("GET", &[("range", "bytes=10-")], 416, "0", Some("bytes */10"), ""),
        ("HEAD", &[("range", "bytes=2-4")], 200, "10", None, ""),
    ] {
        let (got, fields, body) = asked(&stored, method, fields).await;
        assert_eq!((got, body.as_str()), (status, text), "{method}");
        assert_eq!(fields[header::CONTENT_LENGTH], length);
        assert_eq!(
            fields.get(header::CONTENT_RANGE).map(|range| range.to_str().unwrap()),
            range
        );
        assert_eq!(
            (&fields[header::AGE], &fields["cache-status"]),
            (&"0".parse().unwrap(), &"hawse; hit".parse().unwrap())
        );
    }
    let (status, fields, text) = asked(&stored, "GET", &[("if-none-match", "\"v\""), ("range", "bytes=0-1")]).await;
    assert_eq!((status, text.as_str()), (304, ""));
    assert!(!fields.contains_key(header::CONTENT_LENGTH) && !fields.contains_key(header::CONTENT_TYPE));
}

#[tokio::test]
async fn a_long_body_comes_in_pieces() {
    let stored = made(&[], &[vec![7; 200_000].into()], &Arc::default());
    let request = Request::get("/").body(body::empty()).unwrap();
    let mut body = stored.answer(&request, Instant::now(), Says::Hit).into_body();
    let mut sizes = Vec::new();
    while let Some(frame) = body.frame().await {
        sizes.push(frame.unwrap().into_data().unwrap().len());
    }
    assert_eq!(sizes, [65_536, 65_536, 65_536, 3_392]);
}

#[test]
fn nothing_that_is_stored_holds_on_to_what_was_read() {
    let mut buffer = bytes::BytesMut::with_capacity(16 << 10);
    buffer.extend_from_slice(b"x-custom valuebody");
    let read = buffer.freeze();
    let name = HeaderName::from_bytes(&read[..8]).unwrap();
    let value = HeaderValue::from_maybe_shared(read.slice(9..14)).unwrap();
    let fields: HeaderMap = [(name, value)].into_iter().collect();
    let lifetime = Lifetime::default();
    let pieces = [read.slice(14..)];
    let stored = Stored::new(
        (StatusCode::OK, &fields, &pieces),
        lifetime,
        Instant::now(),
        &Arc::default(),
    );
    drop((fields, pieces));
    assert_eq!(stored.fields["x-custom"], "value");
    assert!(read.is_unique(), "the read buffer can be used again");
}

#[test]
fn bytes_are_counted_until_the_last_holder_is_gone() {
    let counters = Arc::default();
    let stored = made(&[("x", "y")], &[vec![7; 1000].into()], &counters);
    let bytes = counters.read().bytes;
    assert!(bytes >= 1000 + OVERHEAD_BYTES as u64 && bytes == stored.weight() as u64);
    drop(stored);
    assert_eq!(counters.read().bytes, 0);
}
