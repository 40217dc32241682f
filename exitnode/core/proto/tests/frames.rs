//! Every kind of control frame, with any content, over a control stream that is cut anywhere; and what damage makes of it.
#![allow(clippy::unwrap_used, reason = "tests panic")]

use bytes::{Bytes, BytesMut};
use hawse_proto::frame::{self, FrameDecoder, FrameError};
use hawse_proto::frames::{
    Drain, EnrolChallenge, EnrolHello, EnrolRequest, EnrolResponse, Frame, Hello, Offer, OfferedTunnel, Refused,
    Register, Registered, RenewRequest, RenewResponse, Welcome, frame::Frame as Kind,
};
use hawse_proto::limits::FRAME_MAX_BYTES;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

fn text() -> impl Strategy<Value = String> {
    ".{0,40}"
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..80)
}

fn refused() -> impl Strategy<Value = Refused> {
    (text(), text(), any::<bool>(), any::<u64>()).prop_map(|(code, message, r#final, epoch)| Refused {
        code,
        message,
        r#final,
        epoch,
    })
}

fn session() -> impl Strategy<Value = Kind> {
    let tunnel = (text(), text(), text(), text(), text(), text()).prop_map(
        |(uid, namespace, name, hostname, url, app_protocol)| OfferedTunnel {
            uid,
            namespace,
            name,
            hostname,
            url,
            app_protocol,
        },
    );
    prop_oneof![
        (any::<u32>(), any::<u32>(), text(), text(), text(), any::<u64>()).prop_map(
            |(min_version, max_version, agent_version, hostname, slot, epoch)| Kind::Hello(Hello {
                min_version,
                max_version,
                agent_version,
                hostname,
                slot,
                epoch,
            })
        ),
        (any::<u32>(), text(), text(), text(), text()).prop_map(|(version, node_version, exit_node, region, pod)| {
            Kind::Welcome(Welcome {
                version,
                node_version,
                exit_node,
                region,
                pod,
            })
        }),
        refused().prop_map(Kind::Refused),
        (vec(tunnel, 0..8), vec(text(), 0..4), vec(any::<u32>(), 0..4)).prop_map(|(tunnels, addresses, tcp_ports)| {
            Kind::Offer(Offer {
                tunnels,
                addresses,
                tcp_ports,
            })
        }),
        vec(text(), 0..8).prop_map(|tunnel_uids| Kind::Register(Register { tunnel_uids })),
        vec(text(), 0..8).prop_map(|tunnel_uids| Kind::Registered(Registered { tunnel_uids })),
        (any::<u32>(), text()).prop_map(|(deadline_ms, reason)| Kind::Drain(Drain { deadline_ms, reason })),
    ]
}

fn certificates() -> impl Strategy<Value = Kind> {
    let issued = || {
        let ports = vec(any::<u32>(), 0..4);
        (
            vec(blob(), 0..3),
            vec(blob(), 0..3),
            vec(text(), 0..4),
            ports,
            proptest::option::of(refused()),
        )
    };
    prop_oneof![
        (blob(), blob()).prop_map(|(csr, proof)| Kind::Renew(RenewRequest { csr, proof })),
        issued().prop_map(
            |(chain, roots, addresses, tcp_ports, refused)| Kind::Renewed(RenewResponse {
                chain,
                roots,
                refused,
                addresses,
                tcp_ports,
            })
        ),
        (any::<u32>(), any::<u32>(), text()).prop_map(|(min_version, max_version, agent_version)| {
            Kind::EnrolHello(EnrolHello {
                min_version,
                max_version,
                agent_version,
            })
        }),
        (blob(), text(), any::<i64>()).prop_map(|(nonce, node_version, now)| Kind::EnrolChallenge(EnrolChallenge {
            nonce,
            node_version,
            now,
        })),
        (text(), blob(), blob(), text(), text(), text()).prop_map(
            |(token_id, csr, proof, agent_id, hostname, agent_version)| Kind::Enrol(EnrolRequest {
                token_id,
                csr,
                proof,
                agent_id,
                hostname,
                agent_version,
            })
        ),
        (issued(), text(), text(), text()).prop_map(
            |((chain, roots, addresses, tcp_ports, refused), domain, namespace, token_name)| {
                Kind::Enrolled(EnrolResponse {
                    chain,
                    roots,
                    domain,
                    addresses,
                    namespace,
                    token_name,
                    refused,
                    tcp_ports,
                })
            }
        ),
    ]
}

fn any_frame() -> impl Strategy<Value = Frame> {
    prop_oneof![session(), certificates()].prop_map(|kind| Frame { frame: Some(kind) })
}

/// All frames of a stream in these pieces, up to the first error.
fn received(bytes: &[u8], at: usize) -> (Vec<Bytes>, Option<FrameError>) {
    let (mut decoder, mut found) = (FrameDecoder::default(), Vec::new());
    for piece in [&bytes[..at], &bytes[at..]] {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            match frame::next(&mut decoder, &mut input) {
                Ok(Some(one)) => found.push(one),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fn stream_of(frames: &[Frame]) -> BytesMut {
    let mut out = BytesMut::new();
    for one in frames {
        frame::put(&one.encode_to_vec(), &mut out).unwrap();
    }
    out
}

proptest! {
    #[test]
    fn every_frame_arrives_as_it_was_sent_wherever_the_stream_is_cut(
        frames in vec(any_frame(), 1..5),
        at in any::<prop::sample::Index>(),
    ) {
        let bytes = stream_of(&frames);
        let (found, error) = received(&bytes, at.index(bytes.len() + 1));
        prop_assert_eq!(error, None);
        let decoded: Vec<Frame> = found.into_iter().map(|one| Frame::decode(one).unwrap()).collect();
        prop_assert_eq!(decoded, frames);
    }

    /// A bit that flips, or a stream that ends early: frames or an error, the same however it is cut, and none too long.
    #[test]
    fn a_damaged_stream_is_frames_or_an_error(
        frames in vec(any_frame(), 1..4),
        flips in vec((any::<prop::sample::Index>(), 0..8_u32), 1..6),
        (at, end) in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let mut bytes = stream_of(&frames);
        for (place, bit) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
        }
        let bytes = &bytes[..=end.index(bytes.len())];
        let whole = received(bytes, 0);
        prop_assert_eq!(&whole, &received(bytes, at.index(bytes.len() + 1)));
        for one in whole.0 {
            prop_assert!((1..=FRAME_MAX_BYTES).contains(&one.len()));
            prop_assert!(Frame::decode(one).is_ok());
        }
    }
}

/// What a frame of the greatest length can become: an Offer of nothing but empty tunnels, two bytes each.
#[test]
fn the_most_that_a_frame_can_become_in_memory_is_bounded() {
    const MOST: usize = 5 << 20;
    let count = (FRAME_MAX_BYTES - 4) / 2;
    let tunnels = vec![OfferedTunnel::default(); count];
    let offer = Frame {
        frame: Some(Kind::Offer(Offer {
            tunnels,
            ..Offer::default()
        })),
    };
    let bytes = stream_of(&[offer]);
    let (found, error) = received(&bytes, 0);
    assert_eq!(error, None);
    let Some(Kind::Offer(offer)) = Frame::decode(found[0].clone()).unwrap().frame else {
        panic!("not an offer");
    };
    assert_eq!(offer.tunnels.len(), count);
    assert!(size_of_val(&offer.tunnels[..]) < MOST);
}
