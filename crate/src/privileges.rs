//! Dropping privileges.
