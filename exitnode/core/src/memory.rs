//! Where the core has its memory from: jemalloc. Python, and aws-lc's few bytes, keep the system's allocator.
//!
//! glibc's keeps what a burst of stopped readers took (docs/design/0003-solid.md has the figures); then the edge, which refuses
//! requests while the process has too much (edge/src/pressure.rs), would refuse them for ever.

/// The core's allocator.
#[cfg(not(windows))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads when it starts, a C string. One arena, since one thread does nearly all the work; freed pages go back to
/// the system after a second, by a thread of jemalloc's own, so also where nothing else happens.
#[cfg(not(windows))]
#[allow(
    unsafe_code,
    reason = "the name under which jemalloc looks for it; nothing else has it"
)]
#[used]
#[unsafe(export_name = "_rjem_malloc_conf")]
static CONFIGURATION: &[u8; 95] =
    b"narenas:1,background_thread:true,max_background_threads:1,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

#[cfg(all(test, not(windows)))]
mod tests {
    use tikv_jemalloc_ctl::{background_thread, max_background_threads, opt};

    #[test]
    fn the_allocator_has_read_its_configuration() {
        assert_eq!(opt::narenas::read(), Ok(1));
        assert_eq!(background_thread::read(), Ok(true));
        assert_eq!(max_background_threads::read(), Ok(1));
    }
}
