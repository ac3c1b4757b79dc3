//! One module per command.

pub mod bench;
pub mod enrol;
pub mod group_file;
pub mod init;
pub mod join;
pub mod key;
pub mod kv;
pub mod leader;
pub mod leader_replace;
pub mod leader_status;
pub mod leader_store;
pub mod listen;
pub mod log;
pub mod operator;
pub mod peer;
pub mod receive_files;
pub mod review;
pub mod send;
pub mod send_file;
pub mod setup;
pub mod site;
pub mod status;
