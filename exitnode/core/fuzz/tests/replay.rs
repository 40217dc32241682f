//! The fuzz targets on stable: every committed seed, and thousands of inputs made from them, in seconds.
//!
//! The generator is seeded by the target's name, so that a failure comes again.
#![allow(clippy::unwrap_used, reason = "a test panics")]

use std::{fs, path::Path};

use hawse_fuzz::TARGETS;

const INPUTS: usize = 20_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ (x >> 31)) >> 1).unwrap() % bound.max(1)
    }

    /// A seed with some bytes changed, left out, doubled or put in, or bytes alone.
    fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..self.below(6) {
            let (at, byte) = (self.below(bytes.len() + 1), u8::try_from(self.below(256)).unwrap());
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = byte,
                2 => bytes.truncate(at),
                3 => bytes.insert(at, byte),
                4 => bytes.extend_from_within(at..),
                _ => {
                    let other = &seeds[self.below(seeds.len())];
                    bytes.extend_from_slice(&other[self.below(other.len() + 1)..]);
                }
            }
            bytes.truncate(8192);
        }
        bytes
    }
}

#[test]
fn every_target_takes_its_seeds_and_whatever_is_made_of_them() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|why| panic!("{folder:?}: {why}"));
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        seeds.iter().for_each(|seed| target(seed));
        let mut random = Random(name.bytes().map(u64::from).sum());
        for number in 0..INPUTS {
            let input = random.input(&seeds);
            let outcome = std::panic::catch_unwind(|| target(&input));
            assert!(outcome.is_ok(), "{name}, input {number}: {:02x?}", &input);
        }
    }
}
