//! Every bound of links: unit, value, source, and what happens past it. The wire's own are in `hawse_proto::limits`.

use std::time::Duration;

/// Receive window of one stream, bytes. As fast as 8 MiB and a third of the memory (measured, issue "First light").
/// Past it: the sender of that stream waits; other streams go on.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Streams that an exit node may have open on one link, a probe included. quinn keeps an entry for each permitted one: 90 bytes.
/// Past it: the exit node waits `OPEN_TIMEOUT` for a free one, then tries the tunnel's next link.
pub const STREAMS_PER_LINK: u32 = 1024;

/// Receive window of an exit node's side, bytes: not what holds a stream back, or a few visitors who stop reading would stop
/// everybody behind the same link. Twice what the edge lets stand unread (its `STALLED_READERS`): with more a burst of them
/// takes hundreds of MB of an exit node (1.45 bytes for each, measured) before the edge has noticed that they don't read.
pub const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * 192;

/// The same of an agent's side, which nothing relieves of uploads that its app doesn't read: room for all streams.
pub const AGENT_CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_PER_LINK;

/// The same of an exit node's side of a link that another one has dialled: requests, which apps may leave unread. Twice what
/// may stand still over all of these links (`STALLED_REQUESTS`). The side that dialled has `CONNECTION_WINDOW_BYTES`, since its
/// visitors are the edge's.
pub const PEER_CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * 384;

/// Bytes sent and not yet acknowledged on one connection: 100 ms at 640 Mbit/s. Past it: writers wait.
pub const SEND_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// The same of a link between exit nodes, which carries a region's visitors: 200 ms at 1.3 Gbit/s.
pub const PEER_SEND_WINDOW_BYTES: u64 = 32 * 1024 * 1024;

/// Streams that an exit node may have open on a link to another one, a probe included: as many as four agents' links have, for
/// 370 kB of entries. Past it: as `STREAMS_PER_LINK`.
pub const STREAMS_PER_PEER: u32 = 4096;

/// Over TCP, bytes of one stream that wait for the socket. Past it: the writer waits.
pub const STREAM_SEND_BUFFER_BYTES: usize = 128 * 1024;

/// Over TCP, bytes of one HTTP/2 frame: what a stream may send before the next one's turn.
pub const FRAME_BYTES: u32 = 64 * 1024;

/// Over TCP, bytes of a request's or answer's fields. Ours have none, but the last words of a connection (1 KiB).
pub const HEADER_LIST_BYTES: u32 = 4 * 1024;

/// Over TCP, bytes in the kernel that were not sent yet: what waits there can't be overtaken, and the socket takes more once
/// half of it is gone, which is a sign of life (`HEARD_BYTES`): every 2 s at 256 kbit/s. Past it: the socket takes no more.
pub const UNSENT_BYTES: u32 = 128 * 1024;

/// Over TCP, bytes that the socket has taken that count as a sign of life of the peer. More than a few probes are.
pub const HEARD_BYTES: u64 = 16 * 1024;

/// Over TCP, how long the kernel sends again what is not acknowledged. Links are left sooner (`PROBE_TIMEOUT`).
pub const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Bytes of a proxy's answer to CONNECT. Past it: the dial fails.
pub const PROXY_ANSWER_BYTES: usize = 8 * 1024;

/// Streams that an agent may open: the control stream. Past it: QUIC's own limit, the agent waits for ever.
pub const STREAMS_OF_AGENT: u32 = 1;

/// Kernel buffers of a UDP socket, bytes, as far as the kernel allows. Past it: packets are dropped and sent again.
pub const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Turns in which a QUIC connection has sent more than one datagram, until it hands them to the kernel in batches: its buffer for
/// them takes 12 kB, which idle links need not have. The handshake has two; any traffic has these within milliseconds.
pub const BURSTS_BEFORE_BATCHES: u32 = 8;

/// How often the dialing side says something on a link that hears nothing; also keeps NATs open. The exit node's probes come
/// sooner, so that only one without probes is asked. Below half of `SILENCE`, so that one of them may be lost.
pub const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// QUIC's own limit on silence, for connections that are not links yet; links are left sooner (`PROBE_TIMEOUT`, `SILENCE`).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Exit node: silence of either side after which a link is asked whether it lives: of the agent's, since it may be gone; of
/// our own, since it must not think that we are (who only sends gets nothing but TCP's acknowledgements). With `PROBE_TIMEOUT` and `LOOK` below 5 s.
pub const PROBE_AFTER: Duration = Duration::from_millis(1500);

/// Exit node: a link that was asked this long ago is taken for new streams only if there is no other.
pub const PROBE_SUSPECT: Duration = Duration::from_secs(1);

/// Exit node: silence after a question. Past it: the link is lost (`link_down` by "timeout").
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Exit node: the same for a link on which other things still arrive, so that the answer may wait behind them.
pub const PROBE_TIMEOUT_BUSY: Duration = Duration::from_secs(15);

/// Exit node: after it began to listen, a visitor whose tunnel has no link yet waits for one until then: agents of the process
/// before are on their way back. Past it: no agent is connected (HAWSE-1002).
pub const AGENTS_RETURN: Duration = Duration::from_secs(3);

/// Agent: silence, where an exit node asks after `PROBE_AFTER`. Past it: the link is lost (`link_down` by "timeout").
pub const SILENCE: Duration = Duration::from_millis(4500);

/// Exit node: between two answers to packets of connections that it does not know. Each is smaller than what asked for it. With
/// it all agents of one that was killed (`LINKS`) hear of its return within 10 s, most of them sooner; past it: `SILENCE`.
pub const RESET_INTERVAL: Duration = Duration::from_millis(1);

/// How often a link is looked at, and by how much more it must be late for us to have slept (a laptop's lid, a stopped
/// process): what arrived meanwhile has not been read yet, so that silence counts anew.
pub const LOOK: Duration = Duration::from_millis(250);
/// See `LOOK`.
pub const ASLEEP: Duration = Duration::from_secs(1);

/// From the first packet until the handshake is done, accepting side. Past it: dropped, counted.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// From the handshake until the agent's control stream. Past it: closed with HAWSE-2009.
pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for the dialing side, in all, unless `DialRequest.timeout_ms` says otherwise.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Life of a connection that enrols: four frames. Past it: closed with HAWSE-3008.
pub const ENROL_LIFETIME: Duration = Duration::from_secs(60);

/// Links at once on one endpoint. An agent has one per exit node: 8,192 agents. Past it: refused.
pub const LINKS: usize = 8192;

/// Links of other exit nodes at once, apart from agents', so that these can never take their places. Twice the peers that an
/// exit node has: each may be back before its old link is given up. Past it: closed with HAWSE-1010.
pub const PEERS: usize = 256;

/// Links at once from one IPv4 address or IPv6 /64: offices share an address. Past it: refused.
pub const LINKS_PER_ADDRESS: usize = 256;

/// Handshakes at once. Each may cost a signature and 20 kB. Past it: refused.
pub const HANDSHAKES: usize = 256;

/// Handshakes at once from which on an address must prove itself first (Retry, one round trip more).
pub const HANDSHAKES_BEFORE_RETRY: usize = 64;

/// Connections at once that enrol, apart from links, so that they can never take an agent's place. Past it: closed.
pub const ENROLMENTS: usize = 128;

/// Bytes that quinn keeps of one connection that is not accepted yet, and of all of them.
pub const INCOMING_BUFFER_BYTES: u64 = 64 * 1024;
/// See `INCOMING_BUFFER_BYTES`.
pub const INCOMING_BUFFERS_BYTES: u64 = 4 * 1024 * 1024;

/// Frames that wait to be sent on one link. Past it: the peer doesn't read, the link is closed with HAWSE-1010.
pub const FRAMES_TO_SEND: usize = 64;

/// Frames received on one link that Python has not taken yet. Past it: the control stream is not read, so that the
/// sender waits (QUIC's flow control).
pub const FRAMES_RECEIVED: usize = 8;

/// What close waits for the peer to have received the frames sent before.
pub const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// The same in round trips: enough for two losses of the last frame. `CLOSE_LEAST` at the least.
pub const CLOSE_ROUND_TRIPS: u32 = 8;
/// See `CLOSE_ROUND_TRIPS`.
pub const CLOSE_LEAST: Duration = Duration::from_millis(250);

/// For a new stream: permission of the peer, and its opening accepted by QUIC. Past it: the next link is tried.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Exit node: the same over another one as long as there is a further way: it answers within a round trip, and whoever does
/// not may be dead and not known for it yet. Past it: the next is asked, and that link whether it lives.
pub const PEER_TIMEOUT: Duration = Duration::from_secs(1);

/// Exit node: the same over all others that reach the tunnel's agents, one after the other. Past it: HAWSE-1013.
pub const OPEN_ELSEWHERE_TIMEOUT: Duration = Duration::from_secs(10);

/// Agent: from a new stream until its opening is read. Past it: reset with HAWSE-2009.
pub const OPENING_TIMEOUT: Duration = Duration::from_secs(5);

/// Agent: connecting to the app, name resolution included. Past it: reset with HAWSE-1004.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Exit node, passing another's streams on: bytes that are taken at once, and written before the next.
pub const RELAY_CHUNK_BYTES: usize = 64 * 1024;

/// How long such a write may take before the stream counts as standing still.
pub const RELAY_STALL: Duration = Duration::from_secs(1);

/// Answers to other exit nodes that stand still at once, over all of them, each with up to `STREAM_WINDOW_BYTES` unread. With the
/// visitors that the edge lets stand (96) less than the window of an agent's link (`CONNECTION_WINDOW_BYTES`), so that nobody else
/// has to wait. Past it, and while memory is short: the one that has stood longest is reset with HAWSE-1010.
pub const STALLED_ANSWERS: usize = 64;

/// The same of requests, which apps do not read: half of `PEER_CONNECTION_WINDOW_BYTES`.
pub const STALLED_REQUESTS: usize = 192;

/// Tunnels of one link. Past it: the rest is ignored (an Offer of that many doesn't fit into a frame anyway).
pub const TUNNELS_PER_LINK: usize = 4096;

/// Tunnels that one peer announces. Past it: the rest is ignored.
pub const PEER_TUNNELS: usize = 20_000;

/// Tunnels that all peers announce, each counted once a peer: about 250 bytes each. Past it: the rest is ignored.
pub const PEER_TUNNELS_IN_ALL: usize = 262_144;

/// Tunnels whose last agent is remembered after it went, for the error page. Past it: the oldest are forgotten.
pub const LAST_SEEN: usize = 16_384;

/// Copy buffer of one direction, bytes: grows with what arrives, and is not held while nothing does.
pub const BUFFER_MIN_BYTES: usize = 8 * 1024;
/// See `BUFFER_MIN_BYTES`.
pub const BUFFER_MAX_BYTES: usize = 256 * 1024;
