//! Exchanges without a group: a network that loses, doubles and reorders, disks in memory, and hostile members.

mod hostile;
mod transfers;
mod world;
