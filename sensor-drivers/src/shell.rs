//! The blocking shell around a thermometer's logic.
//!
//! Promises: it owns its handle of the bus and lends it to the logic. Never: a decision.

/// Writes the struct with `new`, `start`, `fetch` and `release`; the documentation of each comes
/// with it, because errors differ from part to part.
macro_rules! thermometer {
    (
        $name:ident, $logic:ty, $sample:ty, ($($setting:ident: $type:ty),*),
        $(#[doc = $new:literal])* new,
        $(#[doc = $start:literal])* start,
        $(#[doc = $fetch:literal])* fetch
    ) => {
        #[doc = concat!("The driver. Owns its handle of the bus until [`", stringify!($name), "::release`].")]
        #[derive(Debug)]
        pub struct $name<I> {
            i2c: I,
            logic: $logic,
        }

        impl<I> $name<I>
        where
            I: embedded_hal::i2c::I2c,
            I::Error: crate::error::ClassifyBus,
        {
            $(#[doc = $new])*
            pub fn new(i2c: I, address: u8 $(, $setting: $type)*) -> Self {
                let logic = <$logic>::new(address $(, $setting)*);
                Self { i2c, logic }
            }

            $(#[doc = $start])*
            pub fn start(&mut self, now_ms: u64) -> Result<u32, crate::SensorError<I::Error>> {
                let bus = &mut crate::transfer::Blocking(&mut self.i2c);
                crate::transfer::finish(self.logic.start(bus, now_ms))
            }

            $(#[doc = $fetch])*
            pub fn fetch(&mut self, now_ms: u64) -> Result<$sample, crate::SensorError<I::Error>> {
                let bus = &mut crate::transfer::Blocking(&mut self.i2c);
                crate::transfer::finish(self.logic.fetch(bus, now_ms))
            }

            /// Gives the bus handle back.
            pub fn release(self) -> I {
                self.i2c
            }
        }
    };
}
pub(crate) use thermometer;
