//! libFuzzer's entry for every target: HAWSE_FUZZ_TARGET names the one to run. Started by scripts/fuzz.sh.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod run {
    use std::sync::OnceLock;

    fn chosen() -> fn(&[u8]) {
        static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let wanted = std::env::var("HAWSE_FUZZ_TARGET").unwrap_or_default();
            let found = hawse_fuzz::TARGETS.iter().find(|(name, _)| *name == wanted);
            assert!(found.is_some(), "HAWSE_FUZZ_TARGET={wanted:?} is no target");
            found.map_or(|_| (), |(_, target)| *target)
        })
    }

    libfuzzer_sys::fuzz_target!(|data: &[u8]| chosen()(data));
}

#[cfg(not(fuzzing))]
fn main() {
    // Built without --cfg fuzzing there is no coverage to steer by: scripts/fuzz.sh sets it.
    std::process::exit(2);
}
