//! The health topic: batches about the gateway, losses, time anchors.
//!
//! Promises: a loss is written for numbers that are not stored, and acknowledged once it is written; an
//! anchor dates what its boot has stored. Never: a loss that hides a stored row.

use firmware_shared::id::{DeviceId, Lane};
use firmware_shared::message::{self, Anchors, Loss, Losses, Message, MessageKind, NackReason};

use super::{Core, NUMBER_MAX, Publish, SinkError, StreamKey};

impl Core {
    pub(super) fn health(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
    ) -> Result<(), SinkError> {
        if publish.payload.first() != Some(&message::MAGIC) {
            return self.batch(publish, device, Lane::Health);
        }
        let kind = match message::open(publish.payload) {
            Ok((kind, _)) => kind,
            Err(error) => {
                self.refuse(
                    publish,
                    device,
                    None,
                    NackReason::Corrupt,
                    error.to_string(),
                );
                return Ok(());
            }
        };
        let unreadable = if kind == MessageKind::Losses as u8 {
            match Losses::decode(publish.payload) {
                Ok(losses) => return self.losses(publish, device, &losses),
                Err(error) => error.to_string(),
            }
        } else if kind == MessageKind::Anchors as u8 {
            match Anchors::decode(publish.payload) {
                Ok(anchors) => return self.anchors(publish, device, &anchors),
                Err(error) => error.to_string(),
            }
        } else {
            format!("a message of kind {kind} on the health topic")
        };
        self.quarantine(publish, Some(device), "message", unreadable);
        Ok(())
    }

    fn losses(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        losses: &Losses,
    ) -> Result<(), SinkError> {
        if let Some(loss) = losses.losses.iter().find(|loss| !is_possible(loss)) {
            let detail = format!(
                "a loss from {} to {:?}; allowed are rising numbers up to {NUMBER_MAX}",
                loss.first_seq, loss.last_seq
            );
            self.quarantine(publish, Some(device), "message", detail);
            return Ok(());
        }
        for loss in &losses.losses {
            let key = StreamKey {
                device: device.clone(),
                stream: loss.stream(),
            };
            let state = self.memory.stream_mut(publish.sink, &key)?;
            state.lose(|ledger, have| match loss.range() {
                Some(range) => ledger.add(range, loss.reason, have),
                None => ledger.add_tail(loss.first_seq, loss.at_most, loss.reason, have),
            });
            // A repetition is answered, too: the first answer may never have arrived.
            self.answers.progress(&key);
        }
        Ok(())
    }

    fn anchors(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        anchors: &Anchors,
    ) -> Result<(), SinkError> {
        for anchor in &anchors.anchors {
            self.learn_anchor(publish, device, anchors.boot_id, *anchor)?;
        }
        Ok(())
    }
}

fn is_possible(loss: &Loss) -> bool {
    let last_seq = loss.last_seq.unwrap_or(loss.first_seq);
    loss.first_seq <= last_seq
        && last_seq <= NUMBER_MAX
        && loss.at_most.is_none_or(|most| most <= NUMBER_MAX)
}
