//! Sealed batches: the unit of disk, wire and centre. (In work.)
