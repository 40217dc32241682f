//! What goes over a visitor's connection: HTTP/2 frames made by hand, requests and their bodies, answers read back.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::BoxBody};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{HOST, soon};

/// One HTTP/2 frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block without indexing or Huffman coding.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            out.push(u8::try_from(text.len()).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

pub fn get_block() -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/"),
    ])
}

/// One answer read off an HTTP/1.1 connection.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    /// The body has its full length (by Content-Length or last chunk).
    pub whole: bool,
    pub trailers: String,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn code(&self) -> &str {
        self.headers.get("x-hawse-error").map_or("", String::as_str)
    }
}

pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match soon(stream.read(&mut byte)).await {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// Reads one answer; status 0 if the connection ended before there was one.
pub async fn read_reply(stream: &mut (impl AsyncRead + Unpin), no_body: bool) -> Reply {
    let nothing = Reply {
        status: 0,
        headers: HashMap::new(),
        body: vec![],
        whole: false,
        trailers: String::new(),
    };
    let Some(mut head) = read_head(stream).await else {
        return nothing;
    };
    while head.starts_with("HTTP/1.1 100") {
        let Some(next) = read_head(stream).await else {
            return nothing;
        };
        head = next;
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers: HashMap<String, String> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut reply = Reply {
        status,
        headers,
        ..nothing
    };
    if no_body {
        reply.whole = true;
    } else if reply.headers.get("transfer-encoding").is_some_and(|te| te == "chunked") {
        read_chunks(stream, &mut reply).await;
    } else {
        let length: usize = reply
            .headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut buf = vec![0; length];
        let mut have = 0;
        while have < length {
            match soon(stream.read(&mut buf[have..])).await {
                Ok(0) | Err(_) => break,
                Ok(count) => have += count,
            }
        }
        buf.truncate(have);
        (reply.body, reply.whole) = (buf, have == length);
    }
    reply
}

pub(super) async fn read_chunks(stream: &mut (impl AsyncRead + Unpin), reply: &mut Reply) {
    while let Some(line) = read_line(stream).await {
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        if size == 0 {
            while let Some(line) = read_line(stream).await {
                if line.trim().is_empty() {
                    reply.whole = true;
                    return;
                }
                reply.trailers.push_str(&line);
            }
            return;
        }
        let mut data = vec![0; size + 2];
        if soon(stream.read_exact(&mut data)).await.is_err() {
            return;
        }
        data.truncate(size);
        reply.body.extend(data);
    }
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") {
        match soon(stream.read(&mut byte)).await {
            Ok(1) => line.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(line).unwrap())
}

/// Reads HTTP/2 frames until the connection ends or `enough` says so; (kind, flags, stream, payload).
pub async fn read_frames(
    stream: &mut (impl AsyncRead + Unpin),
    enough: impl Fn(&[(u8, u8, u32, Vec<u8>)]) -> bool,
) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut header = [0; 9];
    while !enough(&frames) {
        if soon(stream.read_exact(&mut header)).await.is_err() {
            break;
        }
        let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let mut payload = vec![0; length];
        if soon(stream.read_exact(&mut payload)).await.is_err() {
            break;
        }
        let id = u32::from_be_bytes(header[5..9].try_into().unwrap());
        frames.push((header[3], header[4], id, payload));
    }
    frames
}

pub fn no_body() -> BoxBody<Bytes, io::Error> {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed()
}

pub fn bytes_body(bytes: impl Into<Bytes>) -> BoxBody<Bytes, io::Error> {
    http_body_util::Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A body fed by a channel.
pub struct Fed(pub tokio::sync::mpsc::Receiver<Result<http_body::Frame<Bytes>, io::Error>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = io::Error;
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
        self.get_mut().0.poll_recv(cx)
    }
}

pub fn request(method: &str, path: &str) -> http::request::Builder {
    http::Request::builder()
        .method(method)
        .uri(format!("https://{HOST}{path}"))
}
