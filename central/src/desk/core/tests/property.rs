use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Raise(u8),
    Clear(u8),
    Again,
    Pass(i64),
    Crash,
    Acknowledge(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..6).prop_map(Step::Raise),
        4 => (0u8..6).prop_map(Step::Clear),
        2 => Just(Step::Again),
        3 => (1i64..20 * MIN).prop_map(Step::Pass),
        1 => Just(Step::Crash),
        1 => (0u8..6).prop_map(Step::Acknowledge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in whatever order, with a receiver that fails now and then and a process that dies now and
    /// then: what was told began in its order, and everybody who was told is told of the end.
    #[test]
    fn what_is_told_is_whole(steps in prop::collection::vec(step(), 1..60), seed in any::<u64>()) {
        let mut dice = seed | 1;
        let receiver: Receiver = Box::new(move |_, _| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            Some(match dice >> 61 {
                0 => down(),
                1 => Outcome::Refused { why: "no".to_owned() },
                _ => Outcome::Delivered,
            })
        });
        let mut world = World::new(vec![route("desk", all())], vec![receiver]);
        let mut next = [0u64; 6];
        let mut open = [None; 6];
        let mut last: Option<Alert> = None;
        for step in steps {
            match step {
                Step::Raise(device) if open[usize::from(device)].is_none() => {
                    let number = &mut next[usize::from(device)];
                    open[usize::from(device)] = Some(*number);
                    let alert = raised(&format!("d{device}"), *number);
                    *number += 1;
                    world.feed(alert.clone());
                    last = Some(alert);
                }
                Step::Clear(device) => if let Some(first) = open[usize::from(device)].take() {
                    let number = &mut next[usize::from(device)];
                    let alert = transition(&format!("d{device}"), first, *number, AlertState::Cleared);
                    *number += 1;
                    world.feed(alert.clone());
                    last = Some(alert);
                },
                Step::Again => if let Some(alert) = last.clone() {
                    world.feed(alert);
                },
                Step::Pass(ms) => world.pass(ms),
                Step::Crash => world.crash(),
                Step::Acknowledge(device) => if let Some(first) = open[usize::from(device)] {
                    let order = Command::Acknowledge {
                        alert: format!("d{device}-1-{first}"),
                        who: "ann".to_owned(),
                    };
                    world.core.order(world.now(), &order, &world.store).unwrap();
                    world.settle();
                },
                Step::Raise(_) => {}
            }
        }
        for (device, first) in open.iter().enumerate() {
            if let Some(first) = first {
                let alert = transition(&format!("d{device}"), *first, next[device], AlertState::Cleared);
                world.feed(alert);
            }
        }
        world.pass(24 * 60 * MIN);
        prop_assert!(world.items().iter().all(|item| !item.is_open()));
        prop_assert!(world.store.owed("desk", 0, 1).unwrap().is_empty(), "all is told");
        let keys = world.keys("desk");
        let once: BTreeSet<&&str> = keys.iter().collect();
        prop_assert_eq!(once.len(), keys.len(), "each once: {:?}", keys);
        for key in &keys {
            let (id, what) = key.rsplit_once('/').unwrap();
            let place = |what: &str| keys.iter().position(|known| *known == format!("{id}/{what}"));
            if what == "raised" {
                prop_assert!(place("cleared") > place("raised"), "{id} has no end: {:?}", keys);
            }
            if what == "cleared" {
                prop_assert!(place("raised").is_some(), "{id} has no beginning: {:?}", keys);
            }
        }
    }
}
