//! What all tunnels' shields share: stored answers, bounded by their bytes; fetches on their way; pages that can't be shared.
//!
//! Under a request's primary key stands its answer, or which fields of requests it depends on; then the answers stand under
//! the keys that those fields select. Taking the first away makes all of them unreachable. A tunnel's answers belong to its
//! zone: they go when it is purged, and with it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter, Weighter, sync};
use tokio::{sync::Semaphore, time::Instant};

use super::{flight::Flight, key::Key, stored::Stored};
use crate::limits;

type Cache<K, V, W> = sync::Cache<K, V, W, DefaultHashBuilder, sync::DefaultLifecycle<K, V>>;

/// See the module.
pub(crate) struct Store {
    slots: Cache<Key, Slot, Weigh>,
    /// By a hash: a page that is taken for another is fetched by everyone, which is never wrong.
    unshared: Cache<u64, Instant, UnitWeighter>,
    hasher: RandomState,
    flights: papaya::HashMap<Key, Arc<Flight>>,
    /// Bytes that flights may keep.
    room: Arc<Semaphore>,
    numbers: AtomicU64,
}

/// What stands under a key.
#[derive(Debug, Clone)]
enum Slot {
    Answer(Arc<Stored>),
    Depends(Arc<Depends>),
}

/// Names of the fields that tell a page's answers apart. Sorted.
#[derive(Debug)]
struct Depends {
    number: u64,
    names: Vec<HeaderName>,
}

/// Bytes of an entry.
#[derive(Debug, Clone)]
struct Weigh;

impl Weighter<Key, Slot> for Weigh {
    fn weight(&self, key: &Key, slot: &Slot) -> u64 {
        let bytes = match slot {
            Slot::Answer(answer) => answer.weight(),
            Slot::Depends(depends) => 100 + depends.names.len() * 64,
        };
        (key.bytes() + bytes) as u64
    }
}

/// Where the answer to a request belongs, and what stands there.
#[derive(Debug)]
pub(crate) struct Spot {
    pub(super) primary: Key,
    pub(crate) key: Key,
    pub(crate) stored: Option<Arc<Stored>>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            slots: bounded(limits::SHIELD_BYTES, limits::SHIELD_BYTES / 4096, Weigh),
            unshared: bounded(
                limits::SHIELD_UNSHARED_PAGES,
                limits::SHIELD_UNSHARED_PAGES,
                UnitWeighter,
            ),
            hasher: RandomState::new(),
            flights: papaya::HashMap::new(),
            room: Arc::new(Semaphore::new(limits::SHIELD_FLIGHTS_BYTES)),
            numbers: AtomicU64::new(1),
        }
    }
}

/// In one part: cut into several, each would refuse what is larger than itself.
fn bounded<K: Eq + std::hash::Hash, V: Clone, W: Weighter<K, V> + Clone>(
    weight: usize,
    items: usize,
    weighter: W,
) -> Cache<K, V, W> {
    let options = OptionsBuilder::new()
        .shards(1)
        .weight_capacity(weight as u64)
        .estimated_items_capacity(items)
        .build();
    #[expect(clippy::expect_used, reason = "both capacities are set two lines above")]
    let options = options.expect("the capacities are set");
    Cache::with_options(
        options,
        weighter,
        DefaultHashBuilder::default(),
        sync::DefaultLifecycle::default(),
    )
}

impl Store {
    /// The process may have so many bytes; 0: no bound.
    pub(crate) fn set_memory(&self, bytes: u64) {
        const PART: u64 = 8;
        if bytes > 0 {
            self.slots.set_capacity((limits::SHIELD_BYTES as u64).min(bytes / PART));
        }
    }

    /// `names`: fields that tell answers apart in any case.
    pub(super) fn spot(&self, primary: Key, names: &[HeaderName], fields: &HeaderMap) -> Spot {
        let (key, stored) = match self.slots.get(&primary) {
            Some(Slot::Answer(answer)) => return Spot::of(primary.clone(), primary, Some(answer)),
            Some(Slot::Depends(depends)) => (primary.variant(depends.number, &depends.names, fields), true),
            None if names.is_empty() => (primary.clone(), false),
            None => (primary.variant(0, names, fields), false),
        };
        let stored = match stored.then(|| self.slots.get(&key)).flatten() {
            Some(Slot::Answer(answer)) => Some(answer),
            _ => None,
        };
        Spot::of(primary, key, stored)
    }

    /// The key under which the answer to a request belongs, now that it is known which fields it depends on. `None`: too many.
    pub(super) fn home(&self, primary: &Key, mut names: Vec<HeaderName>, fields: &HeaderMap) -> Option<Key> {
        let known = match self.slots.peek(primary) {
            Some(Slot::Depends(depends)) => Some(depends),
            _ => None,
        };
        if let Some(depends) = &known {
            // Fields that another answer of the page depended on still count: one order of names for all of them.
            names.extend(depends.names.iter().cloned());
        }
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        if names.is_empty() {
            return Some(primary.clone());
        }
        if names.len() > 2 * limits::SHIELD_VARY_FIELDS {
            return None;
        }
        let depends = known.filter(|depends| depends.names == names).unwrap_or_else(|| {
            let number = self.numbers.fetch_add(1, Relaxed);
            let depends = Arc::new(Depends { number, names });
            self.slots.insert(primary.clone(), Slot::Depends(depends.clone()));
            depends
        });
        Some(primary.variant(depends.number, &depends.names, fields))
    }

    pub(super) fn put(&self, key: &Key, answer: Arc<Stored>) {
        self.slots.insert(key.clone(), Slot::Answer(answer));
    }

    /// Something was changed there: what is stored of it holds no more.
    pub(super) fn invalidate(&self, primary: &Key) {
        self.slots.remove(primary);
    }

    /// The flight of a key, and whether it has just begun: then the caller flies it.
    pub(super) fn board(&self, key: &Key) -> (Arc<Flight>, bool) {
        let flights = self.flights.pin();
        if let Some(flight) = flights.get(key) {
            return (flight.clone(), false);
        }
        let mine = self.alone();
        let flight = flights.get_or_insert(key.clone(), mine.clone()).clone();
        let begins = Arc::ptr_eq(&mine, &flight);
        (flight, begins)
    }

    /// A flight that nobody finds.
    pub(super) fn alone(&self) -> Arc<Flight> {
        Flight::new(&self.room)
    }

    /// Whoever asks for this as well finds the flight, unless there is one already.
    pub(super) fn list(&self, key: &Key, flight: &Arc<Flight>) {
        self.flights.pin().get_or_insert(key.clone(), flight.clone());
    }

    pub(super) fn unlist(&self, key: &Key, flight: &Arc<Flight>) {
        let _ = (self.flights.pin()).remove_if(key, |_, listed| Arc::ptr_eq(listed, flight));
    }

    /// Nobody waits for this page now.
    pub(super) fn set_unshared(&self, key: &Key, now: Instant) {
        self.unshared
            .insert(self.hasher.hash_one(key), now + limits::SHIELD_UNSHARED);
    }

    pub(super) fn set_shared(&self, key: &Key) {
        self.unshared.remove(&self.hasher.hash_one(key));
    }

    /// True: fetch it without waiting. When it is time to look again, one request is told false, and the others still true.
    pub(super) fn is_unshared(&self, key: &Key, now: Instant) -> bool {
        match self.unshared.get(&self.hasher.hash_one(key)) {
            None => false,
            Some(until) if now < until => true,
            Some(_) => {
                self.set_unshared(key, now);
                false
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.slots.len()
    }

    /// How many answers of the zone were stored.
    fn forget(&self, zone: u64) -> u64 {
        let forgotten = AtomicUsize::new(0);
        self.slots.retain(|key, slot| {
            let goes = key.is_of(zone);
            if goes && matches!(slot, Slot::Answer(_)) {
                forgotten.fetch_add(1, Relaxed);
            }
            !goes
        });
        forgotten.load(Relaxed) as u64
    }
}

impl Spot {
    fn of(primary: Key, key: Key, stored: Option<Arc<Stored>>) -> Self {
        Self { primary, key, stored }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Store")
            .field("entries", &self.slots.len())
            .finish_non_exhaustive()
    }
}

/// Everything that is stored for a tunnel as it is. Its owner purges it when the tunnel is another.
#[derive(Debug)]
pub(crate) struct Zone {
    number: u64,
    epoch: AtomicU64,
    store: Arc<Store>,
}

impl Zone {
    pub(super) fn new(store: &Arc<Store>) -> Arc<Self> {
        Arc::new(Self {
            number: store.numbers.fetch_add(1, Relaxed),
            epoch: AtomicU64::new(0),
            store: store.clone(),
        })
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(super) fn key(&self, authority: &HeaderValue, uri: &Uri) -> Key {
        Key::of(self.number, self.epoch(), authority, uri)
    }

    /// Another one after each purge: what a fetch brings that began before is not for later.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Forgets everything; how many answers that were.
    pub(super) fn purge(&self) -> u64 {
        self.epoch.fetch_add(1, Relaxed);
        self.store.forget(self.number)
    }
}

#[cfg(test)]
#[path = "tests/store.rs"]
mod tests;
