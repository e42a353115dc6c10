//! Orders that somebody on the vehicle gives.

use super::Pipeline;
use crate::clock::Now;
use crate::status::{Order, Outcome};
use crate::trip::{Answer, Origin};

/// What becomes of an order.
pub(super) fn obey(pipeline: &mut Pipeline, now: Now, order: &Order) -> Outcome {
    let (state, version, text) = match order {
        Order::ProfileShow {} => {
            let version = pipeline.trip.current().map(|trip| trip.version);
            let text = match version {
                Some(version) => format!("profile {version} is in force"),
                None => "no profile is in force".to_owned(),
            };
            ("shown", version, text)
        }
        Order::ProfileSet { text } => match pipeline.profile(now, Origin::Vehicle, text.as_bytes())
        {
            Answer::Accepted { version, text, .. } => ("accepted", Some(version), text),
            Answer::Known { version } => {
                let text = "this profile is known, nothing has changed".to_owned();
                ("known", version, text)
            }
            Answer::Refused { version, text } => ("refused", version, text),
        },
    };
    let text_of = |trip: Option<&crate::config::TripProfile>| trip.map(|trip| trip.text.clone());
    Outcome {
        state: state.to_owned(),
        version,
        text,
        current: text_of(pipeline.trip.current()),
        next: text_of(pipeline.trip.next()),
    }
}
