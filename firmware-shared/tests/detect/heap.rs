//! The step needs no heap.

use firmware_shared::detect::{Input, Large, Small};

use crate::reefer::{DAY, MINUTE_MS, Reefer, START_MS};

#[test]
fn no_step_allocates() {
    let mut values = Reefer::new(5).minutes(4 * DAY);
    values[3 * DAY] += 20.0;
    let (mut small, mut large) = (Small::new(), Box::new(Large::new()));
    let used = allocation_counter::measure(|| {
        for (i, value) in values.iter().enumerate() {
            let now_ms = START_MS + MINUTE_MS * i as u64;
            let verdict = small.step(now_ms, &Input::value(*value));
            assert!(verdict.score <= 1.0);
            assert!(large.step(now_ms, &Input::value(*value)).score <= 1.0);
        }
    });
    assert_eq!((used.count_total, used.bytes_total), (0, 0));
    // The counter counts: an allocation in the measured part is seen.
    let seen = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!(seen.count_total, 1);
}
