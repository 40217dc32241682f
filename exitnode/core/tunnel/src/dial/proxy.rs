//! CONNECT through an HTTP proxy (RFC 9110, section 9.3.6), for networks that let nothing else out.
//!
//! The credentials are the caller's; they go into one header and nowhere else, neither into a text nor into Debug.

use std::fmt;

use hawse_proto::core;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fault::DialFault;
use crate::limits::PROXY_ANSWER_BYTES;
use crate::socket;

pub(super) struct Proxy {
    address: String,
    authorization: String,
}

impl Proxy {
    pub(super) fn parse(proxy: core::Proxy) -> Result<Self, DialFault> {
        let core::Proxy { address, authorization } = proxy;
        if address.is_empty() {
            return Err(DialFault::Rejected("the proxy has no address".to_owned()));
        }
        if authorization.bytes().any(|byte| byte.is_ascii_control()) {
            let text = "the proxy's credentials have a control character".to_owned();
            return Err(DialFault::Rejected(text));
        }
        Ok(Self { address, authorization })
    }

    /// A connection to `target` ("203.0.113.7:443") through the proxy. Its time limit is the
    /// dial's. Cancel safe: the connection is dropped.
    pub(super) async fn connect(&self, target: &str) -> Result<TcpStream, DialFault> {
        let fault = |why: &dyn fmt::Display| self.fault(why);
        if target.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return Err(DialFault::Rejected(format!("{target:?} is not an address and port")));
        }
        let mut stream = TcpStream::connect(&self.address).await.map_err(|why| fault(&why))?;
        socket::tune(&stream);
        let request = self.request(target);
        stream.write_all(request.as_bytes()).await.map_err(|why| fault(&why))?;
        let head = read_head(&mut stream).await.map_err(|why| fault(&why))?;
        match status(&head) {
            Some(200..=299) => Ok(stream),
            Some(407) if self.authorization.is_empty() => Err(fault(&"it wants credentials, and there are none (407)")),
            Some(407) => Err(fault(&"it does not accept the credentials (407)")),
            Some(status) => Err(fault(&format_args!("it answered {status} to CONNECT {target}"))),
            None => Err(fault(&"what it answered is not HTTP")),
        }
    }

    fn request(&self, target: &str) -> String {
        let authorization = match self.authorization.as_str() {
            "" => String::new(),
            value => format!("Proxy-Authorization: {value}\r\n"),
        };
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n")
    }

    fn fault(&self, why: &dyn fmt::Display) -> DialFault {
        DialFault::Unreachable(format!("the proxy {self} gives no way out: {why}"))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The head of the answer. Nothing may follow it: TLS begins with us.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let mut chunk = [0; 1024];
        let size = stream.read(&mut chunk).await?;
        head.extend_from_slice(chunk.get(..size).unwrap_or_default());
        match head.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(end) if end + 4 == head.len() => return Ok(head),
            // A body, of an answer that is none of 2xx: only its status counts.
            Some(_) if !matches!(status(&head), Some(200..=299)) => return Ok(head),
            Some(_) => return Err(std::io::Error::other("it said more than its answer")),
            None if size == 0 => return Err(std::io::Error::other("it hung up")),
            None if head.len() > PROXY_ANSWER_BYTES => return Err(std::io::Error::other("its answer is too long")),
            None => {}
        }
    }
}

/// The number of "HTTP/1.1 200 Connection established".
fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let (version, rest) = line.split_once(' ')?;
    let digits = rest.get(..3)?;
    let whole = version.starts_with("HTTP/1.") && (rest.len() == 3 || rest.as_bytes().get(3) == Some(&b' '));
    whole.then(|| digits.parse().ok()).flatten()
}

/// Any bytes are an answer or an error, no more of them is kept than the bound, and a tunnel has no bytes before its own.
#[cfg(feature = "fuzzing")]
pub fn proxy_answer(data: &[u8]) {
    let mut input = data;
    let mut reading = Box::pin(read_head(&mut input));
    let outcome = reading
        .as_mut()
        .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    let std::task::Poll::Ready(outcome) = outcome else {
        return;
    };
    if let Ok(head) = outcome {
        assert!(head.len() <= PROXY_ANSWER_BYTES + 1024);
        assert!(!matches!(status(&head), Some(200..=299)) || head.ends_with(b"\r\n\r\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(authorization: &str) -> Proxy {
        let address = "proxy.example.test:3128".to_owned();
        let authorization = authorization.to_owned();
        Proxy::parse(core::Proxy { address, authorization }).unwrap()
    }

    #[test]
    fn the_request_names_the_target_twice_and_the_credentials_once() {
        let request = proxy("Basic cHc=").request("203.0.113.7:443");
        assert_eq!(
            request,
            "CONNECT 203.0.113.7:443 HTTP/1.1\r\nHost: 203.0.113.7:443\r\nProxy-Authorization: Basic cHc=\r\n\r\n"
        );
        assert!(!proxy("").request("203.0.113.7:443").contains("Authorization"));
    }

    #[test]
    fn credentials_are_not_shown_and_cannot_add_a_header() {
        assert_eq!(format!("{:?}", proxy("Basic cHc=")), "proxy.example.test:3128");
        let smuggled = core::Proxy {
            address: "p:1".to_owned(),
            authorization: "x\r\nEvil: 1".to_owned(),
        };
        assert!(matches!(Proxy::parse(smuggled), Err(DialFault::Rejected(_))));
    }

    #[test]
    fn only_a_status_line_of_http_1_has_a_status() {
        let table: [(&[u8], _); 6] = [
            (b"HTTP/1.1 200 Connection established\r\n\r\n", Some(200)),
            (b"HTTP/1.0 407\r\n\r\n", Some(407)),
            (b"HTTP/1.1 20", None),
            (b"HTTP/1.1 2000 x", None),
            (b"SSH-2.0-OpenSSH_9.2\r\n", None),
            (b"\xff\xff", None),
        ];
        for (head, expected) in table {
            assert_eq!(status(head), expected, "{head:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_bounded_and_nothing_may_follow_it() {
        let long = [b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'x'; PROXY_ANSWER_BYTES]].concat();
        let table: [(&[u8], &str); 4] = [
            (b"HTTP/1.1 200 OK\r\n\r\n", ""),
            (b"HTTP/1.1 200 OK\r\n\r\nhello", "it said more than its answer"),
            (b"HTTP/1.1 200", "it hung up"),
            (&long, "its answer is too long"),
        ];
        for (mut answer, error) in table {
            let text = read_head(&mut answer).await.err().map(|why| why.to_string());
            assert_eq!(text.unwrap_or_default(), error);
        }
        let refused = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nno!";
        assert_eq!(status(&read_head(&mut &refused[..]).await.unwrap()), Some(403));
    }
}
