//! Golden bytes of the wire, one file per version and subject.

#[cfg(test)]
mod batch_v1;
mod messages_v1;
