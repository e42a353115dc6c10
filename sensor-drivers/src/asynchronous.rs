//! The drivers over `embedded_hal_async`: the same logic and codecs as the blocking ones, which are
//! documented where they are; the names are theirs, too.
//!
//! Promises: the transactions of the blocking driver, in the same order; time stays a parameter.
//! Never: a timer, an executor, or a decision of its own. A future that is dropped half-way leaves
//! the part where it was; call `start` before going on.

use embedded_hal_async::i2c::I2c;

use crate::error::{ClassifyBus, SensorError};
use crate::gnss::GnssEvent;
use crate::gnss::epoch::EpochRules;
use crate::gnss::health::ReceiverHealth;
use crate::gnss::stream::StreamCounts;
use crate::gnss::watch::PositionState;
use crate::lm75::{Lm75Part, Lm75Sample};
use crate::mcp960x::{Mcp960xSample, Thermocouple};
use crate::mcp9808::Mcp9808Sample;
use crate::mt3333::PacketStats;
use crate::sht4x::Sht4xSample;
use crate::tmp102::Tmp102Sample;
use crate::tmp117::Tmp117Sample;
use crate::transfer::Waiting;
use crate::ublox::{DrainStats, UbloxConfig, UbloxMode};
use crate::{lm75, mcp960x, mcp9808, mt3333, sht4x, tmp102, tmp117, ublox};

/// A thermometer: `start`, then `fetch`.
macro_rules! thermometer {
    ($name:ident, $logic:ty, $sample:ty, ($($setting:ident: $type:ty),*), $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug)]
        pub struct $name<I> {
            i2c: I,
            logic: $logic,
        }

        impl<I> $name<I>
        where
            I: I2c,
            I::Error: ClassifyBus,
        {
            /// A driver for the part at `address`. Nothing is sent.
            pub fn new(i2c: I, address: u8 $(, $setting: $type)*) -> Self {
                let logic = <$logic>::new(address $(, $setting)*);
                Self { i2c, logic }
            }

            /// Identifies and configures the part. Returns after how many milliseconds the first
            /// result is due.
            ///
            /// # Errors
            /// As the blocking driver.
            pub async fn start(&mut self, now_ms: u64) -> Result<u32, SensorError<I::Error>> {
                self.logic.start(&mut Waiting(&mut self.i2c), now_ms).await
            }

            /// Takes the latest result, if there is a fresh one.
            ///
            /// # Errors
            /// As the blocking driver.
            pub async fn fetch(&mut self, now_ms: u64) -> Result<$sample, SensorError<I::Error>> {
                self.logic.fetch(&mut Waiting(&mut self.i2c), now_ms).await
            }

            /// Gives the bus handle back.
            pub fn release(self) -> I {
                self.i2c
            }
        }
    };
}

thermometer!(
    Tmp117,
    tmp117::Logic,
    Tmp117Sample,
    (),
    "See [`crate::tmp117`]."
);
thermometer!(
    Mcp9808,
    mcp9808::Logic,
    Mcp9808Sample,
    (),
    "See [`crate::mcp9808`]."
);
thermometer!(
    Tmp102,
    tmp102::Logic,
    Tmp102Sample,
    (),
    "See [`crate::tmp102`]."
);
thermometer!(Lm75, lm75::Logic, Lm75Sample, (part: Lm75Part), "See [`crate::lm75`].");
thermometer!(
    Sht4x,
    sht4x::Logic,
    Sht4xSample,
    (),
    "See [`crate::sht4x`]."
);
thermometer!(
    Mcp960x,
    mcp960x::Logic,
    Mcp960xSample,
    (thermocouple: Thermocouple),
    "See [`crate::mcp960x`]."
);

/// See [`crate::ublox`].
#[derive(Debug)]
pub struct Ublox<I> {
    i2c: I,
    logic: ublox::Logic,
}

impl<I> Ublox<I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    /// A driver for the receiver at `address`. Nothing is sent.
    pub fn new(i2c: I, address: u8) -> Self {
        let logic = ublox::Logic::new(address, UbloxConfig::default());
        Self { i2c, logic }
    }

    /// The same with settings.
    ///
    /// # Errors
    /// [`SensorError::Config`] for a chunk length outside 8 to 256.
    pub fn with_config(
        i2c: I,
        address: u8,
        config: UbloxConfig,
    ) -> Result<Self, SensorError<I::Error>> {
        let config = config.check().map_err(SensorError::Config)?;
        let logic = ublox::Logic::new(address, config);
        Ok(Self { i2c, logic })
    }

    /// Makes sure that somebody answers, and begins to configure.
    ///
    /// # Errors
    /// A bus failure.
    pub async fn start(&mut self, now_ms: u64) -> Result<(), SensorError<I::Error>> {
        self.logic.start(&mut Waiting(&mut self.i2c), now_ms).await
    }

    /// Takes what the receiver has buffered and goes on with the configuration.
    ///
    /// # Errors
    /// As the blocking driver.
    pub async fn poll<S: FnMut(GnssEvent) + ?Sized>(
        &mut self,
        now_ms: u64,
        sink: &mut S,
    ) -> Result<DrainStats, SensorError<I::Error>> {
        let bus = &mut Waiting(&mut self.i2c);
        self.logic.poll(bus, now_ms, sink).await
    }

    /// What went through since the driver was made.
    pub fn counts(&self) -> StreamCounts {
        self.logic.counts()
    }

    /// What the receiver says about itself.
    pub fn health(&self) -> ReceiverHealth {
        self.logic.health()
    }

    /// A person has looked at the spoofing alarm, which stays until then.
    pub fn clear_spoofing(&mut self) {
        self.logic.clear_spoofing();
    }

    /// Whether there is a position, and why not.
    pub fn position(&self, now_ms: u64) -> PositionState {
        self.logic.position(now_ms)
    }

    /// How the receiver is used at the moment.
    pub fn mode(&self) -> UbloxMode {
        self.logic.mode()
    }

    /// Gives the bus handle back.
    pub fn release(self) -> I {
        self.i2c
    }
}

/// See [`crate::mt3333`].
#[derive(Debug)]
pub struct Mt3333<I> {
    i2c: I,
    logic: mt3333::Logic,
}

impl<I> Mt3333<I>
where
    I: I2c,
    I::Error: ClassifyBus,
{
    /// A driver for the receiver at `address` (0x10). Nothing is sent.
    pub fn new(i2c: I, address: u8) -> Self {
        Self::with_rules(i2c, address, mt3333::default_rules())
    }

    /// The same with rules of its own.
    pub fn with_rules(i2c: I, address: u8, rules: EpochRules) -> Self {
        let logic = mt3333::Logic::new(address, rules);
        Self { i2c, logic }
    }

    /// Forgets half a sentence from before. Nothing is sent.
    pub fn start(&mut self, now_ms: u64) {
        self.logic.start(now_ms);
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// A bus failure.
    pub async fn poll<S: FnMut(GnssEvent) + ?Sized>(
        &mut self,
        now_ms: u64,
        sink: &mut S,
    ) -> Result<PacketStats, SensorError<I::Error>> {
        let bus = &mut Waiting(&mut self.i2c);
        self.logic.poll(bus, now_ms, sink).await
    }

    /// Whether there is a position, and why not.
    pub fn position(&self, now_ms: u64) -> PositionState {
        self.logic.position(now_ms)
    }

    /// Gives the bus handle back.
    pub fn release(self) -> I {
        self.i2c
    }
}

#[cfg(test)]
mod tests;
