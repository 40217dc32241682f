use super::*;
use proptest::prelude::*;

type Small = Decoder<2, 64>;

/// All messages of a stream that arrives in these pieces, and whether it ended in an error.
fn decode<const HEAD: usize, const MAX: usize>(pieces: &[&[u8]]) -> (Vec<Bytes>, Option<LengthError>) {
    let (mut decoder, mut messages) = (Decoder::<HEAD, MAX>::default(), Vec::new());
    for piece in pieces {
        let mut input: &[u8] = piece;
        loop {
            match decoder.next(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(decoder.held.len() <= HEAD + MAX, "never holds more than one message");
    }
    (messages, None)
}

fn stream_of(messages: &[Vec<u8>]) -> BytesMut {
    let mut out = BytesMut::new();
    for message in messages {
        put::<2>(message, 64, &mut out).unwrap();
    }
    out
}

/// Cuts `bytes` at the given places.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter()
        .map(|end| &bytes[std::mem::replace(&mut start, end)..end])
        .collect()
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_messages(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=64), 0..8),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes = stream_of(&messages);
        let (found, error) = decode::<2, 64>(&cut(&bytes, &places));
        prop_assert_eq!(error, None);
        prop_assert_eq!(found, messages);
    }

    #[test]
    fn any_bytes_give_messages_or_an_error_and_any_split_gives_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        prop_assert_eq!(decode::<1, 64>(&[&bytes]), decode::<1, 64>(&cut(&bytes, &places)));
    }
}

#[test]
fn a_claimed_length_reserves_nothing_before_the_bytes_arrive() {
    let mut decoder = Decoder::<4, 65_536>::default();
    assert_eq!(decoder.next(&mut &[0, 1, 0, 0][..]), Ok(None));
    assert!(decoder.held.capacity() < 128, "held {}", decoder.held.capacity());
}

#[test]
fn the_longest_message_passes_and_one_byte_more_does_not() {
    let mut out = BytesMut::new();
    put::<2>(&[7; 64], 64, &mut out).unwrap();
    assert_eq!(
        Small::default().next(&mut &out[..]),
        Ok(Some(Bytes::from_static(&[7; 64])))
    );
    assert_eq!(
        put::<2>(&[7; 65], 64, &mut out),
        Err(LengthError::TooLong { claimed: 65, max: 64 })
    );
    assert_eq!(
        Small::default().next(&mut &[0, 65][..]),
        Err(LengthError::TooLong { claimed: 65, max: 64 })
    );
}

#[test]
fn an_empty_message_is_refused_by_both_sides() {
    assert_eq!(put::<2>(&[], 64, &mut BytesMut::new()), Err(LengthError::Empty));
    assert_eq!(Small::default().next(&mut &[0, 0][..]), Err(LengthError::Empty));
}

#[test]
fn bytes_after_a_message_stay_in_the_input() {
    let mut input: &[u8] = &[0, 1, 9, 5, 5];
    assert_eq!(Small::default().next(&mut input), Ok(Some(Bytes::from_static(&[9]))));
    assert_eq!(input, &[5, 5]);
}

#[test]
fn a_stream_may_end_only_between_messages() {
    let mut decoder = Small::default();
    assert!(decoder.is_idle());
    decoder.next(&mut &[0][..]).unwrap();
    assert!(!decoder.is_idle());
    decoder.next(&mut &[1, 9][..]).unwrap();
    assert!(decoder.is_idle());
}
