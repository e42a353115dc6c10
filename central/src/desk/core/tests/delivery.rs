use super::*;
use crate::config::Schedule;

#[test]
fn a_receiver_that_is_down_for_an_hour_gets_each_transition_once_by_key_when_it_is_back() {
    let hour = 60 * MIN;
    let receiver: Receiver = Box::new(move |at_ms, _| {
        Some(match at_ms {
            at if (MIN..MIN + hour).contains(&at) => down(),
            _ => Outcome::Delivered,
        })
    });
    let mut world = World::with(
        vec![route("desk", all())],
        vec![receiver],
        Vec::new(),
        |desk| desk.collapse_count = 10_000,
    );
    world.pass(MIN);
    let mut expected = BTreeSet::new();
    for number in 0..300 {
        let device = format!("t{number}");
        world.feed(raised(&device, 0));
        expected.insert(format!("{device}-1-0/raised"));
        world.pass(5 * S);
        if number % 2 == 0 {
            world.feed(cleared(&device, 0));
            expected.insert(format!("{device}-1-0/cleared"));
        } else {
            // Nobody is there to acknowledge.
            expected.insert(format!("{device}-1-0/escalated"));
        }
        world.pass(6 * S);
        if number == 150 {
            world.crash();
        }
    }
    world.pass(hour);
    let taken = &world.taken["desk"];
    let back_ms = MIN + hour;
    assert!(taken.iter().all(|(at, _)| *at >= back_ms));
    let keys: BTreeSet<String> = taken.iter().map(|(_, key)| key.clone()).collect();
    assert_eq!(keys, expected);
    assert_eq!(taken.len(), expected.len(), "each once");
    // It is asked once a minute at most, so what waited is there a minute later.
    let owed_then = taken
        .iter()
        .filter(|(at, _)| *at <= back_ms + MIN + S)
        .count();
    assert!(owed_then >= 400, "{owed_then}");
}

#[test]
fn a_receiver_that_hangs_delays_no_other() {
    let hangs: Receiver = Box::new(|_, _| None);
    let mut world = World::new(
        vec![route("hangs", all()), route("quick", all())],
        vec![hangs, takes()],
    );
    for number in 0..9 {
        let before = world.at_ms;
        world.feed(raised(&format!("t{number}"), 0));
        assert_eq!(
            world.taken["quick"].last(),
            Some(&(before, format!("t{number}-1-0/raised")))
        );
        world.pass(7 * S);
    }
    assert!(!world.taken.contains_key("hangs"));
    let owed = world.store.owed("hangs", 0, 100).unwrap();
    assert_eq!(owed.len(), 9, "nothing is forgotten");
}

#[test]
fn one_alerts_transitions_go_out_in_their_order() {
    let mut fails = 3;
    let receiver: Receiver = Box::new(move |_, owed| {
        if owed.key.ends_with("raised") && fails > 0 {
            fails -= 1;
            return Some(Outcome::Refused {
                why: "not yet".to_owned(),
            });
        }
        Some(Outcome::Delivered)
    });
    let mut world = World::new(vec![route("desk", all())], vec![receiver]);
    world.feed(raised("a", 0));
    world.feed(cleared("a", 0));
    world.feed(raised("b", 0));
    world.pass(10 * MIN);
    let keys = world.keys("desk");
    let place = |key| keys.iter().position(|known| *known == key).unwrap();
    assert!(place("a-1-0/raised") < place("a-1-0/cleared"));
    assert!(
        place("b-1-0/raised") < place("a-1-0/raised"),
        "others go on"
    );
}

#[test]
fn a_kill_with_notifications_in_flight_sends_them_again_with_the_same_key() {
    let hangs: Receiver = Box::new(|_, _| None);
    let mut world = World::new(vec![route("desk", all())], vec![hangs]);
    for device in ["a", "b", "c"] {
        world.feed(raised(device, 0));
    }
    world.crash();
    world.receivers[0] = takes();
    world.pass(MIN);
    let keys: BTreeSet<String> = world.taken["desk"]
        .iter()
        .map(|(_, key)| key.clone())
        .collect();
    assert_eq!(keys, set(&["a-1-0/raised", "b-1-0/raised", "c-1-0/raised"]));
    world.crash();
    world.pass(MIN);
    assert_eq!(world.taken["desk"].len(), 3, "what is done is done");
}

#[test]
fn a_receiver_that_says_when_it_is_back_is_left_alone_until_then() {
    let mut asked = Vec::new();
    let receiver: Receiver = Box::new(move |at_ms, _| {
        asked.push(at_ms);
        assert!(asked.len() < 2 || at_ms >= 90 * S, "{asked:?}");
        Some(match at_ms >= 90 * S {
            true => Outcome::Delivered,
            false => Outcome::Down {
                why: "503".to_owned(),
                retry_ms: Some(90_000),
            },
        })
    });
    let mut world = World::new(vec![route("desk", all())], vec![receiver]);
    world.feed(raised("a", 0));
    world.pass(2 * MIN);
    assert_eq!(world.keys("desk"), ["a-1-0/raised"]);
}

#[test]
fn outside_its_schedule_a_route_waits_and_is_told_what_still_matters() {
    // The start is a Tuesday, 22:13:20 UTC.
    let mut day = all();
    day.schedule = Some(Schedule::parse(&["mon-fri 06:00-22:00".to_owned()], "UTC").unwrap());
    let mut world = World::new(
        vec![route("day", day), route("always", all())],
        vec![takes(), takes()],
    );
    for device in ["a", "b", "c"] {
        world.feed(raised(device, 0));
    }
    world.pass(MIN);
    world.feed(cleared("a", 0));
    let order = Command::Acknowledge {
        alert: "b-1-0".to_owned(),
        who: "ann".to_owned(),
    };
    world.core.order(world.now(), &order, &world.store).unwrap();
    world.pass(60 * MIN);
    assert!(world.keys("day").is_empty());
    assert!(world.keys("always").contains(&"a-1-0/cleared"));
    world.crash();
    // Until six in the morning.
    world.pass(8 * 60 * MIN);
    assert_eq!(world.keys("day"), ["c-1-0/raised", "c-1-0/escalated"]);
    world.feed(cleared("c", 0));
    world.pass(MIN);
    assert_eq!(world.keys("day").last(), Some(&"c-1-0/cleared"));
}
