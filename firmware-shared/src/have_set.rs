//! have_set
