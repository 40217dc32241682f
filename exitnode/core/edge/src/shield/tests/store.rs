use super::*;
use crate::shield::{counters::Counters, storable::Lifetime};

fn answer(bytes: usize, counters: &Arc<Counters>) -> Arc<Stored> {
    let body = [vec![7; bytes].into()];
    let head = (http::StatusCode::OK, &HeaderMap::new(), &body[..]);
    Arc::new(Stored::new(head, Lifetime::default(), Instant::now(), counters))
}

fn key(zone: &Zone, target: &str) -> Key {
    zone.key(&HeaderValue::from_static("shop.t.example"), &target.parse().unwrap())
}

#[test]
fn bytes_are_bounded_and_the_longest_that_may_be_stored_has_room() {
    let (store, counters) = (Arc::new(Store::default()), Arc::default());
    let zone = Zone::new(&store);
    for number in 0..100 {
        store.put(
            &key(&zone, &format!("/{number}")),
            answer(limits::SHIELD_ANSWER_BYTES, &counters),
        );
    }
    let bytes = usize::try_from(counters.read().bytes).unwrap();
    assert!(
        bytes <= limits::SHIELD_BYTES && bytes > limits::SHIELD_BYTES / 2,
        "{bytes}"
    );
    for number in 0..100_000 {
        store.put(&key(&zone, &format!("/{number}")), answer(200, &counters));
    }
    assert!(counters.read().bytes <= limits::SHIELD_BYTES as u64);
    store.set_memory(64 << 20);
    assert!(counters.read().bytes <= 8 << 20, "a small node keeps less");
    zone.purge();
    assert_eq!((counters.read().bytes, store.entries()), (0, 0));
}

#[test]
fn zones_are_forgotten_apart() {
    let (store, counters) = (Arc::new(Store::default()), Arc::default());
    let (one, other) = (Zone::new(&store), Zone::new(&store));
    for zone in [&one, &other] {
        store.put(&key(zone, "/"), answer(10, &counters));
    }
    assert_eq!((one.purge(), one.purge(), store.entries()), (1, 0, 1));
    assert!(store.spot(key(&other, "/"), &[], &HeaderMap::new()).stored.is_some());
}

#[test]
fn an_answer_is_found_by_the_fields_that_it_depends_on() {
    let (store, counters) = (Arc::new(Store::default()), Arc::default());
    let zone = Zone::new(&store);
    let primary = key(&zone, "/");
    let german: HeaderMap = [(http::header::ACCEPT_LANGUAGE, HeaderValue::from_static("de"))]
        .into_iter()
        .collect();
    let home = store
        .home(&primary, vec![http::header::ACCEPT_LANGUAGE], &german)
        .unwrap();
    store.put(&home, answer(10, &counters));
    assert_eq!(store.spot(primary.clone(), &[], &german).key, home);
    assert!(store.spot(primary.clone(), &[], &german).stored.is_some());
    assert!(store.spot(primary.clone(), &[], &HeaderMap::new()).stored.is_none());
    // One that depends on more: the first can't be found any more, though its fields are the same.
    let more = store.home(&primary, vec![http::header::ACCEPT], &german).unwrap();
    assert_ne!(more, home);
    assert!(store.spot(primary.clone(), &[], &german).stored.is_none());
    store.put(&more, answer(10, &counters));
    assert!(store.spot(primary.clone(), &[], &german).stored.is_some());
    store.invalidate(&primary);
    let again = store.home(
        &primary,
        vec![http::header::ACCEPT, http::header::ACCEPT_LANGUAGE],
        &german,
    );
    assert_ne!(again.unwrap(), more, "what was taken away stays away");
}

#[tokio::test(start_paused = true)]
async fn one_looks_again_and_the_others_go_on() {
    let store = Arc::new(Store::default());
    let zone = Zone::new(&store);
    let page = key(&zone, "/");
    assert!(!store.is_unshared(&page, Instant::now()));
    store.set_unshared(&page, Instant::now());
    assert!(store.is_unshared(&page, Instant::now()));
    let later = Instant::now() + limits::SHIELD_UNSHARED;
    assert_eq!([(); 3].map(|()| store.is_unshared(&page, later)), [false, true, true]);
    store.set_shared(&page);
    assert!(!store.is_unshared(&page, later));
}
