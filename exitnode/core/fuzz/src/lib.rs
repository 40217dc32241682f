//! What may never happen, whatever bytes come: one plain function for each parser of foreign bytes, which panics if it does.
//!
//! Run by tests/replay.rs (stable, every `cargo test`) and by bin/libfuzzer.rs (nightly). The parsers that are private stand
//! behind the feature `fuzzing` of their crates, unchanged.

use bytes::{Buf, Bytes, BytesMut};
use hawse_proto::{frame, frames, stream_open};
use prost::Message;

/// A target: any bytes in, a panic if something is broken.
pub type Target = fn(&[u8]);

/// All targets. Seeds stand in seeds/<name>/.
pub const TARGETS: &[(&str, Target)] = &[
    ("frame_raw", frame_raw),
    ("frame_split", frame_split),
    ("stream_open_raw", stream_open_raw),
    ("stream_open_split", stream_open_split),
    ("request_head", hawse_edge::fuzzing::request_head),
    ("route", hawse_edge::fuzzing::route),
    ("h3_sieve", hawse_edge::fuzzing::h3_sieve),
    ("proxy_header", hawse_edge::fuzzing::proxy_header),
    ("proxy_answer", hawse_tunnel::fuzzing::proxy_answer),
];

/// Everything that a decoder gives for bytes that come in pieces of the sizes in `cuts`, then in one.
fn frames_of(data: &[u8], cuts: &[u8]) -> Result<Vec<Bytes>, frame::FrameError> {
    let (mut decoder, mut found, mut rest) = (frame::FrameDecoder::default(), Vec::new(), data);
    for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([data.len()]) {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        rest = after;
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(frame) = frame::next(&mut decoder, &mut input)? {
            found.push(frame);
        }
        assert!(input.is_empty(), "a decoder that wants more has taken everything");
    }
    Ok(found)
}

/// Any bytes are frames or an error, the same however they are cut; what is a frame can be sent again.
fn frame_raw(data: &[u8]) {
    let (cuts, data) = data.split_at(data.len().min(8));
    let whole = frames_of(data, &[]);
    assert_eq!(whole, frames_of(data, cuts));
    let mut again = BytesMut::new();
    for one in whole.iter().flatten() {
        assert!(frame::put(one, &mut again).is_ok());
    }
    assert!(whole.is_err() || data.starts_with(&again));
}

/// Frames that were made are read again, however their bytes are cut.
fn frame_split(data: &[u8]) {
    let (cuts, data) = data.split_at(data.len().min(8));
    let (mut out, mut sent) = (BytesMut::new(), Vec::new());
    for text in data.chunks(37) {
        let hello = frames::Hello {
            slot: String::from_utf8_lossy(text).into_owned(),
            epoch: text.len() as u64,
            ..frames::Hello::default()
        };
        let one = frames::Frame {
            frame: Some(frames::frame::Frame::Hello(hello)),
        };
        let one = Bytes::from(one.encode_to_vec());
        assert!(frame::put(&one, &mut out).is_ok());
        sent.push(one);
    }
    assert_eq!(frames_of(&out, cuts), Ok(sent));
}

/// The opening in bytes that come in pieces, and what follows it.
fn opening_of(data: &[u8], cuts: &[u8]) -> Result<Option<(frames::StreamOpen, Vec<u8>)>, stream_open::OpenError> {
    let (mut decoder, mut rest) = (stream_open::OpenDecoder::default(), data);
    for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([data.len()]) {
        let (mut piece, after) = rest.split_at(cut.min(rest.len()));
        rest = after;
        if let Some(open) = stream_open::next(&mut decoder, &mut piece)? {
            return Ok(Some((open, [piece, rest].concat())));
        }
        assert!(!piece.has_remaining(), "a decoder that wants more has taken everything");
    }
    Ok(None)
}

/// Any bytes are an opening or an error, the same however they are cut.
fn stream_open_raw(data: &[u8]) {
    let (cuts, data) = data.split_at(data.len().min(8));
    let whole = opening_of(data, &[]);
    assert_eq!(whole, opening_of(data, cuts));
    if let Ok(Some((_, rest))) = whole {
        assert!(data.ends_with(&rest));
    }
}

/// An opening that was made is read again, and what follows it is left.
fn stream_open_split(data: &[u8]) {
    let (cuts, data) = data.split_at(data.len().min(8));
    let (uid, rest) = data.split_at(data.len() / 2);
    let uid = String::from_utf8_lossy(uid);
    let visitor = std::net::SocketAddr::from(([198, 51, 100, 4], 50_000));
    match stream_open::build(&uid, visitor) {
        Ok(opening) => {
            let read = opening_of(&[&opening, rest].concat(), cuts);
            assert!(
                matches!(&read, Ok(Some((open, left))) if open.tunnel_uid == uid && left == rest),
                "{read:?}"
            );
        }
        Err(_) => assert!(uid.is_empty() || uid.len() > 4000),
    }
}
