//! Links in bad weather, in simulated time: packets that are lost, doubled, late or in the wrong order, paths that swallow
//! everything, agents whose address changes. A seed decides all of it but the keys: what is asserted is behaviour, not bytes.
//!
//! `cargo test -p hawse-tunnel simulator` runs a few dozen seeds; `HAWSE_SEEDS=1000` more, `HAWSE_SEED=17` that one.

mod network;
mod scene;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use self::network::{Rng, Weather};
use self::scene::{Outcome, Scene, is_prefix};

const SEEDS: u64 = 32;
/// Simulated; what has not ended by then hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// What happens to a link while streams and frames pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing but the weather.
    Calm,
    /// The agent gets another address, as behind a NAT or in another network.
    Moves,
    /// Nothing passes for a while.
    Pause(Duration),
    /// Nothing passes any more.
    BlackHole,
}

#[test]
fn whatever_the_weather_streams_are_whole_or_reported_lost() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("HAWSE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HAWSE_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let played = runtime.block_on(play(seed));
        assert_eq!(played, Ok(()), "again with HAWSE_SEED={seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_nobody_uses_for_half_an_hour_lives() {
    let weather = Weather {
        lost: 1,
        doubled: 0,
        delay: Duration::from_millis(40),
        jitter: Duration::from_millis(10),
    };
    let scene = Scene::new(1, weather);
    let link = scene.link().await;
    for _ in 0..2 {
        sleep(Duration::from_secs(1800)).await;
        assert!(
            !scene.is_down(&link),
            "both sides ask in time whether the other one lives"
        );
        assert_eq!(
            scene.streams(&link, &[(Duration::ZERO, 50_000)]).await,
            [Outcome::Whole]
        );
    }
}

async fn play(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let weather = Weather {
        lost: rng.below(8),
        doubled: rng.below(5),
        delay: Duration::from_millis(1 + rng.below(60)),
        jitter: Duration::from_millis(rng.below(30)),
    };
    let fate = match rng.below(4) {
        0 => Fate::Calm,
        1 => Fate::Moves,
        2 => Fate::Pause(Duration::from_millis(100 + rng.below(2400))),
        _ => Fate::BlackHole,
    };
    let scene = Scene::new(rng.next(), weather);
    let (mut link, frames) = (scene.link().await, 10 + rng.below(30));
    let streams: Vec<_> = (0..1 + rng.below(8))
        .map(|_| (Duration::from_millis(rng.below(1500)), rng.below(120_000) as usize))
        .collect();
    let strikes = Duration::from_millis(rng.below(1500));
    let traffic = async { tokio::join!(scene.streams(&link, &streams), scene.frames(&link, frames)).0 };
    let (struck, outcomes) = tokio::join!(strike(&scene, fate, strikes), timeout(PATIENCE, traffic));
    let outcomes = outcomes.map_err(|_| format!("{weather:?} {fate:?}: a stream neither ended nor broke"))?;
    let context = |what: &str| format!("{weather:?} {fate:?}: {what}: {outcomes:?}");

    if fate == Fate::BlackHole {
        let left = scene
            .both_left(&mut link)
            .await
            .ok_or_else(|| context("the link was not left"))?;
        if left - struck >= Duration::from_secs(5) {
            return Err(context(&format!("left after {:?}", left - struck)));
        }
    } else {
        sleep(Duration::from_secs(20)).await; // what is late arrives, and a link that is lost is reported
    }
    let lost = scene.is_down(&link);
    if outcomes.contains(&Outcome::Short) {
        return Err(context("a stream ended early, and as if it were whole"));
    }
    if outcomes.contains(&Outcome::Broken) && !lost {
        return Err(context("a stream broke on a link that lives"));
    }
    if lost && matches!(fate, Fate::Calm | Fate::Moves) {
        return Err(context("a path that works was left"));
    }
    for received in scene.received() {
        let whole = received.len() as u64 == frames;
        if !is_prefix(&received) || !(whole || lost) {
            return Err(context(&format!("frames: {received:?} of {frames}")));
        }
    }
    drop(link);
    scene.clear_up();
    let again = scene.link().await;
    match scene.streams(&again, &[(Duration::ZERO, 50_000)]).await.as_slice() {
        [Outcome::Whole] => Ok(()),
        other => Err(context(&format!("dialled again: {other:?}"))),
    }
}

/// When it struck.
async fn strike(scene: &Scene, fate: Fate, after: Duration) -> Instant {
    sleep(after).await;
    let now = Instant::now();
    match fate {
        Fate::Calm => {}
        Fate::Moves => scene.move_agent(),
        Fate::Pause(length) => {
            scene.swallow(true);
            sleep(length).await;
            scene.swallow(false);
        }
        Fate::BlackHole => scene.swallow(true),
    }
    now
}
