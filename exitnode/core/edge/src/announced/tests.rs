use proptest::prelude::*;

use super::*;

/// What is read of a connection that sends `bytes`, and what is left of it.
async fn heard(bytes: &[u8]) -> (Result<Option<SocketAddr>, String>, Vec<u8>) {
    let mut rest = bytes;
    let found = read(&mut rest).await.map_err(|error| error.to_string());
    (found, rest.to_vec())
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [V2_SIGNATURE, &[0x20 | command, family], &length, body].concat()
}

fn at(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x13, 0x88, 0x01, 0xbb];

#[tokio::test]
async fn a_header_is_read_to_its_last_byte() {
    let mut v6 = [0; 36];
    v6[..16].copy_from_slice(&"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    v6[32..34].copy_from_slice(&5000_u16.to_be_bytes());
    let noted = [&V4[..], &[0x01, 0, 2, b'h', b'2']].concat(); // a note: ALPN
    for (header, visitor) in [
        (
            b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 443\r\n".to_vec(),
            at("203.0.113.7:5000"),
        ),
        (
            b"PROXY TCP6 2001:db8::7 ::1 5000 443\r\n".to_vec(),
            at("[2001:db8::7]:5000"),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
        (v2(1, 0x11, &V4), at("203.0.113.7:5000")),
        (v2(1, 0x11, &noted), at("203.0.113.7:5000")),
        (v2(1, 0x21, &v6), at("[2001:db8::7]:5000")),
        (v2(0, 0x00, &[]), None),
        (v2(0, 0x11, &V4), None),
    ] {
        let (found, rest) = heard(&[&header[..], b"\x16\x03\x01"].concat()).await;
        assert_eq!((found, rest), (Ok(visitor), b"\x16\x03\x01".to_vec()), "{header:?}");
    }
}

#[tokio::test]
async fn anything_else_is_refused() {
    let long_line = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    for (bytes, says) in [
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00".to_vec(),
            "there is none",
        ),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "there is none"),
        (
            b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 70000\r\n".to_vec(),
            "cannot be read",
        ),
        (b"PROXY TCP4 ::1 ::1 5000 443\r\n".to_vec(), "cannot be read"),
        (long_line, "does not end"),
        (v2(1, 0x11, &V4[..8]), "cannot be read"),
        (v2(1, 0x11, &[0; V2_MOST + 1]), "longer"),
        (v2(7, 0x11, &V4), "cannot be read"),
        (b"PROXY TCP4 203".to_vec(), "end of file"),
    ] {
        let error = heard(&bytes).await.0.unwrap_err();
        assert!(error.contains(says), "{error} of {bytes:?}");
    }
}

proptest! {
    /// Any bytes are a header or an error; never a panic, never more than the longest header read.
    #[test]
    fn any_bytes_are_a_header_or_an_error(start in 0..3_usize, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [[&b""[..], b"PROXY ", V2_SIGNATURE][start], &bytes].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (_, rest) = runtime.block_on(heard(&bytes));
        prop_assert!(bytes.len() - rest.len() <= V2_FIXED + V2_MOST);
    }
}
