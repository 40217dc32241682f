//! What a run came to.

use std::time::Duration;

/// Latencies of good answers and the count of bad ones.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) micros: Vec<u32>,
    pub(crate) bytes: u64,
    pub(crate) failed: u64,
    /// The first failure, to say more than a number.
    pub(crate) why: String,
    pub(crate) elapsed: Duration,
}

impl Tally {
    /// Counts a good answer.
    pub(crate) fn good(&mut self, took: Duration, bytes: usize) {
        self.micros
            .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        self.bytes += bytes as u64;
    }

    /// Counts a failure.
    pub(crate) fn bad(&mut self, why: &str) {
        if self.failed == 0 {
            self.why = why.to_owned();
        }
        self.failed += 1;
    }

    /// Latency that this part (0..=1) of the answers did not exceed, in ms.
    fn percentile(&self, part: f64) -> f64 {
        let last = self.micros.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let index = (last as f64 * part) as usize;
        self.micros
            .get(index)
            .map_or(0.0, |&micros| f64::from(micros) / 1e3)
    }

    /// One line for tests/bench/loader.py.
    pub(crate) fn json(mut self) -> String {
        self.micros.sort_unstable();
        let why: String = self
            .why
            .chars()
            .filter(|c| !matches!(c, '"' | '\\') && !c.is_control())
            .take(200)
            .collect();
        format!(
            r#"{{"answered":{},"failed":{},"why":"{why}","bytes":{},"seconds":{:.4},"p50_ms":{:.3},"p99_ms":{:.3}}}"#,
            self.micros.len(),
            self.failed,
            self.bytes,
            self.elapsed.as_secs_f64(),
            self.percentile(0.5),
            self.percentile(0.99),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_from_the_sorted_answers() {
        let mut tally = Tally::default();
        for millis in (1..=100).rev() {
            tally.good(Duration::from_millis(millis), 10);
        }
        tally.bad("status \"503\"");
        let line = tally.json();
        assert!(
            line.contains(r#""answered":100,"failed":1,"why":"status 503","bytes":1000"#),
            "{line}"
        );
        assert!(
            line.contains(r#""p50_ms":50.000,"p99_ms":99.000"#),
            "{line}"
        );
    }
}
