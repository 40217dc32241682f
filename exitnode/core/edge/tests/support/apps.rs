//! Apps that answer in HTTP/1.1, one call for each connection.

use std::{collections::HashMap, future::Future, pin::Pin};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Reply, read_head, wire::read_chunks};

/// Reads one request's head off a connection to the app.
pub async fn app_head(stream: &mut TcpStream) -> Option<String> {
    read_head(stream).await
}

/// Answers every request of a connection with its own head and body, in order.
pub async fn echo(mut stream: TcpStream) {
    while let Some(head) = read_head(&mut stream).await {
        let lower = head.to_ascii_lowercase();
        let field = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let mut body = Vec::new();
        if field("transfer-encoding:").is_some() {
            let mut reply = Reply {
                status: 0,
                headers: HashMap::new(),
                body: vec![],
                whole: false,
                trailers: String::new(),
            };
            read_chunks(&mut stream, &mut reply).await;
            if !reply.whole {
                return;
            }
            body = reply.body;
            body.extend(reply.trailers.bytes());
        } else if let Some(length) = field("content-length:") {
            body = vec![0; length.parse().unwrap()];
            if stream.read_exact(&mut body).await.is_err() {
                return;
            }
        }
        let text = [head.as_bytes(), &body].concat();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-app: yes\r\n\r\n",
            text.len()
        );
        let text = if head.starts_with("HEAD ") { Vec::new() } else { text };
        if stream.write_all(&[answer.as_bytes(), &text].concat()).await.is_err() {
            return;
        }
    }
}

/// Takes one request (head only) and writes these bytes, then closes.
pub fn says(bytes: &'static [u8]) -> impl Fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync {
    move |mut stream| {
        Box::pin(async move {
            if read_head(&mut stream).await.is_some() {
                let _ = stream.write_all(bytes).await;
                let _ = stream.shutdown().await;
            }
        })
    }
}
