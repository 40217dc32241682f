//! Every bound of the edge: unit, default, where the number comes from, what happens past it.
//!
//! The table for people is docs/edge-limits.md (a test compares the two). `EdgeOptions` may change the first ten; the
//! constants are the same for every exit node. Read by the front ends, the layers and the upstream.

use std::time::Duration;

use hawse_proto::core::EdgeOptions;

/// Connections of visitors that wait in the kernel to be accepted. Past it the kernel drops SYNs and clients try again.
pub(crate) const BACKLOG: i32 = 4096;
/// Pause after a failed accept (out of file descriptors), so that the loop doesn't spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections past the caps of visitors whose ClientHello is read all the same: an agent among them is let in, since visitors
/// must not lock agents out. Past it they are closed unheard.
pub(crate) const UNHEARD: usize = 256;
/// The same from one address.
pub(crate) const UNHEARD_PER_ADDRESS: usize = 8;
/// Agents that wait for the tunnel server to take them over. Past it they are closed, and dial again.
pub(crate) const AGENT_HANDSHAKES: usize = 64;
/// Chunks and fields that hyper buffers of one HTTP/1.1 connection; past it reading stops until they are consumed.
pub(crate) const H1_BUFFER_BYTES: usize = 64 << 10;
/// Unread bytes of one HTTP/2 request; the visitor may not send more until the app reads. Envoy's edge page: 64 KiB; four
/// times that because an upload over 100 ms of latency would else stay below 5 Mbit/s.
pub(crate) const H2_STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Unread bytes of all requests of one HTTP/2 connection (Envoy's edge page: 1 MiB).
pub(crate) const H2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Largest HTTP/2 frame taken (RFC 9113's smallest permitted maximum); a longer one ends the connection.
pub(crate) const H2_FRAME_BYTES: u32 = 16 << 10;
/// Bytes of one answer that wait for the visitor's window; past it the app is not read.
pub(crate) const H2_SEND_BUFFER_BYTES: usize = 64 << 10;
/// Requests that were reset before the edge took them up; one more ends the connection (rapid reset, CVE-2023-44487).
pub(crate) const H2_PENDING_RESETS: usize = 20;
/// Streams that the edge itself had to reset (MadeYouReset, CVE-2025-8671); one more ends the connection.
pub(crate) const H2_LOCAL_RESETS: usize = 256;
/// PING by which a vanished visitor is noticed, and how long its answer may take; then the connection is closed.
pub(crate) const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// See [`H2_PING_INTERVAL`].
pub(crate) const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Frames that cost the edge work and carry nothing (PING, SETTINGS, PRIORITY, RST_STREAM, empty DATA, WINDOW_UPDATE, unknown):
/// this many at once, then [`H2_CONTROL_FRAMES_PER_SECOND`]; one more ends the connection. nghttp2's limit for resets.
pub(crate) const H2_CONTROL_FRAME_BURST: u32 = 1000;
/// See [`H2_CONTROL_FRAME_BURST`].
pub(crate) const H2_CONTROL_FRAMES_PER_SECOND: u32 = 50;
/// Bytes sent to a visitor for which it may send one WINDOW_UPDATE; without them it counts as a frame that carries nothing.
/// The smallest DATA frame has 10 bytes and some clients answer each with two (the stream's and the connection's).
pub(crate) const H2_BYTES_PER_WINDOW_UPDATE: u64 = 4;
/// Unread bytes of one HTTP/3 request, as [`H2_STREAM_WINDOW_BYTES`].
pub(crate) const H3_STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Unread bytes of all requests of one HTTP/3 connection, as [`H2_CONNECTION_WINDOW_BYTES`].
pub(crate) const H3_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of the answers of one HTTP/3 connection that were sent and not acknowledged; past it the apps are not read. 512 KiB
/// carry 40 Mbit/s over 100 ms. For TCP the kernel keeps them.
pub(crate) const H3_SEND_WINDOW_BYTES: u64 = 512 << 10;
/// HTTP/3 answers that were sent whole and of which visitors have not acknowledged all for [`READER_NOTICED`], at once; one more,
/// and the longest waiting is reset. Together they hold 128 MiB at most.
pub(crate) const H3_TAILS: usize = 256;
/// Bytes of heads and trailers of one HTTP/3 connection that are not whole; more end it. As many as its window.
pub(crate) const H3_KEPT_BYTES: usize = 1 << 20;
/// Bytes of one frame on an HTTP/3 control stream (SETTINGS has a few pairs of integers); a longer one ends the connection.
pub(crate) const H3_CONTROL_FRAME_BYTES: u64 = 4 << 10;
/// Unidirectional streams of one HTTP/3 connection at the same time: three are the protocol's, browsers try new types.
pub(crate) const H3_UNI_STREAMS: u32 = 8;
/// Resets, and frames or streams that carry nothing, on one HTTP/3 connection: this many at once, then
/// [`H3_WASTE_PER_SECOND`]; one more ends the connection (rapid reset). As [`H2_CONTROL_FRAME_BURST`].
pub(crate) const H3_WASTE_BURST: u32 = 1000;
/// See [`H3_WASTE_BURST`].
pub(crate) const H3_WASTE_PER_SECOND: u32 = 50;
/// What one answer that a visitor took whole earns back of them: clients may send reserved frames with each request, to keep
/// servers honest (RFC 9114, 7.2.8), and some do.
pub(crate) const H3_WASTE_EARNED: u32 = 2;
/// Streams of one HTTP/3 connection that brought no request (reset, malformed or late head); then it ends by GOAWAY. h3
/// remembers each for as long as the connection lives.
pub(crate) const H3_VAIN_STREAMS: u32 = 1000;
/// QUIC handshakes at the same time. One more is refused.
pub(crate) const H3_HANDSHAKES: usize = 1024;
/// From so many QUIC handshakes at the same time on, an address has to prove itself first (Retry, one more round trip):
/// forged addresses cost no more than this.
pub(crate) const H3_RETRY_ABOVE: usize = 64;
/// Bytes kept of a QUIC connection that was not let in yet. quinn's default is 10 MiB.
pub(crate) const H3_INCOMING_BYTES: u64 = 64 << 10;
/// The same for all of them together. quinn's default is 100 MiB.
pub(crate) const H3_INCOMING_TOTAL_BYTES: u64 = 16 << 20;
/// Bytes of a handshake that arrive out of order; a client's part of it has a few hundred, with post-quantum keys 2,000.
pub(crate) const H3_CRYPTO_BYTES: usize = 16 << 10;
/// Send and receive buffer of the UDP socket; the kernel may grant less.
pub(crate) const H3_SOCKET_BYTES: usize = 2 << 20;
/// PING by which a QUIC connection is kept open while an app takes its time; browsers close silent ones after 30 s.
pub(crate) const H3_PING_INTERVAL: Duration = Duration::from_secs(15);
/// Milliseconds without a packet after which a QUIC connection counts as lost.
pub(crate) const H3_SILENCE_MS: u32 = 30_000;
/// When a listener drains: from the end of an HTTP/2 connection's last request until it is closed, though its visitor has not
/// taken notice of GOAWAY. Clients that read only while they ask never do, and would hold the drain up to its deadline.
pub(crate) const H2_GOODBYE: Duration = Duration::from_secs(1);
/// From GOAWAY until an HTTP/3 connection without a request is closed: late requests are refused and sent elsewhere.
pub(crate) const H3_GOODBYE: Duration = Duration::from_millis(500);
/// For how long a client may remember that HTTP/3 is served (Alt-Svc).
pub(crate) const ALT_SVC_AGE: Duration = Duration::from_secs(86_400);
/// A connection without a request for this long is closed (HTTP/2 and 3; an HTTP/1.1 one ends with `header_timeout`).
pub(crate) const CONNECTION_IDLE: Duration = Duration::from_secs(300);
/// An answer of which the visitor takes nothing for this long is cut off; so is one of which it takes less than
/// [`READER_MIN_RATE`] until the waiting adds up to this. Waiting for the app does not count.
pub(crate) const READER_STALL: Duration = Duration::from_secs(60);
/// Bytes a second of an answer that a visitor has to take in the long run. A tenth of the slowest mobile network.
pub(crate) const READER_MIN_RATE: u64 = 500;
/// Answers that wait for visitors who take nothing, at once; one more, and the longest waiting is cut off. Each holds about
/// 1.5 MB (measured), and half of a link's receive window (hawse-tunnel) stays for visitors who read.
pub(crate) const STALLED_READERS: usize = 96;
/// Requests whose bodies apps don't read, at once; one more, and the longest waiting is given up. Each holds about 0.5 MB.
/// Patience with one is that with a visitor: [`READER_STALL`] and [`READER_MIN_RATE`]. 504, HAWSE-1004.
pub(crate) const STALLED_UPLOADS: usize = 256;
/// Bytes of one method's secrets of an access policy (a Secret of Kubernetes has at most as many).
pub(crate) const ACCESS_MATERIAL_BYTES: usize = 1 << 20;
/// Users, or API keys, of one access policy.
pub(crate) const ACCESS_ENTRIES: usize = 10_000;
/// Bytes of a token; a longer one is none. Entra's with many groups have 4 KiB.
pub(crate) const ACCESS_TOKEN_BYTES: usize = 16 << 10;
/// Public keys of one token issuer; more are passed over.
pub(crate) const ACCESS_ISSUER_KEYS: usize = 64;
/// By how much the clocks of token issuers may differ from the exit node's.
pub(crate) const ACCESS_CLOCK_SKEW: Duration = Duration::from_secs(30);
/// Verified credentials that are remembered; past it the next is verified with each request.
pub(crate) const ACCESS_VERIFIED: usize = 4096;
/// For how long; so long a password is good that is no more.
pub(crate) const ACCESS_VERIFIED_FOR: Duration = Duration::from_secs(60);
/// Wrong passwords that one address may send at once; then one more for each [`ACCESS_FAILURE_FORGOTTEN`]. 401 meanwhile.
pub(crate) const ACCESS_FAILURES: u32 = 10;
/// See [`ACCESS_FAILURES`].
pub(crate) const ACCESS_FAILURE_FORGOTTEN: Duration = Duration::from_secs(6);
/// Addresses of which wrong passwords are counted; past it the one with the fewest is forgotten.
pub(crate) const ACCESS_ADDRESSES: usize = 4096;
/// Passwords that are verified at the same time, each on a thread beside the data plane's: 50 ms of a core each.
pub(crate) const BCRYPT_AT_ONCE: usize = 2;
/// Passwords that wait for that or run; one more is answered 503, HAWSE-1010. With 50 ms each the last waits 1.6 s.
pub(crate) const BCRYPT_WAITING: usize = 64;
/// Least cost of a bcrypt hash that is taken: bcrypt's own bound.
pub(crate) const BCRYPT_MIN_COST: u32 = 4;
/// Highest: a second and more of a core; above it one visitor would keep all others waiting.
pub(crate) const BCRYPT_MAX_COST: u32 = 14;
/// How often the memory of the process is read, where it has a bound.
pub(crate) const MEMORY_LOOK: Duration = Duration::from_millis(250);
/// Percent of the bound from which on new requests are refused (503, HAWSE-1010) and, at each look, a quarter of the answers
/// and uploads that stand still is cut off.
pub(crate) const MEMORY_HIGH_PERCENT: u64 = 85;
/// Percent of the bound below which they are taken again.
pub(crate) const MEMORY_LOW_PERCENT: u64 = 80;
/// Percent of the bound from which on new connections of visitors are closed before their handshake.
pub(crate) const MEMORY_FULL_PERCENT: u64 = 95;
/// Retry-After of requests that were refused for it.
pub(crate) const MEMORY_RETRY: Duration = Duration::from_secs(5);
/// A visitor or an app that takes nothing for this long counts among them.
pub(crate) const READER_NOTICED: Duration = Duration::from_secs(1);
/// Bytes that the kernel takes of one visitor's connection before it can send them. Without it a stopped reader holds up to
/// 4 MiB of the kernel's memory, which counts as the pod's. 128 KiB costs a tenth of CPU in bulk, this nothing (measured).
pub(crate) const UNSENT_BYTES: u32 = 512 << 10;
/// A visitor that said it will send no more (TLS close_notify) still gets an answer that begins within this time. Longer
/// would keep requests of visitors that left alive at the app.
pub(crate) const HALF_CLOSE_GRACE: Duration = Duration::from_secs(3);
/// A request's body has to arrive at this rate (bytes a second) once [`BODY_GRACE`] is over; waiting for the app does
/// not count. Otherwise: 408, HAWSE-1009. Slow-body attacks hold a stream of the laptop for ten bytes a minute.
pub(crate) const BODY_MIN_RATE: u64 = 500;
/// Time of waiting for the visitor's body that is always allowed.
pub(crate) const BODY_GRACE: Duration = Duration::from_secs(10);
/// Requests of one tunnel at the app at the same time, WebSockets included; `spec.traffic.maxConcurrent` may set less. One
/// more waits. A link carries 1024 streams (hawse-tunnel), of which the pool may hold some: past them a request would wait
/// for `DIAL_TIMEOUT` and fail.
pub(crate) const TUNNEL_REQUESTS: usize = 960;
/// Requests of one tunnel that wait for such a place; one more: 503, HAWSE-1010. At most 32 MiB of heads.
pub(crate) const TUNNEL_QUEUE: usize = 1024;
/// Those of one address (IPv6: one /64), so that it leaves places to wait for others. Two browsers' worth of HTTP/2 streams.
pub(crate) const TUNNEL_QUEUE_PER_ADDRESS: usize = 256;
/// Waiting longer than this: 503, HAWSE-1010. A person has left by then.
pub(crate) const TUNNEL_QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// Retry-After of those answers.
pub(crate) const TUNNEL_QUEUE_RETRY: Duration = Duration::from_secs(5);
/// Until a stream to the agent is open. Past it: 502, HAWSE-1013.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Retry-After of visitors whose exit node has been without its operator for too long: people have to act first.
pub(crate) const STALE_RETRY: Duration = Duration::from_secs(60);
/// Until a URL's or a Service's address answers, and again for its TLS handshake; then its next address is tried.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// An answer of the resolver serves for this long, then the name of a target is looked up again.
pub(crate) const RESOLVED_FOR: Duration = Duration::from_secs(5);
/// The last answer serves for this long while the resolver gives none: a resolver that is away takes no target along.
pub(crate) const RESOLVED_AT_MOST: Duration = Duration::from_secs(300);
/// For one look-up.
pub(crate) const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Look-ups at once; more wait. Each blocks a thread, also after nobody waits for it.
pub(crate) const RESOLVING: usize = 16;
/// Addresses kept of one name.
pub(crate) const RESOLVED_ADDRESSES: usize = 8;
/// Between two health checks of a tunnel's target, if its standby says nothing else; a tenth more or less.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// The least: a check costs as much as a request.
pub(crate) const CHECK_INTERVAL_LEAST: Duration = Duration::from_millis(100);
/// For the answer to a health check, if the standby says nothing else.
pub(crate) const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes that are read of the answer to a health check; what has more is cut off.
pub(crate) const CHECK_BODY_BYTES: usize = 64 << 10;
/// Health checks at once; more wait.
pub(crate) const CHECKS: usize = 64;
/// Bytes kept of a request's body until an answer begins, so that it can go to the standby. A longer one is sent once.
pub(crate) const REPLAY_BYTES: usize = 64 << 10;
/// The same of all requests of a listener. Past it bodies are sent once.
pub(crate) const REPLAY_TOTAL_BYTES: usize = 32 << 20;
/// An answer that says to be no longer is passed on once it is whole, if its request could go to the standby: one that breaks
/// off is asked for again. A longer one is passed on as it comes.
pub(crate) const WHOLE_ANSWER_BYTES: u64 = 16 << 10;
/// Until a pooled connection says that it can take a request; past it another is opened.
pub(crate) const POOL_READY_TIMEOUT: Duration = Duration::from_secs(1);
/// Idle connections to the app kept for one tunnel; more are closed after their answer. With fewer than the requests at once
/// each answer closes one and the next request opens one: three times the CPU (measured with 32 for 256 visitors).
pub(crate) const POOL_IDLE_PER_TUNNEL: usize = 256;
/// An idle connection to the app is closed after this time.
pub(crate) const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// For an idle connection to the app to be closed in order (both sides said that they end); then it is reset.
pub(crate) const POOL_GOODBYE: Duration = Duration::from_secs(2);
/// A request that could not be sent again takes a pooled connection only if it was idle for less. Common apps close idle
/// connections after 2 to 5 s (gunicorn 2, uvicorn and Node 5), and a request that meets the close is lost.
pub(crate) const POOL_FRESH: Duration = Duration::from_secs(1);
/// How often idle connections to apps are looked through. Those over a link that its agent has left keep it from ending.
pub(crate) const POOL_SWEEP: Duration = Duration::from_secs(1);
/// Fields in the head of an app's answer. More: 502, HAWSE-1014.
pub(crate) const APP_HEADERS: usize = 100;
/// Bytes of the head of an app's answer, and what is read ahead of a body. More of a head: 502, HAWSE-1014.
pub(crate) const APP_BUFFER_BYTES: usize = 64 << 10;
/// Head of an app's answer over HTTP/2 (app protocol H2C). More: 502, HAWSE-1014.
pub(crate) const APP_HEAD_LIST_BYTES: u32 = 64 << 10;
/// Unread bytes of one answer over a tunnel's HTTP/2 connection (app protocol H2C).
pub(crate) const H2C_STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Unread bytes of all answers of a tunnel's HTTP/2 connection. Wide, so that readers who stall don't stop the others:
/// twice what [`STALLED_READERS`] may hold, and no wider, so that a burst of them takes no more.
pub(crate) const H2C_CONNECTION_WINDOW_BYTES: u32 = 192 << 20;
/// One direction of a WebSocket is read in pieces of this size.
pub(crate) const SPLICE_BUFFER_BYTES: usize = 8 << 10;
/// Ports of TCP tunnels on one exit node. One more is refused: that tunnel is not programmed.
pub(crate) const TCP_PORTS: usize = 1000;
/// What a TCP tunnel's connection is read in, and the most that is kept of one direction while its other side takes nothing.
pub(crate) const TCP_BUFFER_BYTES: usize = 32 << 10;
/// Bytes kept of what a visitor of a TCP tunnel with a standby says before the app does: for the standby, if it turns out that
/// the app was never reached. With more, the connection is reset then.
pub(crate) const TCP_TAPE_BYTES: usize = 16 << 10;
/// Silence after which the kernel asks whether a TCP tunnel's visitor is still there: long before `idle_timeout`, and within
/// what common firewalls remember of a connection.
pub(crate) const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// Between two such questions. The kernel gives up after nine without an answer.
pub(crate) const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// When an exit node drains, a visitor that has just connected may still end its handshake for this long, and then, over
/// HTTP/1.1, send its first request for as long.
pub(crate) const DRAIN_FIRST_REQUEST: Duration = Duration::from_secs(1);
/// Bytes of all answers that the shield stores, of all tunnels; past it the least used go. Less on a small node: an eighth of its
/// memory.
pub(crate) const SHIELD_BYTES: usize = 64 << 20;
/// Of one such answer. A longer one is shared by those who ask while it comes, and is not stored.
pub(crate) const SHIELD_ANSWER_BYTES: usize = 4 << 20;
/// Bytes of all shared answers that are on their way to visitors. Past it each keeps no more than its readers wait for.
pub(crate) const SHIELD_FLIGHTS_BYTES: usize = 64 << 20;
/// Bytes of a shared answer of which some readers have more than others, once it is not to be stored.
pub(crate) const SHIELD_WINDOW_BYTES: usize = 1 << 20;
/// A reader of a shared answer for whom the others have waited this long is cut off.
pub(crate) const SHIELD_LAGGARD: Duration = Duration::from_secs(2);
/// For an answer that nobody waits for any more to be whole, so that it can be stored.
pub(crate) const SHIELD_UNREAD: Duration = Duration::from_secs(30);
/// What could not be shared is not waited for again for this long; then one request looks again, alone.
pub(crate) const SHIELD_UNSHARED: Duration = Duration::from_secs(5);
/// Pages of which that is known.
pub(crate) const SHIELD_UNSHARED_PAGES: usize = 16_384;
/// Fields that Vary may name of one page; with more it is not shared.
pub(crate) const SHIELD_VARY_FIELDS: usize = 8;
/// For how long an answer counts as fresh at most, whatever the app says.
pub(crate) const SHIELD_FRESH: Duration = Duration::from_secs(86_400);
/// For how long it may be given out stale at most: a laptop's weekend, and more.
pub(crate) const SHIELD_STALE: Duration = Duration::from_secs(604_800);
/// Pieces in which a stored answer is sent; a visitor is waited for with each.
pub(crate) const SHIELD_PIECE_BYTES: usize = 64 << 10;
/// Requests to the identity service at the same time: sign-ins and renewals. One more: 503, HAWSE-1010.
pub(crate) const IDENTITY_CALLS: usize = 256;
/// For an answer of the identity service, which asks the provider. Then 503, HAWSE-1020.
pub(crate) const IDENTITY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a body that is passed to the identity service: a logout token in a form. More: 400.
pub(crate) const IDENTITY_REQUEST_BYTES: usize = 64 << 10;
/// Bytes of an answer of the identity service. More: 503, HAWSE-1020.
pub(crate) const IDENTITY_ANSWER_BYTES: usize = 512 << 10;
/// Sign-ins that are over before their cookies are. Past it the oldest are forgotten.
pub(crate) const ENDED_SIGN_INS: usize = 10_000;
/// Most bytes of one error page after its slots were filled.
pub(crate) const PAGE_BYTES: usize = 256 << 10;

/// The bounds that `EdgeOptions` may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Connections of visitors in total. One more is closed before its handshake.
    pub(crate) connections: usize,
    /// Connections of one address (IPv6: one /64). One more is closed before its handshake. Wide: an office or a mobile
    /// network has one address.
    pub(crate) connections_per_address: usize,
    /// HTTP/2 or 3 requests of one connection at the same time (Envoy's edge page: 100). More are refused by RST_STREAM on
    /// HTTP/2; on HTTP/3 the visitor has to wait.
    pub(crate) streams: u32,
    /// Bytes of a request's head. More: 431.
    pub(crate) header_bytes: usize,
    /// Fields of a request's head. More: 431.
    pub(crate) headers: usize,
    /// For a request's head to arrive, and for the next request on an HTTP/1.1 connection to begin. Then closed.
    pub(crate) header_timeout: Duration,
    /// For the TLS handshake. Then closed.
    pub(crate) handshake_timeout: Duration,
    /// From the whole request sent until the head of the answer, if the tunnel has no own. Then 504, HAWSE-1004.
    pub(crate) request_timeout: Duration,
    /// Without a byte in either direction, if the tunnel has no own. Then the transfer is cut off.
    pub(crate) idle_timeout: Duration,
    /// Bytes that the whole process may have; 0: no bound. See [`MEMORY_HIGH_PERCENT`]. The supervisor says the pod's limit.
    pub(crate) memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_address: 1024,
            streams: 100,
            header_bytes: 32 << 10,
            headers: 100,
            header_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(3600),
            memory_bytes: 0,
        }
    }
}

impl Limits {
    /// What the options say, and the default where they say 0.
    pub(crate) fn of(options: &EdgeOptions) -> Self {
        let or = |value: u32, default: usize| if value == 0 { default } else { value as usize };
        let ms = |value: u32, default: Duration| {
            if value == 0 {
                default
            } else {
                Duration::from_millis(value.into())
            }
        };
        let d = Self::default();
        Self {
            connections: or(options.max_connections, d.connections),
            connections_per_address: or(options.max_connections_per_address, d.connections_per_address),
            streams: if options.max_concurrent_streams == 0 {
                d.streams
            } else {
                options.max_concurrent_streams
            },
            header_bytes: or(options.max_header_bytes, d.header_bytes),
            headers: or(options.max_headers, d.headers),
            header_timeout: ms(options.header_timeout_ms, d.header_timeout),
            handshake_timeout: ms(options.handshake_timeout_ms, d.handshake_timeout),
            request_timeout: ms(options.request_timeout_ms, d.request_timeout),
            idle_timeout: ms(options.idle_timeout_ms, d.idle_timeout),
            memory_bytes: options.max_memory_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_means_the_default_and_anything_else_is_taken() {
        assert_eq!(Limits::of(&EdgeOptions::default()), Limits::default());
        let options = EdgeOptions {
            max_connections: 7,
            header_timeout_ms: 1500,
            ..EdgeOptions::default()
        };
        let limits = Limits::of(&options);
        assert_eq!(
            (limits.connections, limits.header_timeout),
            (7, Duration::from_millis(1500))
        );
        assert_eq!(limits.headers, 100);
    }

    /// Name and value of a row of the table for people; durations in ms.
    fn rows(table: &str) -> Vec<(String, u128)> {
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let row = |line: &str| {
            let cells = cells(line);
            let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?.to_owned();
            Some((name, cells.get(2)?.parse().unwrap()))
        };
        table.lines().filter_map(row).collect()
    }

    #[test]
    fn the_page_for_people_says_the_same() {
        let page = rows(include_str!("../../../../docs/edge-limits.md"));
        let source = include_str!("limits.rs");
        let d = Limits::default();
        let mut expected = vec![
            ("max_connections".to_owned(), d.connections as u128),
            ("max_connections_per_address".into(), d.connections_per_address as u128),
            ("max_concurrent_streams".into(), d.streams.into()),
            ("max_header_bytes".into(), d.header_bytes as u128),
            ("max_headers".into(), d.headers as u128),
            ("header_timeout_ms".into(), d.header_timeout.as_millis()),
            ("handshake_timeout_ms".into(), d.handshake_timeout.as_millis()),
            ("request_timeout_ms".into(), d.request_timeout.as_millis()),
            ("idle_timeout_ms".into(), d.idle_timeout.as_millis()),
            ("max_memory_bytes".into(), d.memory_bytes.into()),
        ];
        expected.extend(source.lines().filter_map(constant));
        let mut page: Vec<_> = page.into_iter().collect();
        page.sort();
        expected.sort();
        assert_eq!(page, expected);
    }

    /// A line `pub(crate) const NAME: Type = VALUE;` of this file.
    fn constant(line: &str) -> Option<(String, u128)> {
        let (name, rest) = line.strip_prefix("pub(crate) const ")?.split_once(':')?;
        let (_, value) = rest.split_once('=')?;
        let value = value.trim().trim_end_matches(';').replace('_', "");
        let inside = |from: &str| value.strip_prefix(from)?.strip_suffix(')')?.parse::<u128>().ok();
        let number = inside("Duration::fromsecs(")
            .map(|seconds| seconds * 1000)
            .or_else(|| inside("Duration::frommillis("))
            .or_else(|| value.parse().ok())
            .or_else(|| {
                let (number, shift) = value.split_once("<<")?;
                Some(number.trim().parse::<u128>().ok()? << shift.trim().parse::<u32>().ok()?)
            });
        Some((name.to_owned(), number.unwrap()))
    }
}
