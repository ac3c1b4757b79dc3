//! One property a file, by its id in docs/traces.md.

use crate::{History, Report};

mod e1;
mod e10;
mod e2;
mod e3;
mod e4;
mod e5;
mod e6;
mod e7;
mod e8;
mod e9;
mod i1;
mod i2;
mod i3;
mod i4;
mod m1;
mod m2;
mod m3;
mod m4;
mod m5;
mod m6;
mod m7;
mod m8;

/// Looks for violations of one property.
pub type Checker = fn(&History<'_>, &mut Report);

/// All of them.
pub const ALL: [(&str, Checker); 22] = [
    ("I1", i1::check),
    ("I2", i2::check),
    ("I3", i3::check),
    ("I4", i4::check),
    ("M1", m1::check),
    ("M2", m2::check),
    ("M3", m3::check),
    ("M4", m4::check),
    ("M5", m5::check),
    ("M6", m6::check),
    ("M7", m7::check),
    ("M8", m8::check),
    ("E1", e1::check),
    ("E2", e2::check),
    ("E3", e3::check),
    ("E4", e4::check),
    ("E5", e5::check),
    ("E6", e6::check),
    ("E7", e7::check),
    ("E8", e8::check),
    ("E9", e9::check),
    ("E10", e10::check),
];
