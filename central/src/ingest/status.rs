//! Births, heartbeats, goodbyes and wills.
//!
//! Promises: a birth is answered with its nonce and every stream that it lists; the highest next number
//! that a device reported is kept; two incarnations of one device that speak by turns are an alarm. Never:
//! a birth taken for another device than its topic's.

use std::collections::BTreeSet;

use firmware_shared::id::{DeviceId, Epoch, Lane, StreamId};
use firmware_shared::message::{
    self, Birth, Goodbye, LaneNext, Message, MessageKind, Status, Will,
};
use firmware_shared::time::BootId;

use super::{Core, Link, NUMBER_MAX, Publish, SinkError, StreamKey, Write};

/// A readable message of the status topic.
enum Word {
    Birth(Box<Birth>),
    Status(Status),
    Goodbye(Goodbye),
    Will(Will),
}

impl Core {
    pub(super) fn status(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
    ) -> Result<(), SinkError> {
        match read(publish.payload, device) {
            Ok(Word::Birth(birth)) => self.birth(publish, device, &birth),
            Ok(Word::Status(status)) => {
                self.issued(device, status.epoch, &status.next);
                self.writes.push(Write::Status {
                    device: device.clone(),
                    status: Box::new(status),
                    received_ms: publish.now_ms,
                });
                self.seen(publish, device, None)
            }
            Ok(Word::Goodbye(goodbye)) => self.goodbye(publish, device, &goodbye),
            Ok(Word::Will(will)) => self.link_lost(publish, device, &will),
            Err(detail) => {
                self.quarantine(publish, Some(device), "message", detail);
                Ok(())
            }
        }
    }

    fn birth(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        birth: &Birth,
    ) -> Result<(), SinkError> {
        let mut streams = BTreeSet::new();
        for open in &birth.epochs {
            self.learn_boot(publish, device, open.epoch, open.boot_id)?;
            for lane in &open.lanes {
                let stream = StreamId {
                    epoch: open.epoch,
                    lane: lane.lane,
                };
                streams.insert(stream);
                if let Some(next_seq) = lane.next_seq {
                    self.next_seq(device, stream, next_seq);
                }
            }
        }
        self.learn_boot(publish, device, birth.epoch, birth.boot_id)?;
        self.born(publish, device, birth)?;
        self.answers
            .birth(device, birth.nonce, streams.into_iter().collect());
        Ok(())
    }

    /// Notes the incarnation, and whether two of them speak by turns.
    fn born(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        birth: &Birth,
    ) -> Result<(), SinkError> {
        let latest = self.memory.device(publish.sink, device)?.clone();
        let mut record = self
            .memory
            .epoch(publish.sink, device, birth.epoch)?
            .clone();
        // A broker may repeat an old birth; only one that was written later is a voice from the past.
        let spoke_again = record
            .birth_boottime_ms
            .is_some_and(|before_ms| before_ms < birth.boottime_ms);
        let superseded = record.born_order.is_some_and(|order| order < latest.births);
        if superseded && spoke_again {
            let text = format!(
                "{device}: epoch {} speaks again after a later incarnation: two copies of one device run",
                birth.epoch
            );
            let key = StreamKey {
                device: device.clone(),
                stream: StreamId {
                    epoch: birth.epoch,
                    lane: Lane::Health,
                },
            };
            self.clash(publish, &key, None, text);
        }
        let is_first = record.born_order.is_none();
        let device_record = self.memory.device(publish.sink, device)?;
        if is_first {
            device_record.births += 1;
            record.born_order = Some(device_record.births);
        }
        if is_first || spoke_again {
            device_record.epoch = Some(birth.epoch);
        }
        record.spool_id = Some(birth.spool_id);
        record.incarnation = Some(birth.incarnation);
        record.birth_boottime_ms = record
            .birth_boottime_ms
            .max(Some(birth.boottime_ms.min(NUMBER_MAX)));
        record.software = birth.software.as_str().to_owned();
        *self.memory.epoch(publish.sink, device, birth.epoch)? = record.clone();
        self.writes.push(Write::Epoch {
            device: device.clone(),
            epoch: birth.epoch,
            record,
        });
        if is_first {
            self.writes.push(Write::Catalogue {
                device: device.clone(),
                epoch: birth.epoch,
                catalogue: Box::new(birth.catalogue.clone()),
                details: Box::new(birth.details.clone()),
            });
        }
        self.seen(publish, device, Some(Link::Up))
    }

    fn goodbye(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        goodbye: &Goodbye,
    ) -> Result<(), SinkError> {
        self.issued(device, goodbye.epoch, &goodbye.next);
        let record = self.memory.epoch(publish.sink, device, goodbye.epoch)?;
        record.clean = true;
        let record = record.clone();
        self.writes.push(Write::Epoch {
            device: device.clone(),
            epoch: goodbye.epoch,
            record,
        });
        self.seen(publish, device, Some(Link::Closed))
    }

    fn link_lost(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        will: &Will,
    ) -> Result<(), SinkError> {
        // The will of a connection that a later incarnation has replaced says nothing about that one.
        if self.memory.device(publish.sink, device)?.epoch != Some(will.epoch) {
            return Ok(());
        }
        self.count(device.as_str(), "links_lost", 1);
        self.seen(publish, device, Some(Link::Lost))
    }

    fn seen(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        link: Option<Link>,
    ) -> Result<(), SinkError> {
        let record = self.memory.device(publish.sink, device)?;
        record.seen_ms = publish.now_ms;
        record.link = link.unwrap_or(record.link);
        let record = record.clone();
        self.writes.push(Write::Device {
            device: device.clone(),
            record,
        });
        Ok(())
    }

    fn issued(&mut self, device: &DeviceId, epoch: Epoch, next: &[LaneNext]) {
        for LaneNext { lane, next_seq } in next {
            let lane = *lane;
            self.next_seq(device, StreamId { epoch, lane }, *next_seq);
        }
    }

    fn next_seq(&mut self, device: &DeviceId, stream: StreamId, next_seq: u64) {
        if next_seq > NUMBER_MAX {
            self.count(device.as_str(), "impossible_numbers", 1);
            return;
        }
        self.writes.push(Write::Issued {
            key: StreamKey {
                device: device.clone(),
                stream,
            },
            next_seq,
        });
    }

    /// Notes the boot of an epoch, and has its rows dated.
    pub(super) fn learn_boot(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        epoch: Epoch,
        boot: BootId,
    ) -> Result<(), SinkError> {
        let record = self.memory.epoch(publish.sink, device, epoch)?;
        match record.boot {
            Some(known) if known == boot => Ok(()),
            Some(known) => {
                let text = format!("{device}: epoch {epoch} in boot {known} and in boot {boot}");
                let key = StreamKey {
                    device: device.clone(),
                    stream: StreamId {
                        epoch,
                        lane: Lane::Health,
                    },
                };
                self.clash(publish, &key, None, text);
                Ok(())
            }
            None => {
                record.boot = Some(boot);
                let record = record.clone();
                self.writes.push(Write::Epoch {
                    device: device.clone(),
                    epoch,
                    record,
                });
                if self
                    .memory
                    .clock(publish.sink, device, boot)?
                    .timeline()
                    .is_some()
                {
                    self.date_again(device, boot, 0, NUMBER_MAX);
                }
                Ok(())
            }
        }
    }
}

fn read(payload: &[u8], device: &DeviceId) -> Result<Word, String> {
    let (kind, _) = message::open(payload).map_err(|error| error.to_string())?;
    let word = if kind == MessageKind::Birth as u8 {
        Birth::decode(payload).map(|birth| Word::Birth(Box::new(birth)))
    } else if kind == MessageKind::Status as u8 {
        Status::decode(payload).map(Word::Status)
    } else if kind == MessageKind::Goodbye as u8 {
        Goodbye::decode(payload).map(Word::Goodbye)
    } else if kind == MessageKind::Will as u8 {
        Will::decode(payload).map(Word::Will)
    } else {
        return Err(format!("a message of kind {kind} on the status topic"));
    };
    match word.map_err(|error| error.to_string())? {
        Word::Birth(birth) if birth.device != *device => Err(format!(
            "a birth of {} on the topic of {device}",
            birth.device
        )),
        word => Ok(word),
    }
}
