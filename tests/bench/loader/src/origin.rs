//! The app behind every product: answers `GET /` with 200 bytes and `GET /<number>` with that many. Knows no other thing.

use std::error::Error;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const SMALL: usize = 200;
const BACKLOG: u32 = 4096;
const CHUNK: usize = 256 << 10;
const HEAD_LIMIT: usize = 16 << 10;

/// Serves until it is killed.
pub(crate) async fn serve(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener: TcpListener = socket.listen(BACKLOG)?;
    let small = answer_of(SMALL);
    println!("listening on {address}");
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let small = small.clone();
                tokio::task::spawn_local(async move {
                    let _ = talk(stream, &small).await; // the peer went away: nothing to tell
                });
            }
        })
        .await
}

fn head_of(length: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {length}\r\n\r\n"
    )
}

fn answer_of(length: usize) -> Vec<u8> {
    let mut answer = head_of(length).into_bytes();
    answer.resize(answer.len() + length, b'x');
    answer
}

async fn talk(mut stream: TcpStream, small: &[u8]) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(4096);
    loop {
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            match wanted(&head) {
                SMALL => stream.write_all(small).await?,
                length => send_large(&mut stream, length).await?,
            }
            head.drain(..end + 4);
        }
        if head.len() > HEAD_LIMIT || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
}

/// The number in the path, or `SMALL`.
fn wanted(head: &[u8]) -> usize {
    let path = head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    let digits = path.strip_prefix(b"/").unwrap_or_default();
    std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SMALL)
}

async fn send_large(stream: &mut TcpStream, length: usize) -> std::io::Result<()> {
    stream.write_all(head_of(length).as_bytes()).await?;
    let chunk = vec![b'x'; CHUNK];
    let mut left = length;
    while left > 0 {
        let part = left.min(CHUNK);
        stream.write_all(&chunk[..part]).await?;
        left -= part;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_how_long_the_answer_is() {
        for (head, length) in [
            ("GET / HTTP/1.1\r\n\r\n", SMALL),
            ("GET /1048576 HTTP/1.1\r\n\r\n", 1_048_576),
            ("GET /x HTTP/1.1", SMALL),
        ] {
            assert_eq!(wanted(head.as_bytes()), length, "{head}");
        }
    }
}
