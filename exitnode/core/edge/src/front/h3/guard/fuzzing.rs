//! The sieve as a function that panics if a promise is broken; see crate::fuzzing.

use bytes::Bytes;

use super::sieve::{Refusal, Sieve};

const MOST: u64 = 1024;

/// Bytes of a stream: the first chooses its kind, the next four how the rest is cut. However it is cut, the same passes, and
/// no more is kept than one frame's bound and its header.
pub fn h3_sieve(data: &[u8]) {
    let (head, data) = data.split_at(data.len().min(5));
    let [kind, cuts @ ..] = head else { return };
    let run = |cuts: &[u8]| -> Result<Vec<u8>, Refusal> {
        let mut sieve = if kind % 2 == 0 {
            Sieve::request(MOST)
        } else {
            Sieve::control(MOST)
        };
        let (mut passed, mut rest, mut sizes) = (Vec::new(), data, cuts.iter().cycle());
        while !rest.is_empty() {
            let size = sizes.next().map_or(rest.len(), |cut| usize::from(*cut).max(1));
            let (piece, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            sieve.feed(Bytes::copy_from_slice(piece))?;
            assert!(
                sieve.kept_bytes() as u64 <= MOST + 16,
                "{} bytes are kept",
                sieve.kept_bytes()
            );
            while let Some(part) = sieve.next() {
                passed.extend_from_slice(&part);
            }
        }
        let end = sieve.end();
        passed.push(u8::from(end.is_ok()));
        Ok(passed)
    };
    let whole = run(&[]);
    assert_eq!(whole, run(cuts));
    // Two field sections get a length of four bytes, whatever theirs was; the last byte is ours, and so is the type of the control stream.
    assert!(whole.is_err() || whole.is_ok_and(|passed| passed.len() <= data.len() + 8));
}
