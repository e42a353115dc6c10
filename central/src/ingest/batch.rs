//! Sealed batches.
//!
//! Promises: a frame whose numbers are all missing is stored whole; one whose numbers are all there and
//! whose print matches is a duplicate; anything between, and any other bytes under a stored key, is a clash.
//! A valid frame of an unknown codec is stored raw and acknowledged. Never: a part of a frame stored.

use firmware_shared::batch::{self, Batch, CodecId, Header};
use firmware_shared::id::{DeviceId, Lane, SeqRange, StreamId};
use firmware_shared::message::{NackReason, Opening};
use firmware_shared::reading::Reading;
use firmware_shared::time::ClockSource;

use super::timeline::Timeline;
use super::{BatchRecord, Core, FramePrint, NUMBER_MAX, Publish, SinkError, StreamKey, Write};

/// What a frame under a key is to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// None of its numbers is stored.
    Fresh,
    /// It is stored, byte for byte.
    Duplicate,
    /// Other bytes, or other boundaries, hold some of its numbers.
    Clash,
}

/// What a valid frame carries.
enum Content {
    Readings(Vec<Reading>),
    Opening(Box<Opening>),
    Unknown,
}

impl Core {
    pub(super) fn batch(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        lane: Lane,
    ) -> Result<(), SinkError> {
        let bytes = publish.payload;
        let frame = match Batch::open(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                let claimed = batch::claimed_header(bytes).map(|header| claim(&header));
                self.refuse(
                    publish,
                    device,
                    claimed,
                    NackReason::Corrupt,
                    error.to_string(),
                );
                return Ok(());
            }
        };
        let header = *frame.header();
        let (stream, range) = claim(&header);
        let key = StreamKey {
            device: device.clone(),
            stream,
        };
        let content = match self.content(&frame, lane) {
            Ok(content) => content,
            Err(detail) => {
                let claimed = Some((stream, range));
                self.refuse(publish, device, claimed, NackReason::Undecodable, detail);
                return Ok(());
            }
        };
        let print = FramePrint {
            range,
            crc: frame.crc(),
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        };
        match self.standing(publish, &key, print)? {
            Standing::Fresh => self.store(publish, &key, &header, print, content)?,
            Standing::Duplicate => {
                self.count(device.as_str(), "duplicate_frames", 1);
                self.count(device.as_str(), "duplicate_readings", range.count());
            }
            Standing::Clash => {
                self.refuse_clash(publish, &key, range);
                return Ok(());
            }
        }
        self.answers.progress(&key);
        Ok(())
    }

    /// What the frame is to what is stored, the uncommitted group included.
    pub(super) fn standing(
        &mut self,
        publish: &mut Publish<'_>,
        key: &StreamKey,
        print: FramePrint,
    ) -> Result<Standing, SinkError> {
        let state = self.memory.stream(publish.sink, key)?;
        let held = state.record.have.count_in(print.range);
        if held == 0 {
            return Ok(Standing::Fresh);
        }
        let stored = match state.uncommitted_at(print.range.first_seq) {
            Some(stored) => Some(stored),
            None => publish.sink.frame_at(key, print.range.first_seq)?,
        };
        if stored == Some(print) {
            return Ok(Standing::Duplicate);
        }
        // Retention deletes prints, too: what is wholly expired cannot be compared, only known as had.
        let expired =
            stored.is_none() && publish.sink.expired_in(key, print.range)? == print.range.count();
        Ok(match expired {
            true => Standing::Duplicate,
            false => Standing::Clash,
        })
    }

    pub(super) fn refuse_clash(
        &mut self,
        publish: &mut Publish<'_>,
        key: &StreamKey,
        range: SeqRange,
    ) {
        let stream = key.stream;
        let text = format!(
            "{} {} {} {range}: the same numbers are stored with other bytes",
            key.device, stream.epoch, stream.lane
        );
        let claimed = Some((stream, range));
        self.refuse(
            publish,
            &key.device,
            claimed,
            NackReason::Clash,
            text.as_str(),
        );
        self.clash(publish, key, Some(range), text);
    }

    fn content(&self, frame: &Batch<'_>, lane: Lane) -> Result<Content, String> {
        let header = frame.header();
        if header.lane != lane {
            return Err(format!("a {} frame on the {lane} topic", header.lane));
        }
        if header.range().last_seq > NUMBER_MAX || header.base_ms > NUMBER_MAX {
            return Err(format!("numbers or stamps above {NUMBER_MAX}"));
        }
        content(frame)
    }

    fn store(
        &mut self,
        publish: &mut Publish<'_>,
        key: &StreamKey,
        header: &Header,
        print: FramePrint,
        content: Content,
    ) -> Result<(), SinkError> {
        if let Content::Opening(opening) = &content {
            self.open_epoch(publish, key, opening)?;
        }
        let (device, epoch) = (&key.device, key.stream.epoch);
        let boot = self.memory.epoch(publish.sink, device, epoch)?.boot;
        let timeline = self.timeline(publish, device, boot, header.anchor)?;
        self.memory.stream_mut(publish.sink, key)?.store(print);
        self.count(device.as_str(), "frames", 1);
        self.count(device.as_str(), "frame_bytes", u64::from(print.len));
        let batch = BatchRecord {
            print,
            codec: header.codec.0,
            base_ms: header.base_ms,
            received_ms: publish.now_ms,
            utc_source: source(timeline.as_deref()),
            sealed: self
                .config
                .keep_sealed_bytes
                .then(|| publish.payload.to_vec()),
        };
        let key = key.clone();
        self.writes.push(match content {
            Content::Readings(readings) => Write::Readings {
                key,
                batch,
                readings,
                timeline,
            },
            Content::Opening(_) => Write::Frame { key, batch },
            Content::Unknown => Write::Raw {
                key,
                batch,
                bytes: publish.payload.to_vec(),
            },
        });
        Ok(())
    }

    /// An epoch begins: its boot, its software, its sensors.
    pub(super) fn open_epoch(
        &mut self,
        publish: &mut Publish<'_>,
        key: &StreamKey,
        opening: &Opening,
    ) -> Result<(), SinkError> {
        let (device, epoch) = (&key.device, key.stream.epoch);
        self.learn_boot(publish, device, epoch, opening.boot_id)?;
        let record = self.memory.epoch(publish.sink, device, epoch)?;
        record.software = opening.software.as_str().to_owned();
        let record = record.clone();
        self.writes.push(Write::Epoch {
            device: device.clone(),
            epoch,
            record,
        });
        self.writes.push(Write::Catalogue {
            device: device.clone(),
            epoch,
            catalogue: Box::new(opening.catalogue.clone()),
            details: Box::new(opening.details.clone()),
        });
        Ok(())
    }

    /// Gives rows to a frame that was stored raw, if this version can read it.
    pub(super) fn decode_raw(
        &mut self,
        publish: &mut Publish<'_>,
        key: &StreamKey,
    ) -> Result<bool, SinkError> {
        let Ok(frame) = Batch::open(publish.payload) else {
            return Ok(false);
        };
        let header = *frame.header();
        let (device, epoch) = (&key.device, key.stream.epoch);
        let readings = match content(&frame) {
            Ok(Content::Readings(readings)) => readings,
            Ok(Content::Opening(opening)) => {
                self.open_epoch(publish, key, &opening)?;
                Vec::new()
            }
            Ok(Content::Unknown) | Err(_) => return Ok(false),
        };
        let boot = self.memory.epoch(publish.sink, device, epoch)?.boot;
        let timeline = self.timeline(publish, device, boot, header.anchor)?;
        self.count(device.as_str(), "decoded_later", header.range().count());
        self.writes.push(Write::Decoded {
            key: key.clone(),
            range: header.range(),
            codec: header.codec.0,
            readings,
            timeline,
        });
        Ok(true)
    }
}

/// Who vouches for what a timeline says.
pub(super) fn source(timeline: Option<&Timeline>) -> ClockSource {
    timeline.map_or(ClockSource::None, Timeline::source)
}

/// What a valid frame says, or why it cannot be read.
fn content(frame: &Batch<'_>) -> Result<Content, String> {
    match frame.header().codec {
        CodecId::COLUMNS_V1 => readings(frame).map(Content::Readings),
        CodecId::OPENING => opening(frame).map(|opening| Content::Opening(Box::new(opening))),
        _ => Ok(Content::Unknown),
    }
}

fn readings(frame: &Batch<'_>) -> Result<Vec<Reading>, String> {
    let readings = frame
        .readings()
        .and_then(|readings| readings.collect::<Result<Vec<_>, _>>())
        .map_err(|error| error.to_string())?;
    if readings.iter().any(|reading| reading.stamp_ms > NUMBER_MAX) {
        return Err(format!("stamps above {NUMBER_MAX}"));
    }
    Ok(readings)
}

fn opening(frame: &Batch<'_>) -> Result<Opening, String> {
    let header = frame.header();
    if header.lane != Lane::Health || header.count != 1 {
        return Err("an opening outside the health lane or of more than one number".to_owned());
    }
    postcard::take_from_bytes(frame.payload())
        .map(|(opening, _)| opening)
        .map_err(|error| format!("not an opening: {error}"))
}

fn claim(header: &Header) -> (StreamId, SeqRange) {
    let stream = StreamId {
        epoch: header.epoch,
        lane: header.lane,
    };
    (stream, header.range())
}
