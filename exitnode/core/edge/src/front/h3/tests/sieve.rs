use proptest::prelude::*;

use super::*;

const MOST: u64 = 64;

/// A QUIC integer in its shortest form.
fn integer(value: u64) -> Vec<u8> {
    match value {
        0..0x40 => vec![u8::try_from(value).unwrap()],
        0x40..0x4000 => (u16::try_from(value).unwrap() | 0x4000).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (u32::try_from(value).unwrap() | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [integer(kind), integer(payload.len() as u64), payload.to_vec()].concat()
}

/// :method GET, :path /
fn head() -> Vec<u8> {
    frame(HEADERS, &[0, 0, 0xd1, 0xc1])
}

fn trailers() -> Vec<u8> {
    frame(HEADERS, &[0, 0, 0x23, b'x', b'-', b'a', 1, b'1'])
}

fn drain(sieve: &mut Sieve) -> Vec<u8> {
    std::iter::from_fn(|| sieve.next()).flatten().collect()
}

/// What passes of a request's stream, or why it is refused.
fn sift(bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut sieve = Sieve::request(MOST);
    sieve.feed(Bytes::copy_from_slice(bytes))?;
    sieve.end()?;
    Ok(drain(&mut sieve))
}

/// The same frames with the lengths that the sieve writes.
fn rewritten(payload: &[u8]) -> Vec<u8> {
    [header_of(HEADERS, payload.len()).to_vec(), payload.to_vec()].concat()
}

#[test]
fn a_message_passes_and_what_carries_nothing_is_taken_out() {
    let known = [head(), frame(DATA, b"abc"), frame(DATA, b"de"), trailers()].concat();
    let expected = [
        rewritten(&head()[2..]),
        frame(DATA, b"abc"),
        frame(DATA, b"de"),
        rewritten(&trailers()[2..]),
    ]
    .concat();
    assert_eq!(sift(&known).unwrap(), expected);
    let noisy = [
        frame(0x21, &[7; 4000]),
        head(),
        frame(DATA, b"abc"),
        frame(DATA, b""),
        frame(0x1f * 9 + 0x21, b""),
        frame(DATA, b"de"),
        frame(0x41, b"no webtransport"),
        trailers(),
        frame(0x21, b"x"),
    ]
    .concat();
    assert_eq!(sift(&noisy).unwrap(), expected);
    let mut sieve = Sieve::request(MOST);
    sieve.feed(noisy.into()).unwrap();
    assert_eq!((sieve.take_idle(), sieve.take_idle()), (5, 0));
}

#[test]
fn frames_that_break_the_rules_are_refused() {
    let declares = |kind: u64, length: u64| [integer(kind), integer(length)].concat();
    for (name, bytes, refusal) in [
        ("head of 1 GiB", declares(HEADERS, 1 << 30), Refusal::TooLarge),
        ("head a byte too long", declares(HEADERS, MOST + 1), Refusal::TooLarge),
        (
            "trailers too long",
            [head(), declares(HEADERS, MOST + 1)].concat(),
            Refusal::TooLarge,
        ),
        ("DATA first", frame(DATA, b"a"), Refusal::Unexpected),
        ("empty DATA first", frame(DATA, b""), Refusal::Unexpected),
        (
            "DATA after trailers",
            [head(), trailers(), frame(DATA, b"a")].concat(),
            Refusal::Unexpected,
        ),
        (
            "three sections",
            [head(), trailers(), trailers()].concat(),
            Refusal::Unexpected,
        ),
        ("SETTINGS", frame(SETTINGS, b""), Refusal::Unexpected),
        (
            "PUSH_PROMISE of any length",
            declares(PUSH_PROMISE, 1 << 30),
            Refusal::Unexpected,
        ),
        ("GOAWAY", frame(GOAWAY, b"0"), Refusal::Unexpected),
        ("PING of HTTP/2", frame(6, b""), Refusal::Unexpected),
        ("CONTINUATION of HTTP/2", frame(9, b""), Refusal::Unexpected),
        ("end in a header", vec![0x40], Refusal::Truncated),
        ("end in a head", head()[..4].to_vec(), Refusal::Truncated),
        (
            "end in DATA",
            [head(), declares(DATA, 9), b"abc".to_vec()].concat(),
            Refusal::Truncated,
        ),
        (
            "end in a frame nobody knows",
            [head(), declares(0x21, 9)].concat(),
            Refusal::Truncated,
        ),
        ("dynamic table", frame(HEADERS, &[1, 0, 0x80]), Refusal::Undecodable),
        ("empty head", frame(HEADERS, &[]), Refusal::Undecodable),
        (
            "path twice",
            frame(HEADERS, &[0, 0, 0xd1, 0xc1, 0xc1]),
            Refusal::Malformed,
        ),
        ("path in trailers", [head(), head()].concat(), Refusal::Malformed),
    ] {
        assert_eq!(sift(&bytes), Err(refusal), "{name}");
    }
}

#[test]
fn protocol_is_cut_out_of_a_head() {
    let protocol = [&[0x27, 2][..], b":protocol", &[1, b'x']].concat();
    let block = [&[0, 0, 0xcf][..], &protocol, &[0xc1]].concat();
    assert_eq!(sift(&frame(HEADERS, &block)).unwrap(), rewritten(&[0, 0, 0xcf, 0xc1]));
}

#[test]
fn only_heads_that_are_not_whole_are_kept() {
    let mut sieve = Sieve::request(MOST);
    for (bytes, kept) in [
        (frame(0x21, &[0; 1000]), 0),
        (head()[..4].to_vec(), 2),
        (head()[4..].to_vec(), 0),
        (frame(DATA, &[0; 1000])[..500].to_vec(), 0),
    ] {
        sieve.feed(bytes.into()).unwrap();
        assert_eq!(sieve.kept_bytes(), kept);
    }
}

#[test]
fn a_control_stream_begins_with_settings_and_has_few_frames() {
    let settings = frame(SETTINGS, &[6, 0x40, 0x64]);
    let update = frame(0xf_0700, b"\0u=1");
    let passes = |frames: &[&[u8]]| Ok([&[CONTROL_STREAM], &frames.concat()[..]].concat());
    for (name, bytes, outcome) in [
        ("settings", settings.clone(), passes(&[&settings])),
        (
            "PRIORITY_UPDATE is taken out",
            [settings.clone(), update, frame(GOAWAY, &[0])].concat(),
            passes(&[&settings, &frame(GOAWAY, &[0])]),
        ),
        ("GOAWAY first", frame(GOAWAY, &[0]), Err(Refusal::NoSettings)),
        (
            "a frame nobody knows first",
            [frame(0x21, &[]), settings.clone()].concat(),
            Err(Refusal::NoSettings),
        ),
        (
            "SETTINGS twice",
            [settings.clone(), settings.clone()].concat(),
            Err(Refusal::Unexpected),
        ),
        (
            "SETTINGS too long",
            [integer(SETTINGS), integer(MOST + 1)].concat(),
            Err(Refusal::TooLarge),
        ),
        ("HEADERS", [settings.clone(), head()].concat(), Err(Refusal::Unexpected)),
        (
            "GOAWAY without a number",
            [settings.clone(), frame(GOAWAY, &[])].concat(),
            Err(Refusal::Truncated),
        ),
        (
            "MAX_PUSH_ID and more",
            [settings.clone(), frame(MAX_PUSH_ID, &[5, 5])].concat(),
            Err(Refusal::Truncated),
        ),
    ] {
        let mut sieve = Sieve::control(MOST);
        let fed = sieve.feed(bytes.into());
        assert_eq!(fed.map(|()| drain(&mut sieve)), outcome, "{name}");
        if outcome.is_ok() {
            assert_eq!(sieve.end(), Ok(()), "{name}");
        }
    }
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same(
        frames in proptest::collection::vec((0_u64..0x30, 0_usize..40), 0..20),
        cuts in proptest::collection::vec(1_usize..50, 1..20),
    ) {
        let frames = frames.into_iter().flat_map(|(kind, size)| frame(kind, &vec![0; size]));
        let bytes: Vec<u8> = head().into_iter().chain(frames).collect();
        let mut whole = Sieve::request(MOST);
        let outcome = whole.feed(bytes.clone().into());
        let (mut cut, mut rest) = (Sieve::request(MOST), Bytes::from(bytes));
        let mut cut_outcome = Ok(());
        for at in cuts.iter().cycle() {
            cut_outcome = cut.feed(rest.split_to((*at).min(rest.len())));
            if rest.is_empty() || cut_outcome.is_err() { break; }
        }
        prop_assert_eq!(outcome, cut_outcome);
        prop_assert_eq!((drain(&mut whole), whole.state, whole.idle), (drain(&mut cut), cut.state, cut.idle));
    }

    #[test]
    fn any_bytes_pass_or_are_refused_and_no_more_is_kept_than_allowed(bytes: Vec<u8>) {
        for mut sieve in [Sieve::request(MOST), Sieve::control(MOST)] {
            let _ = sieve.feed(bytes.clone().into());
            prop_assert!(sieve.kept_bytes() as u64 <= MOST + HEADER_BYTES as u64);
        }
    }
}
